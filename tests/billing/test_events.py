"""What each kind of Stripe event is read as, whatever API version it speaks."""

from __future__ import annotations

import importlib.util
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from billing.events import (
    Card,
    ChargeDisputed,
    ChargeFailed,
    ChargeRefunded,
    ChargeSucceeded,
    CustomerSeen,
    Decline,
    Discount,
    DiscountSeen,
    Event,
    InvoiceFailed,
    InvoicePaid,
    InvoicePaymentPaid,
    InvoiceSeen,
    InvoiceUncollectible,
    InvoiceVoided,
    Noted,
    PaymentIntentSeen,
    PaymentMethodSeen,
    SubscriptionSeen,
    Unreadable,
    from_stripe,
    known_types,
    to_fetch,
)
from billing.events.stripe_payload import THIN_ONLY
from billing.money import Amount
from tests.billing import payloads as p

OBJECTS: dict[str, dict[str, Any]] = {
    "invoice": p.invoice(),
    "invoice_payment": p.invoice_payment(),
    "charge": p.charge(),
    "payment_intent": p.payment_intent(),
    "payment_method": p.payment_method(),
    "customer": p.customer(),
    "customer.source": {"id": "card_1", "object": "card", "customer": "cus_1", **p.card()},
    "customer.subscription": p.subscription(),
    "customer.discount": p.discount(),
    "refund": p.refund(),
    "charge.dispute": p.dispute(),
    "radar.early_fraud_warning": p.fraud_warning(),
}

KINDS: list[tuple[str, type, str]] = [
    # the group, what its events are read as, the last words of their types
    (
        "invoice",
        InvoiceSeen,
        "updated created finalized finalization_failed payment_attempt_required will_be_due overpaid",
    ),
    ("invoice", InvoiceFailed, "payment_failed payment_action_required overdue"),
    ("invoice", InvoicePaid, "paid payment_succeeded"),
    ("invoice", InvoiceVoided, "voided"),
    ("invoice", InvoiceUncollectible, "marked_uncollectible"),
    ("invoice", Noted, "upcoming"),
    ("invoice_payment", InvoicePaymentPaid, "paid"),
    ("charge", ChargeFailed, "failed"),
    ("charge", ChargeSucceeded, "succeeded"),
    ("charge", ChargeRefunded, "refunded"),
    ("charge", Noted, "updated"),  # of a charge that is not paid
    ("payment_intent", PaymentIntentSeen, "payment_failed requires_action processing succeeded canceled"),
    ("payment_method", PaymentMethodSeen, "attached updated automatically_updated detached"),
    ("customer", CustomerSeen, "created updated deleted"),
    ("customer.source", PaymentMethodSeen, "created updated expiring"),
    (
        "customer.subscription",
        SubscriptionSeen,
        "created updated deleted paused resumed trial_will_end pending_update_applied pending_update_expired",
    ),
    ("customer.discount", DiscountSeen, "created updated deleted"),
    ("refund", ChargeRefunded, "created updated failed"),
    ("charge.dispute", ChargeDisputed, "created updated closed funds_withdrawn funds_reinstated"),
    ("radar.early_fraud_warning", ChargeDisputed, "created"),
    ("setup_intent", PaymentMethodSeen, "succeeded"),
    ("setup_intent", Noted, "setup_failed"),
    ("mandate", Noted, "updated"),
    ("subscription_schedule", Noted, "created updated aborted canceled completed expiring released"),
    ("price", Noted, "updated"),
    ("coupon", Noted, "created updated deleted"),
    ("credit_note", Noted, "created voided"),
    ("account.application", Noted, "deauthorized"),
]
TYPES = {f"{group}.{word}": kind for group, kind, words in KINDS for word in words.split()}


def read(body: dict[str, Any], fetched: dict[str, Any] | None = None, **account: str) -> Event:
    event = from_stripe(body, fetched, **account)
    assert event is not None
    return event


def what(type: str, object: dict[str, Any], before: dict[str, Any] | None = None) -> Any:
    return read(p.event(type, object, before=before)).what


# ---------------------------------------------------------------- types


def test_the_known_types_are_the_ones_in_this_table() -> None:
    assert known_types() == set(TYPES)


@pytest.mark.parametrize("type", TYPES)
def test_every_known_type_is_read_as_its_occurrence(type: str) -> None:
    object = OBJECTS.get(type.rpartition(".")[0], {"id": "x_1", "customer": "cus_1"})
    assert isinstance(what(type, object), TYPES[type])


def test_stripe_lets_an_endpoint_subscribe_to_every_known_type() -> None:
    """Read from the SDK's source, since importing it takes longer than all other tests here."""
    spec = importlib.util.find_spec("stripe")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).with_name("params") / "_webhook_endpoint_create_params.py"
    assert known_types() <= set(re.findall(r'"([a-z_.]+\.[a-z_]+)"', source.read_text()))


