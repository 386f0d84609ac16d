"""How sure the books are of what nobody saw happen, and what they do not claim to know of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from billing.events import Event, InvoicePaid, SubscriptionSeen
from billing.history import billed_by
from billing.ledger.book import book
from billing.ledger.facts import Origin, facts_of
from billing.ledger.interpret import ledger_events
from billing.ledger.movement import Book, Line
from billing.ledger.policy import DEFAULT
from billing.ledger.recoveries import recoveries
from billing.ledger.vocabulary import Confidence
from tests.history.test_history import BEGUN, DAY, HISTORIAN, NOW, invoice, line, price, stamp, subscription

LOST = {
    "status": "canceled",
    "canceled_at": stamp(BEGUN + 90 * DAY),
    "ended_at": stamp(BEGUN + 90 * DAY),
    "cancellation_details": {"reason": "payment_failed"},
}
THREE_SEATS = {"data": [{"id": "si_1", "price": price("price_1"), "quantity": 3}]}


def past(things: list[dict[str, Any]], **sub: Any) -> list[Event]:
    """What a back-fill makes of one subscription and its invoices."""
    bills = [bill for each in things if (bill := billed_by(each, {}))]
    told = HISTORIAN.subscription(subscription(items=THREE_SEATS, **sub), bills, {}, NOW)
    return told + [event for each in things for event in HISTORIAN.invoice(each)]


def booked(events: list[Event]) -> Book:
    return book(ledger_events([fact for event in events for fact in facts_of(event)]), DEFAULT, NOW)


def growing_and_recovered(**paid: Any) -> list[dict[str, Any]]:
    """Three seats from the second month on; the third invoice failed and was paid five days later."""
    month = timedelta(days=30)
    late = {"moments": {"paid_at": stamp(BEGUN + 2 * month + 5 * DAY)}, **paid}
    return [
        invoice(BEGUN, "in_0", [line(BEGUN, 1)]),
        invoice(BEGUN + month, "in_1", [line(BEGUN + month, 3)]),
        invoice(BEGUN + 2 * month, "in_2", [line(BEGUN + 2 * month, 3)], **late),
    ]


def test_what_is_rebuilt_is_likely_and_never_certain() -> None:
    made = booked(past(growing_and_recovered(attempt_count=3), **LOST))
    assert {each.line: each.confidence for each in made.movements} == {
        Line.NEW: Confidence.ASSUMED,  # it was there when we came: nothing contradicts its own dates
        Line.EXPANSION: Confidence.LIKELY,
        Line.RECOVERED: Confidence.LIKELY,
        Line.INVOLUNTARY: Confidence.LIKELY,
    }


def test_the_same_seen_as_it_happened_is_certain() -> None:
    """Events of the same content under Stripe's own ids, the first of them telling the beginning."""
    rebuilt = past(growing_and_recovered(attempt_count=3), **LOST)
    assert isinstance(rebuilt[0].what, SubscriptionSeen)
    begun = replace(rebuilt[0], what=replace(rebuilt[0].what, change="created"))
    seen = [replace(event, id=f"evt_{number}") for number, event in enumerate([begun, *rebuilt[1:]])]
    made = booked(seen)
    assert len(made.movements) == len(booked(rebuilt).movements)
    assert {each.confidence for each in made.movements} == {Confidence.CERTAIN}


@pytest.mark.parametrize(
    ("paid", "source", "shown"),
    [
        ({"attempt_count": 3}, "stripe_retry", "Stripe's own schedule"),
        ({"attempt_count": 1}, None, "who asked for it is not known"),
    ],
    ids=["tried again by Stripe", "asked for by somebody"],
)
def test_a_recovery_before_anybody_listened_claims_only_what_objects_tell(
    paid: dict[str, Any], source: str | None, shown: str
) -> None:
    events = past(growing_and_recovered(**paid))
    if paid["attempt_count"] == 1:  # that it had failed is told by the payment (`Historian.payment`)
        bill = billed_by(growing_and_recovered()[2], {})
        assert bill
        events.append(HISTORIAN._failed(bill.invoice, BEGUN + 60 * DAY))
    (found,) = recoveries(booked(events))
    assert (found.source, found.confidence) == (source, Confidence.LIKELY)
    assert shown in found.evidence


def test_a_file_says_nothing_of_who_asked() -> None:
    paid = next(event for event in past(growing_and_recovered(attempt_count=3)) if isinstance(event.what, InvoicePaid))
    (fact,) = facts_of(replace(paid, id="import:in_2:1", type="import.InvoicePaid"))
    assert fact.origin is Origin.UNKNOWN
