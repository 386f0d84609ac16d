"""What objects still say of the past, as tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.events import InvoiceFailed, InvoicePaid, SubscriptionSeen
from billing.history import Historian, billed_by, rebuilt
from billing.history.billed import _interval

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NOW = BEGUN + 200 * DAY
HISTORIAN = Historian("self", False, NOW - 29 * DAY)


def stamp(at: datetime | None) -> int | None:
    return int(at.timestamp()) if at else None


def subscription(**more: Any) -> dict[str, Any]:
    item = {"id": "si_1", "price": price("price_1"), "quantity": 1}
    return {
        "id": "sub_1",
        "object": "subscription",
        "customer": "cus_1",
        "status": "active",
        "currency": "usd",
        "created": stamp(BEGUN),
        "items": {"data": [item]},
        "discounts": [],
        **more,
    }


def price(id: str, amount: str = "2000") -> dict[str, Any]:
    recurring = {"interval": "month", "interval_count": 1, "usage_type": "licensed"}
    return {"id": id, "product": "prod_1", "unit_amount_decimal": amount, "currency": "usd", "recurring": recurring}


def invoice(at: datetime, id: str = "in_1", lines: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    moments = {"finalized_at": stamp(at), "paid_at": stamp(at)} | more.pop("moments", {})
    return {
        "id": id,
        "object": "invoice",
        "customer": "cus_1",
        "currency": "usd",
        "status": "paid",
        "amount_due": 2000,
        "amount_paid": 2000,
        "attempt_count": 1,
        "created": stamp(at),
        "billing_reason": "subscription_cycle",
        "collection_method": "charge_automatically",
        "status_transitions": moments,
        "parent": {"subscription_details": {"subscription": "sub_1"}},
        "lines": {"data": lines or [], "has_more": False},
        **more,
    }


def line(
    start: datetime, quantity: int, *, days: int = 30, amount: int = 2000, proration: bool = False
) -> dict[str, Any]:
    kind = "invoice_item_details" if proration else "subscription_item_details"
    detail = {"proration": proration, "subscription": "sub_1"} | ({} if proration else {"subscription_item": "si_1"})
    return {
        "amount": amount,
        "quantity": quantity,
        "period": {"start": stamp(start), "end": stamp(start + days * DAY)},
        "parent": {kind: detail},
        "pricing": {
            "price_details": {"price": "price_1", "product": "prod_1"},
            "unit_amount_decimal": "2000",
        },
    }


def told(thing: dict[str, Any], invoices: list[dict[str, Any]]) -> list[tuple[int, str, list[int]]]:
    """(day, status, quantities) of every snapshot that was rebuilt."""
    bills = [bill for each in invoices if (bill := billed_by(each, {}))]
    found = []
    for event in HISTORIAN.subscription(thing, bills, {}, NOW):
        assert rebuilt(event.id)
        assert isinstance(event.what, SubscriptionSeen)
        seen = event.what.subscription
        found.append(((event.at - BEGUN).days, seen.status or "", [item.quantity for item in seen.items]))
    return found


def test_a_subscription_without_invoices_began_when_it_was_created() -> None:
    assert told(subscription(), []) == [(0, "active", [1]), (200, "active", [1])]


def test_renewals_at_the_same_terms_tell_nothing_new() -> None:
    bills = [invoice(BEGUN + n * 30 * DAY, f"in_{n}", [line(BEGUN + n * 30 * DAY, 1)]) for n in range(6)]
    assert told(subscription(), bills) == [(0, "active", [1]), (200, "active", [1])]


def test_a_proration_dates_the_change_of_a_quantity() -> None:
    prorated = [
        line(BEGUN + 10 * DAY, 1, amount=-1300, proration=True),
        line(BEGUN + 10 * DAY, 3, amount=3900, proration=True),
    ]
    first = invoice(BEGUN, "in_0", [line(BEGUN, 1)])
    second = invoice(BEGUN + 30 * DAY, "in_1", [line(BEGUN + 30 * DAY, 3), *prorated])
    assert told(subscription(), [second, first])[:2] == [(0, "active", [1]), (10, "active", [3])]


def test_a_change_without_a_proration_is_seen_at_the_next_renewal() -> None:
    first = invoice(BEGUN, "in_0", [line(BEGUN, 1)])
    second = invoice(BEGUN + 30 * DAY, "in_1", [line(BEGUN + 30 * DAY, 4)])
    assert told(subscription(), [first, second])[:2] == [(0, "active", [1]), (30, "active", [4])]


def test_a_trial_counts_from_its_end() -> None:
    seen = told(subscription(trial_end=stamp(BEGUN + 14 * DAY)), [])
    assert seen == [(0, "trialing", [1]), (14, "active", [1]), (200, "active", [1])]


def test_an_end_that_was_decided_ahead_is_told_twice() -> None:
    ended = subscription(
        status="canceled",
        canceled_at=stamp(BEGUN + 40 * DAY),
        ended_at=stamp(BEGUN + 60 * DAY),
        cancellation_details={"reason": "cancellation_requested"},
    )
    assert told(ended, []) == [(0, "active", [1]), (40, "active", [1]), (60, "canceled", [1])]


def test_a_subscription_that_never_came_about_never_counted() -> None:
    expired = subscription(status="incomplete_expired", ended_at=stamp(BEGUN + DAY))
    assert told(expired, []) == [(0, "incomplete", [1]), (1, "incomplete_expired", [1])]


def test_what_happened_after_the_horizon_is_left_to_events() -> None:
    ended = subscription(status="canceled", canceled_at=stamp(NOW - DAY), ended_at=stamp(NOW - DAY))
    assert told(ended, []) == [(0, "active", [1]), (200, "canceled", [1])]


@pytest.mark.parametrize(
    ("more", "kinds"),
    [
        ({}, [InvoicePaid]),
        ({"status": "draft"}, []),
        ({"attempt_count": 3}, [InvoiceFailed, InvoicePaid]),
        ({"status": "open", "moments": {"paid_at": None}}, [InvoiceFailed]),
        ({"status": "open", "attempt_count": 0, "moments": {"paid_at": None}}, []),
        ({"attempt_count": 3, "amount_due": 0}, [InvoicePaid]),
    ],
    ids=["paid at once", "draft", "paid after two failures", "failing", "not tried yet", "nothing due"],
)
def test_an_invoice_tells_whether_it_failed(more: dict[str, Any], kinds: list[type]) -> None:
    assert [type(event.what) for event in HISTORIAN.invoice(invoice(BEGUN, **more))] == kinds


def test_a_card_that_paid_later_than_at_once_had_been_declined() -> None:
    late = {"paid_at": stamp(BEGUN + 3 * DAY)}
    bill = billed_by(invoice(BEGUN, moments=late), {})
    card = {"payment_method_details": {"card": {"brand": "visa", "last4": "4242"}}, "id": "ch_1"}
    payment = {
        "id": "inpay_1",
        "invoice": "in_1",
        "status": "paid",
        "currency": "usd",
        "amount_paid": 2000,
        "status_transitions": late,
        "payment": {"type": "payment_intent", "payment_intent": {"id": "pi_1", "latest_charge": card}},
    }
    assert [e.type for e in HISTORIAN.payment(payment, bill)] == [
        "backfill.InvoicePaymentPaid",
        "backfill.InvoiceFailed",
    ]
    card["payment_method_details"] = {"sepa_debit": {"last4": "3000"}}  # a debit takes days without ever failing
    assert [e.type for e in HISTORIAN.payment(payment, bill)] == ["backfill.InvoicePaymentPaid"]


@pytest.mark.parametrize(
    ("days", "interval"),
    [
        (1, ("day", 1)),
        (7, ("week", 1)),
        (14, ("week", 2)),
        (28, ("month", 1)),
        (31, ("month", 1)),
        (90, ("month", 3)),
        (92, ("month", 3)),
        (184, ("month", 6)),
        (365, ("year", 1)),
        (366, ("year", 1)),
        (731, ("year", 2)),
    ],
)
def test_the_length_of_a_period_tells_its_interval(days: int, interval: tuple[str, int]) -> None:
    assert _interval(timedelta(days=days)) == interval
