"""Reads the neutral event format (metrics definitions, section 6) from JSON values.

Used for imported histories and worked cases; Stripe's own events come through `interpret`. Keys that nobody knows are
left alone; a value that cannot be read raises `NotNeutral` naming the field, because a figure made from half of a price
would look like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from billing.events.snapshots import Discount
from billing.ledger.items import Item
from billing.ledger.mrr import PER_MONTH
from billing.ledger.policy import LedgerPolicy
from billing.ledger.vocabulary import Cause, Kind, LedgerEvent

Json = Mapping[str, Any]  # decoded JSON: the shapes are checked field by field below
STATUSES = ("active", "trialing", "incomplete", "incomplete_expired", "paused")
BEHAVIORS = ("void", "mark_uncollectible", "keep_as_draft")
DURATIONS = ("forever", "repeating", "once")
STRIPES_WORDS = {"cancellation_requested": "customer", "payment_disputed": "dispute"}  # of a reason to end


class NotNeutral(ValueError):
    """A neutral event, item or discount lacks what makes it usable; the message names the field."""


def read_events(values: Iterable[Json], currency: str = "usd") -> list[LedgerEvent]:
    """Events in arrival order. Only `sub_start` names customer and currency; the rest inherit them by subscription."""
    listed = list(values)
    starts: dict[str, Json] = {}
    for value in listed:
        if value.get("type") == Kind.SUB_START:
            starts.setdefault(str(value.get("sub")), value)
    return [_event(value, starts.get(str(value.get("sub")), {}), currency) for value in listed]


def read_items(values: Iterable[Json]) -> tuple[Item, ...]:
    """In the order of their ids. Raises NotNeutral, also for two items with one id."""
    items = tuple(sorted((_item(value) for value in values), key=lambda item: item.id))
    if len({item.id for item in items}) < len(items):
        raise NotNeutral("two items have one id")
    return items


def read_discounts(values: Iterable[Json], at: datetime | None = None, item: str | None = None) -> tuple[Discount, ...]:
    """`at` is when a discount without a beginning of its own began; `item`, whose own discounts these are."""
    return tuple(_discount(value, at, item) for value in values)


def discounts_of(value: Json, at: datetime | None = None, currency: str | None = None) -> tuple[Discount, ...]:
    """All discounts of an event or row: those of its items, then its own. A fixed amount of money in another currency
    than the subscription's takes nothing off."""
    found: tuple[Discount, ...] = ()
    for item in value.get("items") or ():
        found += read_discounts(item.get("discounts") or (), at, str(item.get("id")))
    found += read_discounts(value.get("discounts") or (), at)
    return tuple(
        each for each in found if each.amount_off is None or each.currency in (None, currency or each.currency)
    )


def read_policy(value: Json, base: LedgerPolicy) -> LedgerPolicy:
    """The flags that the ledger has, over a base; a report's own flags (display, currency) are left to the report."""
    known = {field.name for field in fields(LedgerPolicy)}
    flags = {name: getattr(base, name) for name in known} | {k: v for k, v in value.items() if k in known}
    return LedgerPolicy(**flags)


def read_instant(text: str) -> datetime:
    """An aware UTC instant from ISO text; text without an offset is UTC."""
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _event(value: Json, start: Json, default: str) -> LedgerEvent:
    try:
        kind, at = Kind(value["type"]), read_instant(value["at"])
        if kind is Kind.NOISE:  # nothing of it is read, so nothing of it can be wrong
            who = str(value.get("sub") or value.get("cust") or "")
            return LedgerEvent(kind, at, str(value.get("cust") or start.get("cust") or who), who)
        subscription = str(value["sub"])
        currency = str(value.get("currency") or start.get("currency") or default).lower()
        reason = str(value.get("reason") or "")
        return LedgerEvent(
            kind=kind,
            at=at,
            customer=str(value.get("cust") or start.get("cust") or subscription),
            subscription=subscription,
            id=str(value.get("id") or ""),
            recorded_at=_instant(value.get("recorded_at")),
            currency=currency,
            items=read_items(value.get("items") or ()),
            discounts=discounts_of(value, at, currency),
            usage=tuple(
                sorted((str(item), _whole(minor, "usage")) for item, minor in (value.get("usage") or {}).items())
            ),
            status=_one_of(value.get("status") or "active", STATUSES, "status"),
            cause=Cause(STRIPES_WORDS.get(reason, reason) or Cause.CUSTOMER)
            if kind is Kind.SUB_CANCEL
            else Cause.CUSTOMER,
            behavior=_one_of(value.get("behavior") or "void", BEHAVIORS, "behavior") if kind is Kind.PAUSE else None,
            effective_at=_instant(value.get("effective_at") or value.get("cancel_at")),
            invoice=value.get("invoice"),
            amount=_whole(value.get("amount") or 0, "amount"),
            by_invoice=value.get("collection_method") == "send_invoice",
            due_at=_instant(value.get("due_at")),
            source=value.get("source"),
            evidence=str(value.get("evidence") or ""),
        )
    except KeyError as missing:
        raise NotNeutral(f"event without {missing}: {_short(value)}") from missing
    except (TypeError, ValueError, AttributeError) as wrong:
        raise NotNeutral(f"event {value.get('type')!r} of {value.get('sub')!r}: {wrong}") from wrong


