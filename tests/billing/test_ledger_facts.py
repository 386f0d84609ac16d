"""Whatever Stripe tells, in whatever order: the facts are read without an exception and the books add up."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.events.occurrences import (
    Answer,
    AttemptAnswered,
    DeadlinePassed,
    Event,
    InvoiceFailed,
    InvoicePaid,
    InvoiceRead,
    InvoiceUncollectible,
    InvoiceVoided,
    SubscriptionSeen,
    What,
)
from billing.events.snapshots import Discount, Invoice, Item, Subscription
from billing.ledger.book import book
from billing.ledger.entry import balances, entries_of
from billing.ledger.facts import Fact, facts_of
from billing.ledger.interpret import ledger_events
from billing.ledger.movement import Outcome
from billing.ledger.policy import DEFAULT
from billing.money import Amount
from billing.report.bridge import Basis, bridge
from billing.report.currency import Currency
from billing.report.period import Period

START = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = datetime(2026, 6, 1, tzinfo=UTC)
STATUSES = ["active", "active", "past_due", "unpaid", "trialing", "incomplete", "paused", "canceled"]


def usd(minor: int) -> Amount:
    return Amount(minor, "usd")


def heap_of_facts(dice: random.Random) -> list[Fact]:
    """Snapshots and invoices that contradict each other freely, as lost and late webhooks make them do."""
    facts: list[Fact] = []
    for number in range(dice.randrange(2, 16)):
        at = START + timedelta(hours=dice.randrange(100 * 24)) if dice.random() < 0.7 else START + timedelta(days=30)
        event = Event(f"evt_{number}", "x", at, "acct", False, what(dice, at), customer="cus")
        facts += facts_of(event)
    return facts


def what(dice: random.Random, at: datetime) -> What:
    invoice = Invoice(
        f"in_{dice.randrange(3)}",
        "cus",
        "open",
        usd(1_000),
        usd(0),
        usd(1_000),
        subscription=f"sub_{dice.randrange(2)}",
        billing_reason=dice.choice(["subscription_cycle", "subscription_create"]),
    )
    match dice.randrange(8):
        case 0 | 1:
            return InvoiceFailed(invoice)
        case 2:
            return InvoicePaid(replace(invoice, status="paid", paid=usd(1_000)))
        case 3:
            return InvoiceVoided(invoice) if dice.random() < 0.5 else InvoiceUncollectible(invoice)
        case 4:
            own: list[What] = [
                AttemptAnswered(invoice.id, 1, Answer.PAID),
                DeadlinePassed(invoice.id),
                InvoiceRead(invoice, subscription(dice, at)),
            ]
            return dice.choice(own)
        case _:
            change = dice.choice(["created", "updated", "updated", "deleted"])
            return SubscriptionSeen(subscription(dice, at), change, dice.choice([None, "active", "past_due"]))


def subscription(dice: random.Random, at: datetime) -> Subscription:
    status = dice.choice(STATUSES)
    return Subscription(
        f"sub_{dice.randrange(2)}",
        "cus",
        status,
        "usd",
        (Item("si", "price", dice.choice(["pro", "basic"]), str(dice.randrange(5) * 1_000), 1, "month"),),
        discounts=dice.choice([(), (Discount("c", "repeating", "50", ends=at + timedelta(days=40)),)]),
        created=START - timedelta(days=40),
        trial_end=dice.choice([None, at, at - timedelta(days=10)]),
        cancel_at_period_end=dice.random() < 0.1,
        period_end=at + timedelta(days=20),
        ended_at=at if status == "canceled" else None,
        cancel_reason=dice.choice([None, "payment_failed", "cancellation_requested"]),
        pause_behavior=dice.choice([None, None, "void"]),
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**9))
def test_any_heap_of_facts_makes_one_book_that_adds_up(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a story, not a secret
    facts = heap_of_facts(dice)
    made = book(ledger_events(facts), DEFAULT, UNTIL)
    again = [*facts, *facts[:3]]
    dice.shuffle(again)
    assert book(ledger_events(again), DEFAULT, UNTIL) == made
    sums = balances(entries_of(made))
    level = sum({step.subscription: step.minor for step in made.steps}.values())
    at_risk = sum(case.at_close for case in made.cases if case.outcome is Outcome.OPEN)
    assert sums.get(("", "at_risk", "usd/mo"), 0) == at_risk
    assert sums.get(("", "good", "usd/mo"), 0) + at_risk == level
    for month in range(1, 6):
        for basis in Basis:
            bridge(made, Period.month(f"2026-{month:02}"), Currency("usd"), basis)