def test_every_thin_type_that_is_read_exists_in_the_sdk() -> None:
    spec = importlib.util.find_spec("stripe")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).with_name("events")
    missing = [t for t in THIN_ONLY if not (folder / f"_v1_{t.replace('.', '_')}_event.py").exists()]
    assert missing == []


@pytest.mark.parametrize("type", ["payout.paid", "foo.bar", "v1.foo.bar", "v2.core.account.created", ""])
def test_an_unknown_type_is_nothing_to_us_however_odd_its_body(type: str) -> None:
    assert from_stripe({"type": type or "x", "data": [1]}) is None
    assert to_fetch({"type": type or "x", "object": "v2.core.event"}) is None


# ---------------------------------------------------------------- versions


@pytest.mark.parametrize("version", p.VERSIONS)
def test_a_failed_invoice_says_the_same_in_every_version(version: str) -> None:
    event = read(p.event("invoice.payment_failed", p.invoice(version), version=version))
    newest = read(p.event("invoice.payment_failed", p.invoice()))
    assert event.what == newest.what
    assert event.api_version == version
    assert isinstance(event.what, InvoiceFailed)
    invoice = event.what.invoice
    assert (invoice.subscription, invoice.payment_intent, invoice.charge) == ("sub_1", "pi_1", "ch_1")
    assert invoice.remaining == Amount(2000, "usd")
    assert invoice.finalized_at == datetime(2026, 3, 1, 8, 59, tzinfo=UTC)
    assert event.customer == "cus_1"


@pytest.mark.parametrize("version", p.VERSIONS)
def test_a_failed_charge_names_its_decline_as_far_as_its_version_knows_it(version: str) -> None:
    charge = what("charge.failed", p.charge(version)).charge
    new = version >= p.ACACIA
    assert charge.decline == Decline(
        code="card_declined",
        decline_code="insufficient_funds",
        advice_code="try_again_later" if new else None,
        network_decline_code="51" if new else None,
        outcome_type="issuer_declined",
        reason="insufficient_funds",
    )
    assert charge.card == Card("fp_1", "visa", "4242", 8, 2030, "US", "credit")
    assert charge.invoice == ("in_1" if version < p.BASIL else None)
    assert charge.payment_method == "pm_1"


@pytest.mark.parametrize("version", p.VERSIONS)
def test_a_failed_payment_intent_knows_its_last_charge_and_decline_in_every_version(version: str) -> None:
    intent = what("payment_intent.payment_failed", p.payment_intent(version)).intent
    assert intent.latest_charge == "ch_1"
    assert intent.decline is not None
    assert intent.decline.decline_code == "insufficient_funds"
    assert intent.card is not None
    assert intent.card.brand == "visa"


@pytest.mark.parametrize("version", p.VERSIONS)
def test_a_subscription_is_priced_the_same_in_every_version(version: str) -> None:
    seen = what("customer.subscription.updated", p.subscription(version), {"status": "trialing"})
    subscription, item = seen.subscription, seen.subscription.items[0]
    assert (seen.change, seen.previous_status, seen.previous_items) == ("updated", "trialing", None)
    assert (item.price, item.product, item.unit_amount, item.quantity) == ("price_1", "prod_1", "2000", 3)
    assert (item.interval, item.interval_count, item.usage_type) == ("month", 1, "licensed")
    assert subscription.period_end == datetime(2026, 3, 31, 9, tzinfo=UTC)
    if version < p.BASIL:
        half = Discount("HALF", "forever", "50.5", starts=datetime(2026, 2, 28, 9, tzinfo=UTC))
        assert (subscription.discounts, subscription.discounts_complete) == ((half,), True)
    else:
        assert (subscription.discounts, subscription.discounts_complete) == ((), False)


@pytest.mark.parametrize("version", p.VERSIONS)
def test_a_discount_is_read_with_its_terms_in_every_version(version: str) -> None:
    seen = what("customer.discount.created", p.discount(version))
    assert (seen.subscription, seen.customer, seen.change, seen.discount_id) == ("sub_1", "cus_1", "created", "di_1")
    assert (seen.discount.coupon, seen.discount.percent_off, seen.discount.duration) == ("HALF", "50.5", "forever")


def test_a_discount_whose_coupon_is_only_named_has_no_terms() -> None:
    seen = what("customer.discount.created", p.discount(source={"type": "coupon", "coupon": "HALF"}))
    assert seen.discount is None
    assert seen.discount_id == "di_1"