def _item(value: Json) -> Item:
    try:
        transform = value.get("transform_quantity")
        interval, mode = value.get("interval"), value.get("tiers_mode")
        return Item(
            id=str(value["id"]),
            product=str(value.get("product") or value.get("price") or value["id"]),
            unit_amount=_decimal(_first(value, "unit_amount", "unit_amount_decimal"), "unit_amount"),
            quantity=_whole(1 if value.get("quantity") is None else value["quantity"], "quantity"),
            interval=None if interval is None else _one_of(interval, tuple(PER_MONTH), "interval"),
            interval_count=_whole(1 if value.get("interval_count") is None else value["interval_count"], "count", 1),
            price=value.get("price"),
            metered=_one_of(value.get("usage_type") or "licensed", ("licensed", "metered"), "usage_type") == "metered",
            tiers_mode=None if mode is None else _one_of(mode, ("graduated", "volume"), "tiers_mode"),
            tiers=_tiers(value.get("tiers") or ()),
            transform=_transform(transform) if transform else None,
            tax_inclusive_pct=_decimal(value.get("tax_inclusive_pct"), "tax_inclusive_pct"),
        )
    except KeyError as missing:
        raise NotNeutral(f"item without {missing}: {_short(value)}") from missing
    except NotNeutral as wrong:
        raise NotNeutral(f"item {value.get('id')!r}: {wrong}") from wrong


def _tiers(values: Iterable[Json]) -> tuple[tuple[int | None, str | None, str | None], ...]:
    """From the lowest to the one without an upper end, whichever way they were listed."""
    found = []
    for tier in values:
        ends = tier.get("up_to")
        upto = None if ends in (None, "inf") else _whole(ends, "up_to", 1)
        unit = _first(tier, "unit", "unit_amount", "unit_amount_decimal")
        flat = _first(tier, "flat", "flat_amount", "flat_amount_decimal")
        found.append((upto, _decimal(unit, "unit"), _decimal(flat, "flat")))
    return tuple(sorted(found, key=lambda tier: (tier[0] is None, tier[0] or 0)))


def _transform(value: Json) -> tuple[int, str]:
    return _whole(value["divide_by"], "divide_by", 1), _one_of(value.get("round") or "up", ("up", "down"), "round")


def _discount(value: Json, at: datetime | None, item: str | None) -> Discount:
    starts, ends = _instant(value.get("starts_at")), _instant(value.get("ends_at"))
    months = value.get("duration_in_months")
    since = starts or at
    if ends is None and months and since:
        ends = _later(since, _whole(months, "duration_in_months", 1))
    off = value.get("amount_off")
    return Discount(
        coupon=str(value.get("coupon") or ""),
        duration=_one_of(value.get("duration") or "forever", DURATIONS, "duration"),
        percent_off=_decimal(value.get("percent_off"), "percent_off"),
        amount_off=None if off is None else _whole(off, "amount_off"),
        currency=str(value["currency"]).lower() if value.get("currency") else None,
        starts=starts,
        ends=ends,
        item=value.get("item") or item,
        products=tuple(value.get("products") or ()),
    )


def _later(at: datetime, months: int) -> datetime:
    """So many months later, at the last day of a month that is too short."""
    index = at.year * 12 + at.month - 1 + months
    year, month = index // 12, index % 12 + 1
    following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    last = (following - datetime(year, month, 1, tzinfo=UTC)).days
    return at.replace(year=year, month=month, day=min(at.day, last))


def _first(value: Json, *names: str) -> object:
    return next((value[name] for name in names if value.get(name) is not None), None)


def _one_of(value: object, allowed: tuple[str, ...], name: str) -> str:
    if value not in allowed:
        raise NotNeutral(f"{name} is {value!r}, none of {', '.join(allowed)}")
    return str(value)


def _whole(value: object, name: str, least: int = 0) -> int:
    """A whole number, also as text; half a unit is not silently cut off."""
    number = _decimal(value, name)
    if number is None or Fraction(number).denominator != 1 or Fraction(number) < least:
        raise NotNeutral(f"{name} is {value!r}, no whole number from {least}")
    return int(Fraction(number))


def _decimal(value: object, name: str) -> str | None:
    if value is None:
        return None
    text = str(value)
    try:
        if isinstance(value, bool) or not text.isascii():
            raise ValueError
        Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise NotNeutral(f"{name} is {value!r}, no number") from None
    return text


def _instant(text: str | None) -> datetime | None:
    return read_instant(text) if text else None


def _short(value: Json) -> str:
    return str(dict(value))[:120]
