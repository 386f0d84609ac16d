"""Prices that a policy names by id or lookup key, as Stripe has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from billing.ending import Price
from worker.stripe_gateway import Gateway, StripeMissing

IDS = ("price_", "plan_")


def named(gateway: Gateway, names: Sequence[str]) -> list[Price]:
    """Those of the named prices that exist, in the order of the names. Raises StripeAway, StripeRefused."""
    return [price for name in names for price in find(gateway, name)]


def find(gateway: Gateway, name: str) -> list[Price]:
    """The price of this id, or the active one with this lookup key; nothing if there is none."""
    if not name.startswith(IDS):
        found, _ = gateway.page("/v1/prices", {"lookup_keys[]": name, "active": "true"})
        return [_price(each) for each in found]
    try:
        return [_price(gateway.fetch(f"/v1/prices/{name}"))]
    except StripeMissing:
        return []


def _price(found: Mapping[str, Any]) -> Price:
    recurring = found.get("recurring") or {}
    amount = found.get("unit_amount_decimal")
    return Price(
        id=str(found["id"]),
        currency=str(found.get("currency")),
        interval=recurring.get("interval"),
        interval_count=int(recurring.get("interval_count") or 1),
        active=bool(found.get("active")),
        unit_amount=str(amount) if amount is not None else None,
        licensed=recurring.get("usage_type") == "licensed",
    )