def test_between_2024_04_and_basil_a_discount_told_twice_counts_once() -> None:
    body = p.subscription(p.ACACIA, discounts=["di_1"])
    subscription = what("customer.subscription.updated", body).subscription
    assert len(subscription.discounts) == 1
    assert subscription.discounts_complete


def test_old_and_new_fields_side_by_side_do_not_disturb_each_other() -> None:
    both = p.invoice(p.BASIL) | {"subscription": None, "payment_intent": "pi_old", "charge": None}
    assert what("invoice.payment_failed", both) == what("invoice.payment_failed", p.invoice(p.BASIL))
    old = p.invoice(p.ACACIA) | {"parent": None, "payments": None}
    assert what("invoice.payment_failed", old) == what("invoice.payment_failed", p.invoice(p.ACACIA))


@pytest.mark.parametrize("version", p.VERSIONS)
def test_the_subscription_is_the_invoices_own_rather_than_a_lines(version: str) -> None:
    other = {"data": [{"subscription": "sub_2", "parent": {"subscription_item_details": {"subscription": "sub_2"}}}]}
    assert what("invoice.paid", p.invoice(version, lines=other)).invoice.subscription == "sub_1"


@pytest.mark.parametrize("version", p.VERSIONS)
def test_a_subscription_named_only_by_a_line_is_found(version: str) -> None:
    body = p.invoice(version)
    body.pop("parent", None)
    body.pop("subscription", None)
    assert what("invoice.paid", body).invoice.subscription == "sub_1"


# ---------------------------------------------------------------- the envelope


def test_the_account_is_the_one_named_else_the_default() -> None:
    body = p.event("invoice.paid", p.invoice())
    assert read(body).account == "self"
    assert read(body, account="acct_own").account == "acct_own"
    assert read(body | {"account": "acct_1"}, account="acct_own").account == "acct_1"
    assert read(body | {"context": "org_1/acct_2"}).account == "acct_2"


def test_our_own_calls_are_recognised_by_their_key() -> None:
    body = p.event("invoice.paid", p.invoice(), request={"id": None, "idempotency_key": "reprieve:in_1:1"})
    assert read(body).caused_by == "reprieve:in_1:1"
    assert read(p.event("invoice.paid", p.invoice(), request="req_of_2016")).caused_by is None
    reason = {"type": "request", "request": {"id": "req_1", "idempotency_key": "reprieve:in_1:1"}}
    assert read(p.thin("invoice.paid", "in_1", "invoice", reason=reason), p.invoice()).caused_by == "reprieve:in_1:1"


def test_a_thin_event_is_read_with_the_object_that_was_fetched() -> None:
    body = p.thin("invoice.payment_failed", "in_1", "invoice", snapshot_event="evt_1")
    assert to_fetch(body) == ("invoice", "in_1")
    event = read(body, p.invoice())
    snapshot = read(p.event("invoice.payment_failed", p.invoice()))
    assert (event.type, event.what, event.customer) == (snapshot.type, snapshot.what, snapshot.customer)
    assert event.at == datetime(2026, 3, 1, 9, 0, 0, 250_000, tzinfo=UTC)
    assert event.snapshot_id == snapshot.id


@pytest.mark.parametrize("word", ["past_due", "unpaid", "active", "item_price_changed", "cancel_at_changed"])
def test_what_only_thin_events_tell_is_a_subscription_seen(word: str) -> None:
    changes = {"before": {"status": "active"}, "after": {"status": "past_due"}}
    body = p.thin(f"customer.subscription.{word}", "sub_1", "subscription", changes=changes)
    seen = read(body, p.subscription(status="past_due")).what
    assert isinstance(seen, SubscriptionSeen)
    assert (seen.change, seen.previous_status, seen.subscription.status) == (word, "active", "past_due")


def test_a_thin_event_without_its_object_waits_unless_the_id_says_it_all() -> None:
    with pytest.raises(Unreadable, match=r"invoice\.paid evt_thin_1: related_object in_1 has to be fetched"):
        from_stripe(p.thin("invoice.paid", "in_1", "invoice"))
    gone = p.thin("customer.deleted", "cus_1", "customer")
    assert to_fetch(gone) is None
    assert read(gone).what.customer.deleted  # type: ignore[union-attr]
    assert read(p.thin("coupon.deleted", "HALF", "coupon")).what == Noted("HALF", None)


def test_a_thin_event_is_not_read_with_another_object() -> None:
    with pytest.raises(Unreadable, match="not the object that was fetched"):
        from_stripe(p.thin("invoice.paid", "in_2", "invoice"), p.invoice())


def test_a_snapshot_needs_nothing_fetched() -> None:
    assert to_fetch(p.event("invoice.paid", p.invoice())) is None
