"""What a subscription is made of, as the ledger compares it.

An `Item` leaves out what changes at every renewal (the period), so that equal items mean equal revenue. Replaceable
by any value with the same fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from billing.events import snapshots


@dataclass(frozen=True, slots=True)
class Item:
    """One recurring price at a quantity. Amounts are decimal strings in minor units of the subscription's currency."""

    id: str
    product: str
    unit_amount: str | None  # None when the price is tiered
    quantity: int
    interval: str | None  # day, week, month, quarter, year; None does not recur
    interval_count: int = 1
    price: str | None = None
    metered: bool = False
    tiers_mode: str | None = None  # graduated or volume
    tiers: tuple[tuple[int | None, str | None, str | None], ...] = ()  # (up to, per unit, flat)
    transform: tuple[int, str] | None = None  # (divide by, round up or down)
    tax_inclusive_pct: str | None = None  # tax contained in the price, in percent


def items_of(seen: Iterable[snapshots.Item]) -> tuple[Item, ...]:
    """The ledger's items of a Stripe subscription, in a fixed order."""
    return tuple(sorted((_item(item) for item in seen), key=lambda item: item.id))


def _item(seen: snapshots.Item) -> Item:
    return Item(
        id=seen.id,
        product=seen.product or seen.price or seen.id,
        unit_amount=seen.unit_amount,
        quantity=seen.quantity,
        interval=seen.interval,
        interval_count=seen.interval_count,
        price=seen.price,
        metered=seen.usage_type == "metered",
        tiers_mode=seen.tiers_mode,
        tiers=seen.tiers,
        transform=seen.transform,
        tax_inclusive_pct=seen.tax_inclusive_pct,
    )
