"""The fixtures of the second Stripe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe

from tests.localstripe.company import GOOD_CARD, Call, card, pay_with
from tests.localstripe.server import Localstripe


@pytest.fixture
def localstripe(tmp_path: Path) -> Iterator[Localstripe]:
    """A running localstripe with an empty store."""
    with Localstripe(tmp_path) as running:
        yield running


@pytest.fixture
def call(localstripe: Localstripe) -> Call:
    """One request by the official client: `call("post", "/v1/customers", email=...)`."""
    client = stripe.StripeClient("sk_test_localstripe", base_addresses={"api": localstripe.url}, max_network_retries=0)

    def request(method: str, path: str, **params: Any) -> Any:
        return client.deserialize(client.raw_request(method, path, **params), api_mode="V1")

    return request


@pytest.fixture
def subscription(call: Call) -> Any:
    """An active monthly subscription of a customer with a good card."""
    customer = call("post", "/v1/customers", email="ada@example.com")
    product = call("post", "/v1/products", name="Reprieve", type="service")
    for plan, amount, interval in (("monthly", 2000, "month"), ("yearly", 20000, "year")):
        details = {"id": plan, "amount": amount, "currency": "usd", "interval": interval, "product": product.id}
        call("post", "/v1/plans", **details)
    pay_with(call, customer.id, card(GOOD_CARD))
    return call("post", "/v1/subscriptions", customer=customer.id, items=[{"plan": "monthly"}])
