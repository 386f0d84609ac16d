"""Paying an invoice, in every way it can go, and what the bank saw of it."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import stripe

from sandbox import Sandbox, Subscribed, authenticates, debit, declines, until
from tests.sandbox.conftest import Client, client_of, error_of

MONTH = timedelta(days=32)


def failed_renewal(sb: Sandbox, **how: Any) -> tuple[Subscribed, str]:
    made = sb.subscribe(**how)
    sb.advance(MONTH)
    return made, sb.latest_invoice(made.subscription)["id"]


@pytest.mark.parametrize(
    ("code", "brand", "error", "advice", "network", "mac"),
    [
        ("insufficient_funds", "visa", "card_declined", "try_again_later", "51", None),
        ("insufficient_funds", "mastercard", "card_declined", "try_again_later", "51", "02"),
        ("lost_card", "mastercard", "card_declined", "do_not_try_again", "41", "03"),
        ("expired_card", "visa", "expired_card", "confirm_card_data", "54", None),
        ("processing_error", "visa", "processing_error", "try_again_later", "96", None),
        ("stop_payment_order", "visa", "card_declined", "do_not_try_again", "R0", None),
        ("some_new_code", "visa", "card_declined", None, "05", None),
    ],
)
def test_a_decline_is_a_402_with_every_code(
    sb: Sandbox,
    client: Client,
    code: str,
    brand: str,
    error: str,
    advice: str | None,
    network: str,
    mac: str | None,
) -> None:
    made, invoice = failed_renewal(sb, card=f"pm_card_{brand}", behaviour=declines(code))
    with pytest.raises(stripe.CardError) as declined:
        client.v1.invoices.pay(invoice)
    told = error_of(declined)
    assert declined.value.http_status == 402
    assert (told.type, told.code, told.decline_code, told.advice_code) == ("card_error", error, code, advice)
    assert (told.network_decline_code, told.network_advice_code) == (network, mac)
    assert told.payment_intent.status == "requires_payment_method"
    charge = client.v1.charges.retrieve(told.charge)
    assert (charge.status, charge.failure_code, charge.outcome.reason) == ("failed", error, code)
    assert (charge.outcome.type, charge.outcome.network_status) == ("issuer_declined", "declined_by_network")
    assert "lost" not in charge.failure_message
    assert client.v1.subscriptions.retrieve(made.subscription).status == "past_due"


def test_pay_day_brings_the_money(sb: Sandbox, client: Client) -> None:
    made, invoice = failed_renewal(sb, behaviour=until(sb.clock() + timedelta(days=35)))
    with pytest.raises(stripe.CardError):
        client.v1.invoices.pay(invoice, options={"idempotency_key": "a1"})
    sb.advance(timedelta(days=4))
    assert client.v1.invoices.pay(invoice, options={"idempotency_key": "a2"}).status == "paid"
    assert client.v1.subscriptions.retrieve(made.subscription).status == "active"
    assert [(m.outcome, m.key) for m in sb.bank.attempts(invoice)] == [
        ("declined", None),
        ("declined", "a1"),
        ("charged", "a2"),
    ]


def test_manual_payments_do_not_raise_the_attempt_count(sb: Sandbox, client: Client) -> None:
    _, invoice = failed_renewal(sb, card="pm_card_chargeCustomerFail")
    for _ in range(3):
        with pytest.raises(stripe.CardError):
            client.v1.invoices.pay(invoice)
    assert client.v1.invoices.retrieve(invoice).attempt_count == 1


def test_a_payment_method_can_be_named_for_one_payment(sb: Sandbox, client: Client) -> None:
    made, invoice = failed_renewal(sb, card="pm_card_chargeCustomerFail")
    other = client.v1.payment_methods.attach("pm_card_mastercard", {"customer": made.customer})
    paid = client.v1.invoices.pay(invoice, {"payment_method": other.id, "off_session": True})
    assert (paid.status, paid.amount_remaining) == ("paid", 0)
    stranger = sb.subscribe()
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.invoices.pay(sb.latest_invoice(stranger.subscription)["id"], {"payment_method": other.id})


def test_the_subscriptions_own_card_comes_before_the_customers(sb: Sandbox, client: Client) -> None:
    made, invoice = failed_renewal(sb, card="pm_card_chargeCustomerFail")
    client.v1.subscriptions.update(made.subscription, {"default_payment_method": made.payment_method})
    sb.new_card(made.customer)
    with pytest.raises(stripe.CardError):
        client.v1.invoices.pay(invoice)
    client.v1.subscriptions.update(made.subscription, {"default_payment_method": ""})
    assert client.v1.invoices.pay(invoice).status == "paid"


def test_strict_mode_refuses_to_pay_twice(sb: Sandbox, client: Client) -> None:
    made = sb.subscribe()
    with pytest.raises(stripe.InvalidRequestError, match="already paid") as refused:
        client.v1.invoices.pay(made.invoice)
    assert refused.value.http_status == 400
    assert len(sb.bank.charged(made.invoice)) == 1


def test_hostile_mode_charges_again_for_a_new_key_and_not_for_the_old_one() -> None:
    with Sandbox(hostile=True) as sb:
        client = client_of(sb)
        _, invoice = failed_renewal(sb, behaviour=until(sb.clock() + MONTH))
        for key in ("a1", "a1", "a2"):
            assert client.v1.invoices.pay(invoice, options={"idempotency_key": key}).status == "paid"
        assert [m.key for m in sb.bank.charged(invoice)] == ["a1", "a2"]
        assert len({m.body for m in sb.bank.charged(invoice)}) == 1


@pytest.mark.parametrize(("hostile", "times"), [(False, 1), (True, 8)])
def test_eight_workers_with_eight_keys_charge_once_only_under_stripes_protection(hostile: bool, times: int) -> None:
    with Sandbox(hostile=hostile) as sb:
        _, invoice = failed_renewal(sb, behaviour=until(sb.clock() + MONTH))
        client = client_of(sb)

        def pay(n: int) -> str:
            try:
                return str(client.v1.invoices.pay(invoice, options={"idempotency_key": f"w{n}"}).status)
            except stripe.InvalidRequestError:
                return "refused"

        with ThreadPoolExecutor(8) as workers:
            answers = list(workers.map(pay, range(8)))
        assert answers.count("paid") == times == len(sb.bank.charged(invoice))
        assert sb.crashes == []


@pytest.mark.parametrize("end", ["void", "paid_out_of_band"])
def test_an_ended_invoice_takes_no_money(sb: Sandbox, client: Client, end: str) -> None:
    made, invoice = failed_renewal(sb, behaviour=until(sb.clock() + MONTH))
    if end == "void":
        client.v1.invoices.void_invoice(invoice)
    else:
        paid = client.v1.invoices.pay(invoice, {"paid_out_of_band": True})
        assert (paid.status, paid.amount_paid) == ("paid", 2000)
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.invoices.pay(invoice)
    assert sb.bank.charged(invoice) == []
    assert client.v1.subscriptions.retrieve(made.subscription).status == "active"


def test_an_uncollectible_invoice_can_still_be_paid(sb: Sandbox, client: Client) -> None:
    _, invoice = failed_renewal(sb, behaviour=until(sb.clock() + MONTH))
    client.v1.invoices.mark_uncollectible(invoice)
    assert client.v1.invoices.pay(invoice).status == "paid"


def test_an_invoice_without_any_payment_method_is_refused(sb: Sandbox, client: Client) -> None:
    made, invoice = failed_renewal(sb, card="pm_card_chargeCustomerFail")
    client.v1.payment_methods.detach(made.payment_method)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.invoices.pay(invoice)
    assert (refused.value.http_status, refused.value.code) == (400, "resource_missing")


def test_authentication_waits_for_the_customer(sb: Sandbox, client: Client) -> None:
    made, invoice = failed_renewal(sb, behaviour=authenticates())
    assert "invoice.payment_action_required" in sb.world.events.types()
    with pytest.raises(stripe.CardError) as needed:
        client.v1.invoices.pay(invoice)
    assert needed.value.code == "invoice_payment_intent_requires_action"
    intent = error_of(needed).payment_intent
    assert intent.status == "requires_action"
    assert sb.bank.charged(invoice) == []
    assert sb.authenticate(intent.id) == "succeeded"
    assert client.v1.invoices.retrieve(invoice).status == "paid"
    assert client.v1.subscriptions.retrieve(made.subscription).status == "active"


def test_a_card_can_be_declined_after_authentication_and_asks_again(sb: Sandbox, client: Client) -> None:
    made, invoice = failed_renewal(sb, card="pm_card_authenticationRequiredChargeDeclinedInsufficientFunds")
    intent = sb.get(invoice)["_payment_intent"]
    assert sb.authenticate(intent) == "declined"
    assert client.v1.payment_intents.retrieve(intent).last_payment_error.decline_code == "insufficient_funds"
    with pytest.raises(stripe.CardError) as again:
        client.v1.invoices.pay(invoice)
    assert again.value.code == "invoice_payment_intent_requires_action"
    assert client.v1.subscriptions.retrieve(made.subscription).status == "past_due"


def test_failed_authentication_leaves_the_invoice_open(sb: Sandbox, client: Client) -> None:
    _, invoice = failed_renewal(sb, behaviour=authenticates())
    intent = sb.get(invoice)["_payment_intent"]
    assert sb.authenticate(intent, success=False) == "declined"
    assert client.v1.payment_intents.retrieve(intent).last_payment_error.code == "payment_intent_authentication_failure"
    assert client.v1.invoices.retrieve(invoice).status == "open"


@pytest.mark.parametrize(("code", "status"), [(None, "paid"), ("debit_insufficient_funds", "open")])
def test_a_bank_debit_is_known_days_later(sb: Sandbox, client: Client, code: str | None, status: str) -> None:
    made = sb.subscribe("pm_sepaDebit_success", currency="eur", behaviour=debit(7, code))
    sb.advance(MONTH)
    invoice = sb.latest_invoice(made.subscription)["id"]
    intent = sb.get(invoice)["_payment_intent"]
    assert client.v1.payment_intents.retrieve(intent).status == "processing"
    assert client.v1.invoices.retrieve(invoice).status == "open"
    with pytest.raises(stripe.InvalidRequestError) as second:
        client.v1.invoices.pay(invoice)
    assert second.value.code == "payment_intent_unexpected_state"
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.invoices.void_invoice(invoice)
    sb.advance(timedelta(days=7))
    assert client.v1.invoices.retrieve(invoice).status == status
    assert [m.outcome for m in sb.bank.attempts(invoice)] == ["processing", "declined" if code else "charged"]


def post(url: str, **fields: str) -> tuple[int, str]:
    request = urllib.request.Request(url, urllib.parse.urlencode(fields).encode())  # noqa: S310 - a loopback address
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def test_the_hosted_page_takes_a_card_and_pays(sb: Sandbox, client: Client) -> None:
    _, invoice = failed_renewal(sb, card="pm_card_chargeCustomerFail")
    page = client.v1.invoices.retrieve(invoice).hosted_invoice_url or ""
    assert post(page, number="4000000000000002")[0] == 402
    assert post(page, number="4000000000003220", authenticate="fail")[0] == 402
    assert post(page, number="4000000000003220")[0] == 200
    assert client.v1.invoices.retrieve(invoice).status == "paid"
    assert post(page, number="4242424242424242")[0] == 400
    assert [m.source for m in sb.bank.charged(invoice)] == ["hosted"]


def test_the_portal_sets_a_new_default_card(sb: Sandbox, client: Client) -> None:
    made, invoice = failed_renewal(sb, card="pm_card_chargeCustomerFail")
    session = client.v1.billing_portal.sessions.create(
        {
            "customer": made.customer,
            "return_url": "https://example.com/back",
            "flow_data": {"type": "payment_method_update"},
        }
    )
    status, page = post(session.url, number="5555555555554444")
    assert status == 200
    assert "mastercard •••• 4444" in page
    assert sb.world.events.types()[-2:] == ["payment_method.attached", "customer.updated"]
    assert client.v1.invoices.pay(invoice).status == "paid"


def test_the_money_log_is_on_disk_before_the_answer(tmp_path: Any) -> None:
    log = tmp_path / "money.jsonl"
    with Sandbox(money_log=log, fsync=True) as sb:
        _, invoice = failed_renewal(sb, behaviour=until(sb.clock() + MONTH))
        client_of(sb).v1.invoices.pay(invoice, options={"idempotency_key": "k"})
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["outcome"], line["source"], line["key"]) for line in lines if line["invoice"] == invoice] == [
        ("declined", "automatic", None),
        ("charged", "api", "k"),
    ]


def test_a_payment_intent_of_its_own_is_confirmed_and_cancelled(client: Client) -> None:
    paid = client.v1.payment_intents.create(
        {"amount": 500, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )
    assert paid.status == "succeeded"
    waiting = client.v1.payment_intents.create({"amount": 500, "currency": "usd"})
    with pytest.raises(stripe.CardError):
        client.v1.payment_intents.confirm(waiting.id, {"payment_method": "pm_card_chargeDeclined"})
    assert client.v1.payment_intents.cancel(waiting.id).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError) as late:
        client.v1.payment_intents.confirm(waiting.id, {"payment_method": "pm_card_visa"})
    assert late.value.code == "payment_intent_unexpected_state"


def test_a_charge_the_old_way_goes_to_the_same_bank(sb: Sandbox, client: Client) -> None:
    assert client.v1.charges.create({"amount": 500, "currency": "usd", "source": "tok_visa"}).paid
    with pytest.raises(stripe.CardError):
        client.v1.charges.create({"amount": 500, "currency": "usd", "source": "tok_chargeDeclinedInsufficientFunds"})
    assert [m.outcome for m in sb.bank.movements] == ["charged", "declined"]


def test_a_disputed_test_card_is_disputed_at_once(sb: Sandbox, client: Client) -> None:
    client.v1.payment_intents.create(
        {"amount": 500, "currency": "usd", "payment_method": "pm_card_createDispute", "confirm": True}
    )
    assert [found.reason for found in client.v1.disputes.list()] == ["fraudulent"]
    assert sb.bank.movements[-1].outcome == "disputed"
