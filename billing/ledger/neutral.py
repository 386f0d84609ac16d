"""Reads the neutral event format (metrics definitions, section 6) from JSON values.

Used for imported histories and worked cases; Stripe's own events come through `interpret`. A value that cannot be
read raises `NotNeutral` naming the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from billing.events.snapshots import Discount
from billing.ledger.items import Item
from billing.ledger.policy import LedgerPolicy
from billing.ledger.vocabulary import Cause, Kind, LedgerEvent

Json = Mapping[str, Any]  # decoded JSON: the shapes are checked field by field below


class NotNeutral(ValueError):
    """A neutral event, item or discount lacks what makes it usable; the message names the field."""


def read_events(values: Iterable[Json], currency: str = "usd") -> list[LedgerEvent]:
    """Events in arrival order. Only `sub_start` names customer and currency; the rest inherit them by subscription."""
    listed = list(values)
    starts = {str(value.get("sub")): value for value in listed if value.get("type") == Kind.SUB_START}
    return [_event(value, starts.get(str(value.get("sub")), {}), currency) for value in listed]


def read_items(values: Iterable[Json]) -> tuple[Item, ...]:
    return tuple(sorted((_item(value) for value in values), key=lambda item: item.id))


def read_discounts(values: Iterable[Json]) -> tuple[Discount, ...]:
    return tuple(_discount(value) for value in values)


def read_policy(value: Json, base: LedgerPolicy) -> LedgerPolicy:
    """The flags that the ledger has, over a base; a report's own flags (display, currency) are left to the report."""
    known = {field.name for field in fields(LedgerPolicy)}
    flags = {name: getattr(base, name) for name in known} | {k: v for k, v in value.items() if k in known}
    return LedgerPolicy(**flags)


def read_instant(text: str) -> datetime:
    """An aware UTC instant from ISO text; text without an offset is UTC."""
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _event(value: Json, start: Json, currency: str) -> LedgerEvent:
    try:
        kind, subscription = Kind(value["type"]), str(value["sub"])
        return LedgerEvent(
            kind=kind,
            at=read_instant(value["at"]),
            customer=str(value.get("cust") or start.get("cust") or subscription),
            subscription=subscription,
            id=str(value.get("id") or ""),
            recorded_at=_instant(value.get("recorded_at")),
            currency=str(value.get("currency") or start.get("currency") or currency).lower(),
            items=read_items(value.get("items") or ()),
            discounts=read_discounts(value.get("discounts") or ()),
            usage=tuple(sorted((str(item), int(minor)) for item, minor in (value.get("usage") or {}).items())),
            status=str(value.get("status") or "active"),
            cause=Cause(value.get("reason") or Cause.CUSTOMER) if kind is Kind.SUB_CANCEL else Cause.CUSTOMER,
            behavior=value.get("behavior"),
            effective_at=_instant(value.get("effective_at")),
            invoice=value.get("invoice"),
            amount=int(value.get("amount") or 0),
            by_invoice=value.get("collection_method") == "send_invoice",
            due_at=_instant(value.get("due_at")),
            source=value.get("source"),
            evidence=str(value.get("evidence") or ""),
        )
    except KeyError as missing:
        raise NotNeutral(f"event without {missing}") from missing
    except ValueError as wrong:
        raise NotNeutral(f"event of {value.get('sub')}: {wrong}") from wrong


def _item(value: Json) -> Item:
    try:
        transform = value.get("transform_quantity")
        return Item(
            id=str(value["id"]),
            product=str(value.get("product") or value.get("price") or value["id"]),
            unit_amount=_decimal(value.get("unit_amount")),
            quantity=int(value.get("quantity", 1)),
            interval=value.get("interval"),
            interval_count=int(value.get("interval_count") or 1),
            price=value.get("price"),
            metered=value.get("usage_type") == "metered",
            tiers_mode=value.get("tiers_mode"),
            tiers=tuple(
                (tier.get("up_to"), _decimal(tier.get("unit")), _decimal(tier.get("flat")))
                for tier in value.get("tiers") or ()
            ),
            transform=(int(transform["divide_by"]), str(transform.get("round", "up"))) if transform else None,
            tax_inclusive_pct=_decimal(value.get("tax_inclusive_pct")),
        )
    except KeyError as missing:
        raise NotNeutral(f"item without {missing}") from missing


def _discount(value: Json) -> Discount:
    return Discount(
        coupon=str(value.get("coupon") or ""),
        duration=str(value.get("duration") or "forever"),
        percent_off=_decimal(value.get("percent_off")),
        amount_off=value.get("amount_off"),
        currency=value.get("currency"),
        starts=_instant(value.get("starts_at")),
        ends=_instant(value.get("ends_at")),
        item=value.get("item"),
        products=tuple(value.get("products") or ()),
    )


def _instant(text: str | None) -> datetime | None:
    return read_instant(text) if text else None


def _decimal(value: object) -> str | None:
    return None if value is None else str(value)
