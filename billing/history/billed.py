"""What an invoice says of its subscription: the items it billed, and the prorations that date a change.

The list that Stripe shows of an invoice's lines names prices without their intervals; a price that cannot be read is
worked out from the period it was billed for. Replaceable by reading each subscription's schedule, where one was kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from billing.events import stripe_objects as read
from billing.events.reading import Reader
from billing.events.snapshots import Discount, Invoice, Item

JSON = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """A proration: from `at` on, what was credited was replaced by what was billed for the rest of the period."""

    at: datetime
    credited: tuple[Item, ...]
    billed: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Billed:
    """What one invoice says about its subscription. `items` is the whole list from `at` on, empty if not told."""

    invoice: Invoice
    at: datetime
    items: tuple[Item, ...] = ()
    changes: tuple[Change, ...] = ()
    discounts: tuple[Discount, ...] = ()


def billed_by(thing: JSON, prices: Mapping[str, Item]) -> Billed | None:
    """What an invoice of a subscription billed; None for any other, and for drafts."""
    it = Reader(dict(thing))
    invoice = read.invoice(it)
    begun = invoice.finalized_at or invoice.created
    if invoice.subscription is None or begun is None or invoice.status == "draft":
        return None
    whole: dict[str, Item] = {}
    starts: list[datetime] = []
    changes: dict[datetime, tuple[list[Item], list[Item]]] = {}
    for line in it.each("lines"):
        item, start = _line(line, prices), line.time("period.start")
        if item is None or start is None or not _of(line, invoice.subscription):
            continue
        if line.flag(*(f"{place}.proration" for place in PLACES), "proration"):
            credit = str(line.get("amount")).startswith("-")
            changes.setdefault(start, ([], []))[0 if credit else 1].append(item)
        elif line.ref(f"{PLACES[0]}.subscription_item", "subscription_item"):
            whole[item.id] = item
            starts += [start] if item.usage_type == "licensed" else []
    complete = not it.flag("lines.has_more")
    return Billed(
        invoice=replace(invoice, customer_email=None, customer_name=None, hosted_invoice_url=None),
        at=max(starts, default=invoice.created or begun),
        items=tuple(whole[id] for id in sorted(whole)) if complete else (),
        changes=tuple(Change(at, tuple(old), tuple(new)) for at, (old, new) in sorted(changes.items())),
        discounts=tuple(terms for each in it.each("discounts") if (terms := read.discount(each))),
    )


PLACES = ("parent.subscription_item_details", "parent.invoice_item_details")


def prices_in(things: Iterable[JSON]) -> set[str]:
    """The prices that these invoices or subscriptions name."""
    found = set()
    for thing in things:
        it = Reader(dict(thing))
        for line in it.each("lines"):
            found |= {price} if (price := _price_of(line)) else set()
        for item in it.each("items"):
            found |= {price} if (price := item.ref("price")) and item.get("price.tiers_mode") else set()
    return found


def terms_of(price: JSON) -> Item:
    """A price as the item of one unit, to be looked up by its id."""
    it = Reader(dict(price))
    return read.item(Reader({"id": it.need("id"), "price": dict(price), "quantity": 1}))


def _of(line: Reader, subscription: str) -> bool:
    told = line.ref(*(f"{place}.subscription" for place in PLACES), "subscription")
    return told in (None, subscription)


def _price_of(line: Reader) -> str | None:
    return line.ref("pricing.price_details.price", "price", "plan")


def _line(line: Reader, prices: Mapping[str, Item]) -> Item | None:
    """The item that a line bills; terms from its price, or worked out from its period when the price is not known."""
    price = _price_of(line)
    if price is None:
        return None
    id = line.ref(f"{PLACES[0]}.subscription_item", "subscription_item") or price
    quantity = line.count("quantity") or 0
    if terms := prices.get(price):
        return replace(terms, id=id, quantity=0 if terms.usage_type == "metered" else quantity)
    start, end = line.time("period.start"), line.time("period.end")
    if start is None or end is None:
        return None
    interval, number = _interval(end - start)
    return Item(
        id=id,
        price=price,
        product=line.ref("pricing.price_details.product", "price.product"),
        unit_amount=line.decimal("pricing.unit_amount_decimal", "price.unit_amount_decimal"),
        quantity=quantity,
        interval=interval,
        interval_count=number,
    )


def _interval(length: timedelta) -> tuple[str, int]:
    """The interval that a billed period most likely stands for."""
    days = round(length / timedelta(days=1))
    if days >= 360 and abs(days - 365.25 * (years := round(days / 365.25))) <= 2:
        return "year", years
    if days >= 28 and abs(days - 30.44 * (months := round(days / 30.44))) <= 3:
        return "month", months
    return ("week", days // 7) if days and days % 7 == 0 else ("day", max(1, days))


def in_full(item: Item, prices: Mapping[str, Item]) -> Item:
    """Stripe leaves tiers out of a subscription; the price has them."""
    terms = prices.get(item.price or "")
    return replace(item, tiers=terms.tiers) if item.tiers_mode and not item.tiers and terms else item
