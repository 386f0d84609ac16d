"""The preview of the next invoice tells what the renewal then bills, and leaves nothing behind."""

from __future__ import annotations

from datetime import timedelta

import pytest
import stripe

from sandbox import Sandbox
from tests.sandbox.conftest import Client, error_of


def test_the_preview_is_what_the_renewal_bills(sb: Sandbox, client: Client) -> None:
    sub = sb.subscribe(amount=2000, quantity=3)
    client.v1.invoice_items.create({"customer": sub.customer, "amount": 500, "currency": "usd"})
    off = client.v1.coupons.create({"percent_off": 50, "duration": "forever"})
    client.v1.subscriptions.update(sub.subscription, {"discounts": [{"coupon": off.id}]})
    invoices = len(client.v1.invoices.list().data)
    events = len(client.v1.events.list({"limit": 100}).data)
    shown = [client.v1.invoices.create_preview({"subscription": sub.subscription}) for _ in range(2)]
    assert [each.amount_due for each in shown] == [3250, 3250]
    assert len(client.v1.invoices.list().data) == invoices
    assert len(client.v1.events.list({"limit": 100}).data) == events
    sb.advance(timedelta(days=32))
    assert sb.latest_invoice(sub.subscription)["amount_due"] == 3250


def test_a_credit_is_shown_and_not_used_up(sb: Sandbox, client: Client) -> None:
    sub = sb.subscribe(amount=2000)
    sb.get(sub.customer)["balance"] = -1500
    for _ in range(2):
        assert client.v1.invoices.create_preview({"subscription": sub.subscription}).amount_due == 500
    assert sb.get(sub.customer)["balance"] == -1500


def test_what_ends_has_no_next_invoice(sb: Sandbox, client: Client) -> None:
    sub = sb.subscribe()
    client.v1.subscriptions.update(sub.subscription, {"cancel_at_period_end": True})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.invoices.create_preview({"subscription": sub.subscription})
    assert error_of(refused).code == "invoice_upcoming_none"


@pytest.mark.parametrize("named", ["sub_unknown", ""])
def test_an_unknown_subscription_is_refused(client: Client, named: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.invoices.create_preview({"subscription": named})
    assert refused.value.http_status in (400, 404)
