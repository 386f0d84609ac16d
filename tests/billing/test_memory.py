"""Which events are kept as facts, without anything personal, and what each is about."""

from __future__ import annotations

from typing import Any

import pytest

from billing.events.occurrences import (
    Answer,
    ChargeSucceeded,
    CustomerSeen,
    Event,
    InvoiceFailed,
    InvoiceSeen,
    Noted,
    PaymentIntentSeen,
)
from billing.events.snapshots import Charge, Customer, PaymentIntent
from billing.memory import invoice_of, kept, subscription_of
from tests.billing.stories import (
    FUNDS,
    answered,
    charge_failed,
    deadline_passed,
    disputed,
    event,
    failed,
    intent_processing,
    invoice,
    looked,
    method,
    notice,
    paid,
    payment_linked,
    seen,
    subscription,
    uncollectible,
    usd,
    voided,
)

KEPT = [
    *(failed(0), paid(1), voided(1), uncollectible(1), charge_failed(0, FUNDS), disputed(1), method(1)),
    *(
        intent_processing(1),
        payment_linked(1),
        subscription(1),
        answered(1, 1, Answer.PAID),
        notice(1),
        deadline_passed(),
    ),
    *(seen(1), seen(1, "paid"), seen(1, "void"), looked(1, status="paid")),
]
FORGOTTEN = [
    seen(1, "draft"),
    seen(1, attempt_count=0),
    looked(1),
    event(PaymentIntentSeen(PaymentIntent("pi_1", "cus_1", "succeeded", usd(2000)))),
    event(ChargeSucceeded(Charge("ch_1", "cus_1", usd(2000), True))),
    event(CustomerSeen(Customer("cus_1", "ann@example.com"))),
    event(Noted("obj_1", "cus_1")),
]


@pytest.mark.parametrize("fact", KEPT, ids=lambda e: e.id)
def test_what_can_change_a_case_or_the_books_is_kept_as_it_was(fact: Event) -> None:
    assert kept(fact) == fact


@pytest.mark.parametrize("other", FORGOTTEN, ids=lambda e: e.id)
def test_what_changes_nothing_is_not_kept(other: Event) -> None:
    assert kept(other) is None


@pytest.mark.parametrize("kind", [InvoiceFailed, InvoiceSeen])
def test_a_fact_holds_nothing_personal(kind: type[InvoiceFailed] | type[InvoiceSeen]) -> None:
    personal: dict[str, Any] = {
        "customer_email": "ann@example.com",
        "customer_name": "Ann",
        "hosted_invoice_url": "https://pay.example",
    }
    found = kept(event(kind(invoice(attempt_count=1, **personal))))
    assert found is not None
    assert not [value for value in personal.values() if value in repr(found)]


# event, invoice, subscription
ABOUT = [
    (failed(0), "in_1", "sub_1"),
    (looked(0), "in_1", "sub_1"),
    (payment_linked(0), "in_1", None),
    (answered(0, 1, Answer.PAID), "in_1", None),
    (charge_failed(0, FUNDS), "in_1", None),
    (charge_failed(0, FUNDS, basil=True), None, None),
    (intent_processing(0, basil=False), "in_1", None),
    (subscription(0), None, "sub_1"),
    (disputed(0), None, None),
    (method(0), None, None),
]


@pytest.mark.parametrize(("it", "invoice_id", "subscription_id"), ABOUT, ids=lambda v: getattr(v, "id", v))
def test_an_event_says_what_it_is_about(it: Event, invoice_id: str | None, subscription_id: str | None) -> None:
    assert invoice_of(it) == invoice_id
    assert subscription_of(it) == subscription_id
