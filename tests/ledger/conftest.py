"""A company whose events are told directly to the facts, with a clock of ours; the books are kept when asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from billing.events.occurrences import Event, SubscriptionSeen
from billing.events.snapshots import Item, Subscription
from config.settings import Settings
from worker import books, store
from worker.app import App, build
from worker.broker import NoBell
from worker.store import Owner

SELF = Owner("self", False)


def day(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}T10:00:00+00:00")


@dataclass
class Clock:
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@dataclass
class Teller:
    """Tells facts and remembers every subscription."""

    app: App
    clock: Clock
    subs: dict[str, Subscription] = field(default_factory=dict)
    number: int = 0

    def begins(self, sub: str, at: str, minor: int = 10_000, currency: str = "usd", customer: str = "") -> None:
        item = Item(f"si_{sub}", "price", "pro", str(minor), 1, "month")
        customer = customer or sub.replace("sub", "cus")
        made = Subscription(sub, customer, "active", currency, (item,), created=day(at), started_at=day(at))
        self.tell(at, made, "created")

    def becomes(self, sub: str, at: str, **changes: Any) -> None:
        self.tell(at, replace(self.subs[sub], **changes), "updated")

    def tell(self, at: str, now: Subscription, change: str) -> None:
        self.number += 1
        self.subs[now.id] = now
        self.keep(
            Event(
                f"evt_{self.number:03}",
                f"customer.subscription.{change}",
                day(at),
                SELF.account,
                SELF.livemode,
                SubscriptionSeen(now, change),
                customer=now.customer,
            )
        )

    def keep(self, *events: Event) -> None:
        with self.app.db.begin() as db:
            store.keep(db, SELF, events, self.app.now())

    def book(self, until: str = "") -> None:
        if until:
            self.clock.at = day(until)
        books.keep(self.app)


@pytest.fixture
def teller(database_url: str) -> Iterator[Teller]:
    clock = Clock()
    app = build(Settings(database_url=database_url, mode="observe"), NoBell(), now=clock)
    yield Teller(app, clock)
    app.close()
