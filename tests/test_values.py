"""What is stored as JSON comes back as it was, names nobody, and stays readable whatever the code becomes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from billing.case import RecoveryCase, State
from billing.events import from_stripe
from billing.events.occurrences import Event, InvoiceFailed, SubscriptionSeen
from billing.events.snapshots import Invoice
from billing.memory import kept
from billing.money import Amount
from tests.billing import payloads
from worker.values import event_from_json, event_to_json, from_json, to_json

NOW = datetime(2026, 3, 5, 10, tzinfo=UTC)
USD = Amount(2000, "usd")


def through_json(event: Event) -> Event:
    return event_from_json(json.loads(json.dumps(event_to_json(event))))


def test_a_kept_event_comes_back_as_it_was_and_names_nobody() -> None:
    invoice = Invoice(
        "in_1", "cus_1", "open", USD, Amount(0, "usd"), USD,
        customer_email="ada@example.com", customer_name="Ada", hosted_invoice_url="https://x.example",
    )  # fmt: skip
    fact = kept(Event("evt_1", "invoice.payment_failed", NOW, "self", False, InvoiceFailed(invoice), customer="cus_1"))
    assert fact is not None
    assert through_json(fact) == fact
    for personal in ("ada@example.com", "Ada", "x.example"):
        assert personal not in json.dumps(event_to_json(fact))


def test_every_sort_of_event_survives_its_storage() -> None:
    for payload in payloads.one_of_each():
        event = from_stripe(payload)
        assert event is not None
        assert through_json(event) == event


def test_a_case_survives_its_storage() -> None:
    case = RecoveryCase("self", False, "in_1", "cus_1", "sub_1", USD, "standard@1", NOW, NOW, NOW, State.LOST, "why")
    assert from_json(RecoveryCase, json.loads(json.dumps(to_json(case)))) == case


def test_a_fact_written_by_an_older_version_is_still_read() -> None:
    """The stored form is a promise: a renamed field needs a migration of the `fact` table."""
    item = {"id": "si_1", "price": "p", "product": "pro", "unit_amount": "500", "quantity": 2, "interval": "month"}
    stored: dict[str, Any] = {
        "id": "evt_1",
        "type": "customer.subscription.created",
        "at": "2026-03-05T10:00:00Z",
        "account": "self",
        "livemode": False,
        "customer": "cus_1",
        "kind": "SubscriptionSeen",
        "what": {
            "subscription": {
                "id": "sub_1",
                "customer": "cus_1",
                "status": "active",
                "currency": "usd",
                "items": [{**item, "tiers": [[10, "1", None]], "a_field_of_the_past": 1}],
            },
            "change": "created",
        },
    }
    event = event_from_json(stored)
    assert isinstance(event.what, SubscriptionSeen)
    assert event.what.subscription.items[0].tiers == ((10, "1", None),)
    assert event.at == NOW
