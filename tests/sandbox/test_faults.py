"""Scripted trouble: what the client sees, and what really happened."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest
import stripe

from sandbox import Sandbox, Subscribed, until
from tests.sandbox.conftest import client_of, error_of, headers_of

PAY = r"/v1/invoices/[^/]+/pay"


@pytest.fixture
def due(sb: Sandbox) -> tuple[Subscribed, str]:
    """An open invoice whose card is good again."""
    made = sb.subscribe(behaviour=until(sb.clock() + timedelta(days=32)))
    sb.advance(timedelta(days=33))
    return made, sb.latest_invoice(made.subscription)["id"]


@pytest.mark.parametrize(
    ("kind", "details", "error", "executed"),
    [
        ("drop_before", {}, stripe.APIConnectionError, False),
        ("drop_after", {}, stripe.APIConnectionError, True),
        ("answer", {"status": 500}, stripe.APIError, False),
        ("answer", {"status": 503}, stripe.APIError, False),
        ("answer", {"status": 429}, stripe.RateLimitError, False),
        ("answer_after", {"status": 500}, stripe.APIError, True),
        ("truncate", {}, stripe.APIConnectionError, True),
        ("garbage", {}, stripe.APIError, True),
    ],
)
def test_what_the_client_sees_and_what_the_bank_did(
    sb: Sandbox, due: tuple[Subscribed, str], kind: str, details: dict[str, Any], error: type[Exception], executed: bool
) -> None:
    client, (_, invoice) = client_of(sb), due
    sb.faults.add(kind, path=PAY, **details)
    with pytest.raises(error):
        client.v1.invoices.pay(invoice, options={"idempotency_key": "a1"})
    assert len(sb.bank.charged(invoice)) == int(executed)
    if kind != "answer_after":
        assert client.v1.invoices.pay(invoice, options={"idempotency_key": "a1"}).status == "paid"
    assert len(sb.bank.charged(invoice)) == 1


def test_a_fault_hits_the_named_calls_only(sb: Sandbox) -> None:
    sb.faults.add("answer", path="/v1/customers", nth=2, count=2, status=500)
    client, seen = client_of(sb), []
    for _ in range(5):
        try:
            client.v1.customers.create()
            seen.append(200)
        except stripe.APIError as broken:
            seen.append(broken.http_status or 0)
    client.v1.products.create({"name": "P"})
    assert seen == [200, 500, 500, 200, 200]


def test_an_answer_can_say_whether_to_retry(sb: Sandbox) -> None:
    sb.faults.add("answer", path="/v1/customers", status=429, code="lock_timeout", should_retry=True, count=2)
    patient = stripe.StripeClient("sk_test_x", base_addresses={"api": sb.url}, max_network_retries=0)
    with pytest.raises(stripe.RateLimitError) as limited:
        patient.v1.customers.create()
    assert headers_of(limited)["stripe-should-retry"] == "true"
    assert error_of(limited).code == "lock_timeout"


def test_a_delay_is_felt_and_does_not_stop_others(sb: Sandbox) -> None:
    sb.faults.add("delay_after", path="/v1/customers", seconds=0.2)
    began = time.monotonic()
    client_of(sb).v1.customers.create()
    assert time.monotonic() - began >= 0.2


def test_a_client_that_gives_up_does_not_undo_the_payment(sb: Sandbox, due: tuple[Subscribed, str]) -> None:
    (_, invoice) = due
    sb.faults.add("delay", path=PAY, seconds=0.2)
    hasty = stripe.StripeClient(
        "sk_test_x", base_addresses={"api": sb.url}, http_client=stripe.RequestsClient(timeout=0.05)
    )
    with pytest.raises(stripe.APIConnectionError):
        hasty.v1.invoices.pay(invoice, options={"idempotency_key": "a1"})
    with pytest.raises(stripe.APIError) as busy:
        client_of(sb).v1.invoices.pay(invoice, options={"idempotency_key": "a1"})
    assert busy.value.http_status == 409
    deadline = time.monotonic() + 5
    while not sb.bank.charged(invoice) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert client_of(sb).v1.invoices.pay(invoice, options={"idempotency_key": "a1"}).status == "paid"
    assert [m.key for m in sb.bank.charged(invoice)] == ["a1"]


def test_a_sandbox_stops_while_a_request_still_waits() -> None:
    with Sandbox() as sb:
        sb.faults.add("delay", path="/v1/customers", seconds=60)
        hasty = stripe.StripeClient(
            "sk_test_x", base_addresses={"api": sb.url}, http_client=stripe.RequestsClient(timeout=0.05)
        )
        with pytest.raises(stripe.APIConnectionError):
            hasty.v1.customers.create()
        began = time.monotonic()
    assert time.monotonic() - began < 2


def test_a_payment_can_be_made_to_hang_in_processing(sb: Sandbox, due: tuple[Subscribed, str]) -> None:
    client, (_, invoice) = client_of(sb), due
    sb.faults.add("processing", path=PAY, seconds=86_400 * 5)
    answered = client.v1.invoices.pay(invoice, {"expand": ["payments.data.payment.payment_intent"]})
    assert answered.status == "open"
    assert answered.payments.data[0].payment.payment_intent.status == "processing"
    assert sb.bank.charged(invoice) == []
    sb.advance(timedelta(days=5))
    assert client.v1.invoices.retrieve(invoice).status == "paid"


def test_the_bodies_of_two_attempts_can_be_told_apart(sb: Sandbox, due: tuple[Subscribed, str]) -> None:
    client, (made, invoice) = client_of(sb), due
    sb.issuer.set(made.payment_method, until(sb.clock() + timedelta(days=1)))
    for fields in ({}, {}, {"off_session": True}):
        with pytest.raises(stripe.CardError):
            client.v1.invoices.pay(invoice, fields)
    bodies = [m.body for m in sb.bank.attempts(invoice) if m.source == "api"]
    assert bodies[0] == bodies[1] != bodies[2]


def test_the_script_is_a_value_that_can_be_cleared(sb: Sandbox) -> None:
    sb.faults.add("answer", path="/v1/customers", count=0)
    with pytest.raises(ValueError, match="nonsense"):
        sb.faults.add("nonsense")
    sb.faults.clear()
    assert client_of(sb).v1.customers.create().id
    assert json.dumps([str(fault.kind) for fault in sb.faults.script]) == "[]"
