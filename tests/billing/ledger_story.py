"""A company of one customer, told by Stripe events: what the dated stories of the ledger are written with."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from billing.events.occurrences import Event, InvoiceFailed, InvoicePaid, SubscriptionSeen, What
from billing.events.snapshots import Invoice, Item, Subscription
from billing.ledger.book import book
from billing.ledger.facts import Fact, facts_of
from billing.ledger.interpret import ledger_events
from billing.ledger.movement import Book
from billing.ledger.policy import DEFAULT, LedgerPolicy
from billing.money import Amount
from billing.report.bridge import Bridge, bridge
from billing.report.currency import Currency
from billing.report.period import Period

LATER = datetime(2026, 12, 31, tzinfo=UTC)


def on(day: str, clock: str = "10:00:00") -> datetime:
    return datetime.fromisoformat(f"2026-{day}T{clock}+00:00")


def monthly(minor: int, product: str = "pro", quantity: int = 1) -> Item:
    return Item("si_1", f"price_{product}", product, str(minor), quantity, "month")


def usd(minor: int) -> Amount:
    return Amount(minor, "usd")


@dataclass
class Company:
    """Stripe as one customer's webhooks tell it; remembers the subscription between events."""

    events: list[Event] = field(default_factory=list)
    now: Subscription = field(
        default_factory=lambda: Subscription("sub_1", "cus_1", "active", "usd", (monthly(10_000),))
    )
    numbers: Any = field(default_factory=itertools.count)

    def tell(self, at: datetime, what: What, type: str = "stripe", key: str | None = None) -> None:
        id = f"evt_{next(self.numbers):03}"
        self.events.append(Event(id, type, at, "acct_1", False, what, caused_by=key, customer="cus_1"))

    def subscription(self, at: datetime, change: str = "updated", **changes: Any) -> None:
        before, self.now = self.now, replace(self.now, **changes)
        previous = before.status if "status" in changes and change != "created" else None
        self.tell(at, SubscriptionSeen(self.now, change, previous))

    def created(self, at: datetime, **changes: Any) -> None:
        self.subscription(at, "created", created=at, started_at=at, **changes)

    def invoice(self, status: str = "open", id: str = "in_1", minor: int = 10_000, **more: Any) -> Invoice:
        paid = minor if status == "paid" else 0
        more = {"subscription": "sub_1", "billing_reason": "subscription_cycle"} | more
        return Invoice(id, "cus_1", status, usd(minor), usd(paid), usd(minor - paid), **more)

    def fails(self, at: datetime, id: str = "in_1", minor: int = 10_000, **more: Any) -> None:
        self.tell(at, InvoiceFailed(self.invoice("open", id, minor, **more)))

    def pays(self, at: datetime, id: str = "in_1", minor: int = 10_000, key: str | None = None, **more: Any) -> None:
        self.tell(at, InvoicePaid(self.invoice("paid", id, minor, **more)), key=key)

    @property
    def facts(self) -> list[Fact]:
        return [fact for event in self.events for fact in facts_of(event)]

    def book(self, policy: LedgerPolicy = DEFAULT, until: datetime = LATER) -> Book:
        return book(ledger_events(self.facts), policy, until)

    def month(self, text: str, policy: LedgerPolicy = DEFAULT) -> Bridge:
        return bridge(self.book(policy), Period.month(text), Currency("usd"))


def lines(made: Book) -> list[tuple[str, str, int]]:
    return [(f"{each.effective_at:%m-%d}", str(each.line), each.amount.minor) for each in made.movements]


def past_due(at: datetime, company: Company | None = None) -> Company:
    """A customer since January at 100 a month whose renewal has just failed."""
    company = company or Company()
    company.created(on("01-05"))
    company.fails(at)
    company.subscription(at, status="past_due")
    return company
