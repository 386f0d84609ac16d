"""Each kind of object through the official SDK: made, read, changed, listed, ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe

from sandbox import Sandbox
from tests.sandbox.conftest import Client, error_of


@pytest.fixture
def customer(client: Client) -> Any:
    return client.v1.customers.create({"email": "ada@example.com", "name": "Ada"})


@pytest.fixture
def price(client: Client) -> Any:
    product = client.v1.products.create({"name": "Team"})
    return client.v1.prices.create(
        {"product": product.id, "currency": "usd", "unit_amount": 1500, "recurring": {"interval": "month"}}
    )


def with_card(client: Client, card: str = "pm_card_visa") -> tuple[str, str]:
    customer = client.v1.customers.create({"email": "ada@example.com"})
    method = client.v1.payment_methods.attach(card, {"customer": customer.id})
    client.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": method.id}})
    return customer.id, method.id


def test_a_customer_is_created_read_changed_listed_and_deleted(client: Client) -> None:
    made = client.v1.customers.create(
        {"email": "ada@example.com", "metadata": {"plan": "a", "seat": "1"}, "preferred_locales": ["de-DE"]}
    )
    changed = client.v1.customers.update(
        made.id, {"name": "Ada", "metadata": {"plan": "", "since": "2026"}, "address": {"country": "DE"}}
    )
    assert changed.name == "Ada"
    assert changed.metadata.to_dict() == {"seat": "1", "since": "2026"}
    assert client.v1.customers.retrieve(made.id).address.country == "DE"
    assert [found.id for found in client.v1.customers.list({"email": "ada@example.com"})] == [made.id]
    assert client.v1.customers.delete(made.id).deleted is True
    assert client.v1.customers.retrieve(made.id).deleted is True
    assert client.v1.customers.list().data == []


def test_an_unknown_customer_is_a_404_and_one_in_a_parameter_a_400(client: Client) -> None:
    with pytest.raises(stripe.InvalidRequestError) as path:
        client.v1.customers.retrieve("cus_none")
    with pytest.raises(stripe.InvalidRequestError) as parameter:
        client.v1.invoices.create({"customer": "cus_none"})
    assert (path.value.http_status, path.value.code) == (404, "resource_missing")
    assert (parameter.value.http_status, parameter.value.param) == (400, "customer")


def test_missing_and_unknown_parameters_are_refused_by_name(client: Client) -> None:
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.prices.create({"unit_amount": 1})
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        client.v1.customers.create({"colour": "red"})
    assert (missing.value.code, missing.value.param) == ("parameter_missing", "currency")
    assert (unknown.value.code, unknown.value.param) == ("parameter_unknown", "colour")


def test_an_empty_key_is_refused(sb: Sandbox) -> None:
    nameless = stripe.StripeClient(" ", base_addresses={"api": sb.url})
    with pytest.raises(stripe.AuthenticationError):
        nameless.v1.accounts.retrieve_current()


def test_the_account_of_the_key_is_known(client: Client) -> None:
    assert client.v1.accounts.retrieve_current().id.startswith("acct_")


def test_lists_are_newest_first_and_page_by_cursor(client: Client) -> None:
    ids = [client.v1.customers.create().id for _ in range(5)]
    first = client.v1.customers.list({"limit": 2})
    second = client.v1.customers.list({"limit": 2, "starting_after": first.data[-1].id})
    back = client.v1.customers.list({"limit": 2, "ending_before": second.data[0].id})
    assert [found.id for found in first.data] == ids[:2:-1]
    assert [found.id for found in second.data] == [ids[2], ids[1]]
    assert [found.id for found in back.data] == [found.id for found in first.data]
    assert first.has_more
    assert [found.id for found in client.v1.customers.list({"limit": 2}).auto_paging_iter()] == ids[::-1]


@pytest.mark.parametrize(
    ("token", "brand", "funding"),
    [
        ("pm_card_visa", "visa", "credit"),
        ("pm_card_mastercard_debit", "mastercard", "debit"),
        ("tok_amex", "amex", "credit"),
    ],
)
def test_a_test_token_becomes_a_card(client: Client, token: str, brand: str, funding: str) -> None:
    customer = client.v1.customers.create()
    method = client.v1.payment_methods.attach(token, {"customer": customer.id})
    assert (method.card.brand, method.card.funding, method.customer) == (brand, funding, customer.id)
    assert [found.id for found in client.v1.payment_methods.list({"customer": customer.id})] == [method.id]
    assert client.v1.payment_methods.detach(method.id).customer is None


def test_a_card_number_becomes_a_card_and_a_wrong_one_does_not(client: Client) -> None:
    made = client.v1.payment_methods.create(
        {"type": "card", "card": {"number": "4000000000000341", "exp_month": 2, "exp_year": 2031, "cvc": "123"}}
    )
    assert (made.card.last4, made.card.exp_year) == ("0341", 2031)
    with pytest.raises(stripe.CardError) as wrong:
        client.v1.payment_methods.create(
            {"type": "card", "card": {"number": "4242424242424241", "exp_month": 2, "exp_year": 2031}}
        )
    assert wrong.value.code == "incorrect_number"


def test_a_card_that_declines_cannot_be_attached_but_0341_can(client: Client) -> None:
    customer = client.v1.customers.create()
    client.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer.id})
    with pytest.raises(stripe.CardError) as declined:
        client.v1.payment_methods.attach("pm_card_chargeDeclinedLostCard", {"customer": customer.id})
    assert error_of(declined).decline_code == "lost_card"


def test_an_old_style_source_becomes_the_default(client: Client, customer: Any) -> None:
    card = client.v1.customers.payment_sources.create(customer.id, {"source": "tok_visa"})
    assert client.v1.customers.retrieve(customer.id).default_source == card.id


TIERS: list[Any] = [{"up_to": 5, "unit_amount": 1000}, {"up_to": "inf", "unit_amount": 800, "flat_amount": 100}]


@pytest.mark.parametrize(
    ("price", "quantity", "total"),
    [
        ({"unit_amount": 1500}, 3, 4500),
        ({"unit_amount_decimal": "0.5"}, 3, 2),
        ({"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": TIERS}, 7, 5 * 1000 + 2 * 800 + 100),
        ({"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": TIERS}, 7, 7 * 800 + 100),
        ({"unit_amount": 500, "transform_quantity": {"divide_by": 10, "round": "up"}}, 11, 1000),
    ],
)
def test_a_price_says_what_a_quantity_costs(client: Client, price: dict[str, Any], quantity: int, total: int) -> None:
    customer, _ = with_card(client)
    made = client.v1.prices.create(
        {"currency": "usd", "product_data": {"name": "P"}, "recurring": {"interval": "month"}, **price}
    )
    subscription = client.v1.subscriptions.create(
        {"customer": customer, "items": [{"price": made.id, "quantity": quantity}], "expand": ["latest_invoice"]}
    )
    assert subscription.latest_invoice.amount_due == total


def test_a_subscription_is_paid_and_active(client: Client, price: Any) -> None:
    customer, _ = with_card(client)
    made = client.v1.subscriptions.create(
        {"customer": customer, "items": [{"price": price.id}], "expand": ["latest_invoice.payments", "customer"]}
    )
    assert made.status == "active"
    assert made.customer.email == "ada@example.com"
    assert made.latest_invoice.payments.data[0].status == "paid"
    assert [found.id for found in client.v1.subscriptions.list({"customer": customer})] == [made.id]


@pytest.mark.parametrize(
    ("behavior", "status"), [("allow_incomplete", "incomplete"), ("default_incomplete", "incomplete")]
)
def test_a_declined_first_payment_leaves_the_subscription_incomplete(
    client: Client, price: Any, behavior: Any, status: str
) -> None:
    customer, _ = with_card(client, "pm_card_chargeCustomerFail")
    made = client.v1.subscriptions.create(
        {"customer": customer, "items": [{"price": price.id}], "payment_behavior": behavior}
    )
    assert made.status == status


def test_error_if_incomplete_leaves_no_subscription(client: Client, price: Any) -> None:
    customer, _ = with_card(client, "pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError):
        client.v1.subscriptions.create(
            {"customer": customer, "items": [{"price": price.id}], "payment_behavior": "error_if_incomplete"}
        )
    assert client.v1.subscriptions.list({"customer": customer, "status": "all"}).data == []


def test_a_subscription_without_a_payment_method_is_refused(client: Client, customer: Any, price: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source") as refused:
        client.v1.subscriptions.create({"customer": customer.id, "items": [{"price": price.id}]})
    assert refused.value.code == "resource_missing"


def test_a_subscription_is_changed_paused_and_cancelled(sb: Sandbox, client: Client) -> None:
    made = sb.subscribe(amount=1000)
    item = client.v1.subscriptions.retrieve(made.subscription)["items"].data[0].id
    client.v1.subscriptions.update(
        made.subscription, {"items": [{"id": item, "quantity": 4}], "proration_behavior": "none"}
    )
    paused = client.v1.subscriptions.update(made.subscription, {"pause_collection": {"behavior": "void"}})
    running = client.v1.subscriptions.update(made.subscription, {"pause_collection": ""})
    later = client.v1.subscriptions.update(made.subscription, {"cancel_at_period_end": True})
    assert paused.pause_collection is not None
    assert paused.pause_collection.behavior == "void"
    assert running.pause_collection is None
    assert later.cancel_at == later["items"].data[0].current_period_end
    assert later["items"].data[0].quantity == 4
    ended = client.v1.subscriptions.cancel(
        made.subscription, {"cancellation_details": {"comment": "bye", "feedback": "too_expensive"}}
    )
    assert (ended.status, ended.cancellation_details.reason) == ("canceled", "cancellation_requested")
    assert ended.cancellation_details.feedback == "too_expensive"
    assert client.v1.subscriptions.list({"status": "canceled"}).data[0].id == made.subscription


def test_the_last_item_of_a_subscription_cannot_be_removed(sb: Sandbox, client: Client) -> None:
    made = sb.subscribe()
    item = client.v1.subscriptions.retrieve(made.subscription)["items"].data[0].id
    with pytest.raises(stripe.InvalidRequestError, match="at least one"):
        client.v1.subscriptions.update(made.subscription, {"items": [{"id": item, "deleted": True}]})


def test_an_upgrade_in_mid_period_is_prorated_at_once_when_asked(sb: Sandbox, client: Client) -> None:
    made = sb.subscribe(amount=3100)  # January has 31 days
    item = client.v1.subscriptions.retrieve(made.subscription)["items"].data[0].id
    sb.advance(datetime(2026, 1, 11, tzinfo=UTC))  # 21 of 31 days are left
    client.v1.subscriptions.update(
        made.subscription, {"items": [{"id": item, "quantity": 2}], "proration_behavior": "always_invoice"}
    )
    invoice = client.v1.invoices.retrieve(sb.latest_invoice(made.subscription)["id"])
    assert (invoice.billing_reason, invoice.total, invoice.status) == ("subscription_update", 2100, "paid")
    assert [line.amount for line in invoice.lines.data] == [-2100, 4200]


def test_metered_usage_is_billed_at_the_renewal(sb: Sandbox, client: Client) -> None:
    customer, _ = with_card(client)
    price = client.v1.prices.create(
        {
            "currency": "usd",
            "product_data": {"name": "Calls"},
            "unit_amount": 3,
            "recurring": {"interval": "month", "usage_type": "metered"},
        }
    )
    made = client.v1.subscriptions.create({"customer": customer, "items": [{"price": price.id}]})
    sb.use(made.id, 700)
    sb.advance(timedelta(days=32))
    assert sb.latest_invoice(made.id)["amount_due"] == 2100


def test_a_coupon_lowers_the_invoices_it_covers(sb: Sandbox, client: Client, price: Any) -> None:
    customer, _ = with_card(client)
    coupon = client.v1.coupons.create({"percent_off": 20, "duration": "repeating", "duration_in_months": 1})
    made = client.v1.subscriptions.create(
        {"customer": customer, "items": [{"price": price.id}], "discounts": [{"coupon": coupon.id}]}
    )
    assert sb.latest_invoice(made.id)["amount_due"] == 1200
    sb.advance(timedelta(days=32))
    assert sb.latest_invoice(made.id)["amount_due"] == 1500


def test_a_manual_invoice_goes_from_draft_to_its_end(client: Client, customer: Any) -> None:
    client.v1.invoice_items.create({"customer": customer.id, "amount": 2000, "currency": "usd"})
    draft = client.v1.invoices.create({"customer": customer.id, "pending_invoice_items_behavior": "include"})
    assert (draft.status, draft.amount_due, draft.hosted_invoice_url) == ("draft", 2000, None)
    opened = client.v1.invoices.finalize_invoice(draft.id)
    assert (opened.status, bool(opened.number), opened.auto_advance) == ("open", True, False)
    given_up = client.v1.invoices.mark_uncollectible(draft.id)
    assert given_up.status_details.uncollectible.reason == "user_forgiven"
    assert client.v1.invoices.void_invoice(draft.id).status == "void"
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.invoices.finalize_invoice(draft.id)


def test_invoices_are_found_by_status_subscription_and_time(sb: Sandbox, client: Client) -> None:
    good, bad = sb.subscribe(), sb.subscribe("pm_card_chargeCustomerFail")
    then = sb.clock.stamp()
    sb.advance(timedelta(days=32))
    assert [found.customer for found in client.v1.invoices.list({"status": "open"})] == [bad.customer]
    assert len(client.v1.invoices.list({"subscription": good.subscription}).data) == 2
    assert len(client.v1.invoices.list({"created": {"gt": then}}).data) == 2
    assert len(client.v1.invoices.list({"created": {"lte": then}, "customer": good.customer}).data) == 1


def test_a_long_invoice_shows_its_first_lines_and_pages_the_rest(client: Client, customer: Any) -> None:
    for amount in range(1, 13):
        client.v1.invoice_items.create({"customer": customer.id, "amount": amount, "currency": "usd"})
    invoice = client.v1.invoices.create({"customer": customer.id, "pending_invoice_items_behavior": "include"})
    assert (len(invoice.lines.data), invoice.lines.has_more) == (10, True)
    rest = client.v1.invoices.line_items.list(invoice.id, {"starting_after": invoice.lines.data[-1].id})
    assert [line.amount for line in rest.data] == [11, 12]


def test_the_payment_of_an_invoice_is_found_four_levels_deep(sb: Sandbox, client: Client) -> None:
    made = sb.subscribe()
    expand = ["data.payment.payment_intent.latest_charge"]
    found = client.v1.invoice_payments.list({"invoice": made.invoice, "expand": expand}).data[0]
    intent = found.payment.payment_intent
    assert intent.latest_charge.outcome.network_status == "approved_by_network"
    by_intent: Any = {"payment": {"type": "payment_intent", "payment_intent": intent.id}}
    assert [link.invoice for link in client.v1.invoice_payments.list(by_intent)] == [made.invoice]
    with pytest.raises(stripe.InvalidRequestError, match="expand"):
        client.v1.invoice_payments.list({"expand": ["data.payment.payment_intent.latest_charge.customer"]})
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        client.v1.invoices.retrieve(made.invoice, {"expand": ["nonsense"]})


def test_a_charge_is_refunded_in_parts_and_no_further(sb: Sandbox, client: Client) -> None:
    made = sb.subscribe(amount=2000)
    charge = client.v1.charges.list({"customer": made.customer}).data[0]
    client.v1.refunds.create({"charge": charge.id, "amount": 500})
    client.v1.refunds.create({"payment_intent": charge.payment_intent})
    after = client.v1.charges.retrieve(charge.id, {"expand": ["refunds"]})
    assert (after.amount_refunded, after.refunded, len(after.refunds.data)) == (2000, True, 2)
    with pytest.raises(stripe.InvalidRequestError) as twice:
        client.v1.refunds.create({"charge": charge.id})
    assert twice.value.code == "charge_already_refunded"


def test_a_dispute_is_opened_and_closed_by_the_bank(sb: Sandbox, client: Client) -> None:
    made = sb.subscribe()
    charge = sb.bank.charged(made.invoice)[0].charge or ""
    dispute = sb.dispute(charge, "product_not_received")
    assert client.v1.charges.retrieve(charge).disputed
    assert client.v1.disputes.retrieve(dispute["id"]).status == "needs_response"
    sb.close_dispute(dispute["id"], "won")
    assert [found.status for found in client.v1.disputes.list({"charge": charge})] == ["won"]
    sb.fraud_warning(charge)
    assert sb.world.events.types()[-4:] == [
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.funds_reinstated",
        "radar.early_fraud_warning.created",
    ]


def test_a_setup_intent_attaches_the_card(client: Client, customer: Any) -> None:
    made = client.v1.setup_intents.create(
        {"customer": customer.id, "payment_method": "pm_card_visa", "confirm": True, "usage": "off_session"}
    )
    assert made.status == "succeeded"
    with pytest.raises(stripe.CardError) as failed:
        client.v1.setup_intents.create(
            {"customer": customer.id, "payment_method": "pm_card_chargeDeclinedExpiredCard", "confirm": True}
        )
    assert error_of(failed).setup_intent.status == "requires_payment_method"


def test_a_webhook_endpoint_is_made_with_a_secret_and_removed(client: Client) -> None:
    made = client.v1.webhook_endpoints.create(
        {"url": "http://127.0.0.1:9/x", "enabled_events": ["invoice.paid"], "api_version": "2024-06-20"}
    )
    assert made.secret is not None
    assert made.secret.startswith("whsec_")
    changed = client.v1.webhook_endpoints.update(made.id, {"enabled_events": ["*"], "disabled": True})
    assert (changed.enabled_events, changed.status) == (["*"], "disabled")
    assert "secret" not in client.v1.webhook_endpoints.retrieve(made.id)
    client.v1.webhook_endpoints.delete(made.id)
    assert client.v1.webhook_endpoints.list().data == []
