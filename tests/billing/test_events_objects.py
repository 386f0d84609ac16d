"""What is read out of each of Stripe's objects: invoices, subscriptions, charges, refunds, disputes, customers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from billing.events import ChargeSucceeded, Noted, from_stripe
from billing.money import Amount
from tests.billing import payloads as p


def what(type: str, object: dict[str, Any], before: dict[str, Any] | None = None) -> Any:
    event = from_stripe(p.event(type, object, before=before))
    assert event is not None
    return event.what


# ---------------------------------------------------------------- invoices and money


def test_an_expanded_intent_tells_why_the_invoice_failed() -> None:
    old = p.invoice(p.ACACIA, payment_intent=p.payment_intent(p.ACACIA))
    new = p.invoice(payments={"data": [{"payment": {"payment_intent": p.payment_intent()}}]})
    assert what("invoice.payment_failed", old).decline == what("invoice.payment_failed", new).decline
    assert what("invoice.payment_failed", new).decline.advice_code == "try_again_later"


def test_authentication_is_asked_for_by_type_or_by_the_expanded_intent() -> None:
    acting = p.payment_intent(p.ACACIA, status="requires_action")
    assert what("invoice.payment_action_required", p.invoice()).action_required
    assert what("invoice.payment_failed", p.invoice(p.ACACIA, payment_intent=acting)).action_required
    assert not what("invoice.payment_failed", p.invoice()).action_required


def test_of_several_payments_the_one_that_paid_is_named() -> None:
    rows = [
        {"is_default": True, "status": "canceled", "payment": {"payment_intent": "pi_1"}},
        {"is_default": False, "status": "paid", "payment": {"payment_intent": "pi_2"}},
    ]
    assert what("invoice.paid", p.invoice(payments={"data": rows})).invoice.payment_intent == "pi_2"


def test_nothing_remaining_stays_nothing_even_when_less_was_paid_than_due() -> None:
    credited = p.invoice(amount_paid=500, amount_remaining=0)
    assert what("invoice.updated", credited).invoice.remaining == Amount(0, "usd")
    untold = p.invoice(amount_paid=500, amount_remaining=None)
    assert what("invoice.updated", untold).invoice.remaining == Amount(1500, "usd")


def test_money_paid_outside_stripe_is_known_in_old_and_new_shapes() -> None:
    assert what("invoice.paid", p.invoice(p.ACACIA, paid_out_of_band=True)).invoice.paid_out_of_band
    assert what("invoice.paid", p.invoice(amount_paid_off_stripe=2000)).invoice.paid_out_of_band
    assert not what("invoice.paid", p.invoice(amount_paid_off_stripe=0)).invoice.paid_out_of_band
    record = p.invoice_payment(payment={"type": "payment_record", "payment_record": "prec_1"})
    assert what("invoice_payment.paid", record).outside_stripe


def test_an_uncollectible_invoice_says_why_since_endive() -> None:
    body = p.invoice(status_details={"uncollectible": {"reason": "max_payment_attempts"}})
    assert what("invoice.marked_uncollectible", body).reason == "max_payment_attempts"


def test_amounts_are_in_the_currency_of_their_object() -> None:
    assert what("invoice.paid", p.invoice(currency="JPY")).invoice.due == Amount(2000, "jpy")


# ---------------------------------------------------------------- subscriptions


def test_items_before_a_change_are_read_whole() -> None:
    was = p.subscription()["items"]["data"][0] | {"quantity": 1}
    seen = what("customer.subscription.updated", p.subscription(), {"items": {"data": [was]}, "quantity": 1})
    assert [item.quantity for item in seen.previous_items] == [1]
    assert [item.quantity for item in seen.subscription.items] == [3]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ({"quantity": 1}, ("price_1", "2000", 1)),
        ({"plan": {"id": "OLD", "amount": 900, "interval": "year"}}, ("OLD", "900", 3)),
        ({"plan": {"id": "OLD", "amount": 900}, "quantity": 5}, ("OLD", "900", 5)),
    ],
)
def test_an_old_change_of_plan_or_quantity_is_a_change_of_the_one_item(
    before: dict[str, Any], expected: tuple[str, str, int]
) -> None:
    (item,) = what("customer.subscription.updated", p.subscription(p.BEFORE_ACACIA), before).previous_items
    assert (item.price, item.unit_amount, item.quantity) == expected


def test_a_subscription_from_before_items_has_the_one_that_its_plan_is() -> None:
    plan = p.subscription(p.OLD)["items"]["data"][0]["plan"]
    body = p.subscription(p.OLD, items=p.GONE, plan=plan, quantity=2)
    (item,) = what("customer.subscription.created", body).subscription.items
    assert (item.price, item.unit_amount, item.quantity, item.interval) == ("price_1", "2000", 2, "month")


def test_only_the_first_page_of_items_is_told_as_incomplete() -> None:
    items = p.subscription()["items"] | {"has_more": True}
    assert not what("customer.subscription.updated", p.subscription(items=items)).subscription.items_complete
    assert what("customer.subscription.updated", p.subscription()).subscription.items_complete


def test_tiers_metering_and_packages_are_kept() -> None:
    row = p.subscription()["items"]["data"][0]
    tiers = [
        {"up_to": 10, "unit_amount_decimal": "0.5", "flat_amount": 100},
        {"up_to": None, "unit_amount_decimal": Decimal("0.25"), "flat_amount": None},
    ]
    tiered = row | {"price": row["price"] | {"tiers": tiers, "tiers_mode": "graduated", "unit_amount": None}}
    tiered["price"]["unit_amount_decimal"] = None
    metered = row | {"price": row["price"] | {"recurring": {"interval": "month", "usage_type": "metered"}}}
    del metered["quantity"]
    packed = row | {"price": row["price"] | {"transform_quantity": {"divide_by": 5, "round": "up"}}}
    items = {"data": [tiered, metered, packed]}
    one, two, three = what("customer.subscription.updated", p.subscription(items=items)).subscription.items
    assert one.unit_amount is None
    assert one.tiers == ((10, "0.5", "100"), (None, "0.25", None))
    assert (two.usage_type, two.quantity) == ("metered", 0)
    assert three.transform == (5, "up")


def test_a_pause_for_a_failed_payment_is_told_from_one_that_was_asked_for() -> None:
    details = {"paused": {"type": "subscription", "subscription": {"type": "final_payment_failure"}}}
    seen = what("customer.subscription.paused", p.subscription(status="paused", status_details=details))
    assert seen.subscription.pause_reason == "final_payment_failure"


# ---------------------------------------------------------------- charges, refunds, disputes


def test_a_charge_that_turns_out_paid_is_a_success_and_has_no_decline() -> None:
    paid = p.charge(paid=True, status="succeeded", failure_code=None, outcome={"type": "authorized"})
    assert isinstance(what("charge.updated", paid), ChargeSucceeded)
    assert what("charge.updated", paid).charge.decline is None


def test_an_intent_that_succeeded_has_no_decline_left() -> None:
    assert what("payment_intent.succeeded", p.payment_intent(status="succeeded")).intent.decline is None


def test_a_blocked_charge_keeps_its_reason_apart_from_the_banks_code() -> None:
    blocked = p.charge(outcome={"type": "blocked", "reason": "highest_risk_level"})
    decline = what("charge.failed", blocked).charge.decline
    assert (decline.decline_code, decline.reason, decline.outcome_type) == (None, "highest_risk_level", "blocked")


def test_a_refund_is_told_apart_from_the_total_of_its_charge() -> None:
    total = what("charge.refunded", p.charge(amount_refunded=700))
    assert (total.amount, total.refund) == (Amount(700, "usd"), None)
    one = what("refund.failed", p.refund(status="failed"))
    assert (one.charge, one.amount, one.refund, one.status) == ("ch_1", Amount(500, "usd"), "re_1", "failed")
    assert what("refund.created", p.refund(charge=None)) == Noted("re_1", None)


@pytest.mark.parametrize(
    ("status", "open"),
    [
        ("warning_needs_response", True),
        ("needs_response", True),
        ("under_review", True),
        ("appeal_under_review", True),
        ("lost", True),
        ("a status of next year", True),
        (None, True),
        ("won", False),
        ("warning_closed", False),
        ("prevented", False),
    ],
)
def test_a_dispute_is_open_until_it_ends_in_our_favour(status: str | None, open: bool) -> None:
    assert what("charge.dispute.updated", p.dispute(status=status)).open is open


def test_a_fraud_warning_is_an_open_dispute() -> None:
    seen = what("radar.early_fraud_warning.created", p.fraud_warning())
    assert (seen.charge, seen.open, seen.reason) == ("ch_1", True, "misc")


# ---------------------------------------------------------------- customers and payment methods


def test_a_detached_method_still_says_whose_it_was() -> None:
    event = from_stripe(
        p.event("payment_method.detached", p.payment_method(customer=None), before={"customer": "cus_1"})
    )
    assert event is not None
    assert event.customer == "cus_1"
    assert event.what.method.customer is None  # type: ignore[union-attr]


def test_legacy_sources_are_payment_methods() -> None:
    card = what("customer.source.created", {"id": "card_1", "object": "card", **p.card(brand="American Express")})
    assert (card.change, card.method.kind, card.method.card.brand) == ("attached", "card", "amex")
    bank = what("customer.source.updated", {"id": "ba_1", "object": "bank_account", "last4": "6789"})
    assert (bank.method.kind, bank.method.card) == ("bank_account", None)
    source = what("customer.source.expiring", {"id": "src_1", "object": "source", "type": "card", "card": p.card()})
    assert (source.change, source.method.kind, source.method.card.last4) == ("expiring", "card", "4242")


def test_a_customer_is_read_and_one_deleted_says_so() -> None:
    seen = what("customer.updated", p.customer()).customer
    assert (seen.email, seen.locales, seen.country, seen.default_payment_method) == (
        "ada@example.org",
        ("de-AT",),
        "AT",
        "pm_1",
    )
    assert not seen.deleted
    assert what("customer.deleted", p.customer()).customer.deleted
