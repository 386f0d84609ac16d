"""A small company at localstripe, through the official client: its customer, its plans, its troubles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.localstripe.server import Localstripe

GOOD_CARD = "4242424242424242"
AUTHENTICATE_THEN_DECLINE = "4000008260003178"
SEPA_THAT_FAILS = "DE62370400440532013001"

Call = Callable[..., Any]
"""One request by the official client: `call("post", "/v1/customers", email=...)`."""


def card(number: str) -> dict[str, Any]:
    return {"type": "card", "card": {"number": number, "exp_month": 12, "exp_year": 2040, "cvc": "123"}}


def pay_with(call: Call, customer: str, method: dict[str, Any]) -> None:
    made = call("post", "/v1/payment_methods", **method)
    call("post", f"/v1/payment_methods/{made.id}/attach", customer=customer)
    call("post", f"/v1/customers/{customer}", invoice_settings={"default_payment_method": made.id})


def fail_to_upgrade(call: Call, localstripe: Localstripe, subscription: Any) -> str:
    """The customer moves to the yearly plan with a card that is declined: the id of the open invoice."""
    pay_with(call, subscription.customer, card(AUTHENTICATE_THEN_DECLINE))
    item = subscription["items"].data[0].id
    call("post", f"/v1/subscriptions/{subscription.id}", items=[{"id": item, "plan": "yearly"}])
    invoice = next(i for i in call("get", "/v1/invoices", customer=subscription.customer).data if i.status == "open")
    assert localstripe.authenticate(invoice.payment_intent, success=True) == 402
    return str(invoice.id)
