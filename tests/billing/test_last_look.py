"""The last question before money is asked for: what Stripe shows now may stop the request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from billing.case import RecoveryCase
from billing.declines import DeclineClass
from billing.events.occurrences import InvoiceRead
from billing.events.snapshots import Subscription
from billing.retry.last_look import stop_before_paying
from tests.billing.stories import DAY, DAY0, HOUR, OWN, invoice, usd

CASE = RecoveryCase(
    *("self", False, "in_1", "cus_1", "sub_1", usd(2000), "standard@1", DAY0, DAY0, DAY0 + 28 * DAY),
    decline_class=DeclineClass.INSUFFICIENT_FUNDS,
)
DUE = DAY0 + 2 * DAY
SUB = Subscription("sub_1", "cus_1", "past_due", "usd")
SEEN = InvoiceRead(invoice(), SUB)


def sub(**over: Any) -> InvoiceRead:
    return replace(SEEN, subscription=replace(SUB, **over))


STOPS: list[tuple[InvoiceRead, str]] = [
    *[(InvoiceRead(invoice(status)), f"the invoice is {status} at Stripe") for status in ("draft", "paid", "void")],
    (replace(SEEN, processing=True), "under way at Stripe"),
    (replace(SEEN, disputed=True), "disputed"),
    (InvoiceRead(replace(invoice(), customer="cus_2")), "another customer"),
    (InvoiceRead(invoice(remaining=1500)), "15.00 USD is owed, 20.00 USD was expected"),
    (InvoiceRead(replace(invoice(), remaining=replace(usd(2000), unit="eur"))), "20.00 EUR is owed"),
    *[(sub(status=status), f"the subscription is {status}") for status in ("canceled", "incomplete_expired", "unpaid")],
    (sub(status="paused"), "paused"),
    (sub(status="paused", pause_reason="pause_requested"), "paused"),
    (sub(pause_behavior="void"), "paused"),
]


@pytest.mark.parametrize(("seen", "because"), STOPS)
def test_what_stripe_shows_can_stop_the_request(seen: InvoiceRead, because: str) -> None:
    stop = stop_before_paying(CASE, usd(2000), seen, OWN, DUE)
    assert stop is not None
    assert because in stop


@pytest.mark.parametrize(
    "seen",
    [
        SEEN,
        InvoiceRead(invoice()),
        InvoiceRead(replace(invoice(), customer=None)),
        sub(status="active"),
        sub(status="paused", pause_reason="final_payment_failure"),
        InvoiceRead(replace(invoice(), status="uncollectible")),
    ],
)
def test_a_payable_invoice_is_paid_when_it_is_due(seen: InvoiceRead) -> None:
    assert stop_before_paying(CASE, usd(2000), seen, OWN, DUE) is None


def test_the_plan_is_asked_again_with_what_was_read() -> None:
    early = stop_before_paying(CASE, usd(2000), SEEN, OWN, DUE - HOUR)
    assert (
        early
        == "not before 2026-03-03 12:00 UTC: rung 1 of the ladder for insufficient_funds, 2 days after the failure"
    )
    dead = replace(CASE, decline_class=DeclineClass.DEAD_CARD, decline_because="reported lost")
    assert stop_before_paying(dead, usd(2000), SEEN, OWN, DUE) == "no silent retry: reported lost"
