"""Monthly recurring revenue of one subscription: exact fractions, one rounding, cents to items by largest remainder.

Rules D1-D7 and D13 of the metrics definitions. Pure and total: an item that cannot recur or cannot be priced is worth
zero. Replaceable by another normaliser that keeps the invariants (items sum to the subscription, equal schedules are
equal).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import lru_cache

from billing.events.snapshots import Discount
from billing.ledger.items import Item
from billing.ledger.policy import INVOICES, LedgerPolicy

PER_MONTH = {
    "day": Fraction(365, 12),
    "week": Fraction(52, 12),
    "month": Fraction(1),
    "quarter": Fraction(1, 3),
    "year": Fraction(1, 12),
}
ZERO = Fraction(0)
Usage = Mapping[str, tuple[int, ...]]  # by metered item: what its last invoices charged, the newest last
NO_USAGE: Usage = {}


@dataclass(frozen=True, slots=True)
class Priced:
    """An item with its share of the subscription's level, in whole minor units a month."""

    item: Item
    minor: int


@dataclass(frozen=True, slots=True)
class Level:
    """The monthly value of one subscription in whole minor units; the items always sum to the total."""

    total: int
    items: tuple[Priced, ...] = ()


NOTHING = Level(0)


def level(
    items: Sequence[Item],
    discounts: Sequence[Discount],
    policy: LedgerPolicy,
    at: datetime,
    usage: Usage = NO_USAGE,
) -> Level:
    """What these items are worth a month at an instant, after the discounts that count under the policy."""
    exact = {item.id: _metered(item, usage, policy) if item.metered else monthly(item) for item in items}
    counted = [discount for discount in discounts if counts(discount, policy) and running(discount, at)]
    for discount in sorted(counted, key=lambda each: each.item is None):  # items' own discounts come first
        _subtract(discount, items, exact)
    for item in items:
        if item.tax_inclusive_pct:
            exact[item.id] /= 1 + Fraction(item.tax_inclusive_pct) / 100
    shares = largest_remainder(exact)
    return Level(sum(shares.values()), tuple(Priced(item, shares[item.id]) for item in items))


def counts(discount: Discount, policy: LedgerPolicy) -> bool:
    """Whether a discount of this duration lowers what recurs (D5)."""
    flags = {
        "forever": policy.coupon_forever,
        "repeating": policy.coupon_repeating,
        "once": policy.coupon_once,
    }
    return flags.get(discount.duration, True)


def running(discount: Discount, at: datetime) -> bool:
    """Whether the discount has begun and has not ended; its end is exclusive."""
    begun = discount.starts is None or discount.starts <= at
    return begun and (discount.ends is None or at < discount.ends)


def monthly(item: Item) -> Fraction:
    """The undiscounted monthly value of an item, exactly; what is billed by usage has none of its own."""
    if item.metered or item.interval is None or item.quantity <= 0:
        return ZERO
    return _monthly(
        item.unit_amount,
        item.quantity,
        item.interval,
        item.interval_count,
        item.tiers_mode,
        item.tiers,
        item.transform,
    )


def _metered(item: Item, usage: Usage, policy: LedgerPolicy) -> Fraction:
    """The mean of the last invoices that the policy counts, a month (D6)."""
    counted = INVOICES[policy.metered]
    charged = usage.get(item.id, ())[-counted:] if counted else ()
    return Fraction(sum(charged), len(charged)) * factor(item.interval, item.interval_count) if charged else ZERO


def factor(interval: str | None, count: int) -> Fraction:
    """How many billing periods a month holds. Seven days are one week, so equal schedules are equal (D2)."""
    if interval is None or interval not in PER_MONTH or count <= 0:
        return ZERO
    if interval == "day" and count % 7 == 0:
        interval, count = "week", count // 7
    return PER_MONTH[interval] / count


@lru_cache(maxsize=16_384)  # a price list is short: most items of a company repeat a few prices
def _monthly(
    unit_amount: str | None,
    quantity: int,
    interval: str,
    count: int,
    tiers_mode: str | None,
    tiers: tuple[tuple[int | None, str | None, str | None], ...],
    transform: tuple[int, str] | None,
) -> Fraction:
    if transform is not None and transform[0] > 0:
        divide_by, direction = transform
        quantity = -(-quantity // divide_by) if direction == "up" else quantity // divide_by
    if unit_amount is not None:
        charge = Fraction(unit_amount) * quantity
    elif tiers_mode == "volume":
        charge = _volume(tiers, quantity)
    else:
        charge = _graduated(tiers, quantity)
    return charge * factor(interval, count)


def _graduated(tiers: Sequence[tuple[int | None, str | None, str | None]], quantity: int) -> Fraction:
    """Each unit at the price of the tier it falls into; a tier's flat fee is due once it is reached."""
    charge, below = ZERO, 0
    for up_to, unit, flat in tiers:
        if quantity <= below:
            break
        within = (quantity if up_to is None else min(quantity, up_to)) - below
        charge += Fraction(unit or 0) * within + Fraction(flat or 0)
        below += within
    return charge


def _volume(tiers: Sequence[tuple[int | None, str | None, str | None]], quantity: int) -> Fraction:
    """Every unit at the price of the one tier that the whole quantity falls into."""
    for up_to, unit, flat in tiers:
        if up_to is None or quantity <= up_to:
            return Fraction(unit or 0) * quantity + Fraction(flat or 0)
    return ZERO


def _subtract(discount: Discount, items: Sequence[Item], exact: dict[str, Fraction]) -> None:
    """Lower the items a discount applies to, in place; never below zero."""
    touched = [
        item
        for item in items
        if (discount.item is None or discount.item == item.id)
        and (not discount.products or item.product in discount.products)
    ]
    if discount.percent_off is not None:
        keep = max(ZERO, 1 - Fraction(discount.percent_off) / 100)
        for item in touched:
            exact[item.id] *= keep
    elif discount.amount_off is not None:
        _subtract_fixed(Fraction(discount.amount_off), touched, exact)


def _subtract_fixed(amount: Fraction, touched: Sequence[Item], exact: dict[str, Fraction]) -> None:
    """A fixed amount comes off each invoice: once per billing rhythm, spread over that rhythm's items by value."""
    rhythms: dict[Fraction, list[Item]] = defaultdict(list)
    for item in touched:
        rhythms[factor(item.interval, item.interval_count)].append(item)
    for per_month, together in rhythms.items():
        worth = sum((exact[item.id] for item in together), ZERO)
        if worth > 0:
            keep = max(ZERO, 1 - amount * per_month / worth)
            for item in together:
                exact[item.id] *= keep


def half_up(value: Fraction) -> int:
    """The nearest whole number, halves away from zero."""
    if value < 0:
        return -half_up(-value)
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def largest_remainder(exact: dict[str, Fraction]) -> dict[str, int]:
    """Whole numbers that sum to the rounded total, each less than one away from its exact share; ties by id."""
    shares = {key: value.numerator // value.denominator for key, value in exact.items()}
    missing = half_up(sum(exact.values(), ZERO)) - sum(shares.values())
    if missing:
        by_remainder = sorted(exact, key=lambda key: (shares[key] - exact[key], key))
        for key in by_remainder[:missing]:
            shares[key] += 1
    return shares
