"""What a price costs for a quantity, when a period ends and what a coupon takes off: exact, in minor units."""

from __future__ import annotations

import calendar
from datetime import datetime, timedelta
from fractions import Fraction

from sandbox.clock import from_stamp
from sandbox.store import Obj


def round_half_up(value: Fraction) -> int:
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def amount_of(price: Obj, quantity: int) -> int:
    """Minor units of `quantity` of a price: per unit, packages, graduated or volume tiers."""
    if package := price["transform_quantity"]:
        quantity, rest = divmod(quantity, package["divide_by"])
        quantity += 1 if rest and package["round"] == "up" else 0
    if price["billing_scheme"] == "per_unit":
        return round_half_up(Fraction(price["unit_amount_decimal"]) * quantity)
    total, below = Fraction(0), 0
    for tier in price["_tiers"]:
        top = tier["up_to"] if tier["up_to"] is not None else quantity
        if price["tiers_mode"] == "volume":
            if quantity <= top:
                return round_half_up(_tier(tier, quantity))
        elif quantity > below:
            total += _tier(tier, min(quantity, top) - below)
            below = top
    return round_half_up(total)


def _tier(tier: Obj, quantity: int) -> Fraction:
    return Fraction(tier["unit_amount_decimal"] or 0) * quantity + (tier["flat_amount"] or 0)


def add_interval(anchor: datetime, interval: str, count: int) -> datetime:
    """`count` intervals after `anchor`; the 31st becomes the last day of a shorter month."""
    if interval in ("day", "week"):
        return anchor + timedelta(days=count * (7 if interval == "week" else 1))
    months = anchor.month - 1 + count * (12 if interval == "year" else 1)
    year, month = anchor.year + months // 12, months % 12 + 1
    return anchor.replace(year=year, month=month, day=min(anchor.day, calendar.monthrange(year, month)[1]))


def period_end(anchor: int, start: int, recurring: Obj) -> int:
    """The end of the period that begins at `start`, counted from the billing anchor so that days do not drift."""
    first, interval, count = from_stamp(anchor), recurring["interval"], recurring["interval_count"]
    days = {"day": 1, "week": 7, "month": 28, "year": 365}[interval] * count
    steps = max(0, (start - anchor) // (days * 86_400) - 2 if start > anchor else 0)
    steps = steps * 28 // 31 if interval == "month" else steps
    while True:
        end = int(add_interval(first, interval, steps * count).timestamp())
        if end > start:
            return end
        steps += 1


def taken_off(coupon: Obj, amount: int, currency: str) -> int:
    if coupon["percent_off"] is not None:
        return min(amount, round_half_up(Fraction(str(coupon["percent_off"])) * amount / 100))
    return min(amount, coupon["amount_off"] or 0) if coupon["currency"] == currency else 0
