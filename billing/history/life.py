"""The life of a subscription, from its dates and from what its invoices billed.

Only changes are told: each instant at which it stood differently from before, with how it then stood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from billing.events.snapshots import Discount, Item, Subscription
from billing.history.billed import Billed, Change

FIRST_INVOICE = "subscription_create"
AT_ONCE = timedelta(minutes=1)


def life(seen: Subscription, billed: Sequence[Billed]) -> list[tuple[datetime, Subscription]]:
    """How the subscription stood at each instant at which it changed, as far as its invoices and dates tell."""
    begun = seen.created or seen.started_at
    if begun is None:
        return []
    told = sorted(billed, key=lambda each: (each.at, each.invoice.id))
    terms = _terms(seen, told, begun)
    end = seen.ended_at
    if seen.status in ("incomplete", "incomplete_expired"):
        never = _then(seen, begun, "incomplete", terms[0][1], told)
        return [(begun, never)] + ([(end, seen)] if end else [])
    paid = _first_paid(told, begun)
    moments = {begun, *(at for at, _ in terms)} | ({paid} if paid else set())
    if seen.trial_end and seen.trial_end > begun and seen.status not in ("trialing", "paused"):
        moments.add(seen.trial_end)
    moments |= {each.starts for each in _discounts(seen, told) if each.starts and each.starts > begun}
    scheduled = _scheduled(seen)
    if scheduled:
        moments.add(scheduled[0])
    stood: list[tuple[datetime, Subscription]] = []
    for at in sorted(moment for moment in moments if begun <= moment and (end is None or moment < end)):
        items = next(items for since, items in reversed(terms) if since <= at)
        trial = seen.trial_end is not None and begun <= at < seen.trial_end
        status = "trialing" if trial else "incomplete" if paid and at < paid else "active"
        then = _then(seen, at, status, items, told)
        if scheduled and at >= scheduled[0]:
            then = replace(then, cancel_at=scheduled[1])
        if not stood or stood[-1][1] != then:
            stood.append((at, then))
    if end is not None:
        stood.append((end, seen))
    return stood


def _then(
    seen: Subscription, at: datetime, status: str, items: tuple[Item, ...], told: Sequence[Billed]
) -> Subscription:
    """The subscription with what may have come later taken away."""
    return replace(
        seen,
        status=status,
        items=items,
        items_complete=True,
        discounts=tuple(
            each
            for each in _discounts(seen, told)
            if (each.starts is None or each.starts <= at) and (each.ends is None or at < each.ends)
        ),
        discounts_complete=True,
        cancel_at_period_end=False,
        cancel_at=None,
        canceled_at=None,
        ended_at=None,
        cancel_reason=None,
        cancel_feedback=None,
        pause_behavior=None,
        pause_resumes_at=None,
        pause_reason=None,
        period_end=None,
        latest_invoice=None,
    )


def _discounts(seen: Subscription, told: Sequence[Billed]) -> tuple[Discount, ...]:
    """Those it has now, and those its invoices name."""
    known = {(each.coupon, each.starts, each.item): each for bill in told for each in bill.discounts}
    known |= {(each.coupon, each.starts, each.item): each for each in seen.discounts}
    return tuple(known[key] for key in sorted(known, key=repr))


def _first_paid(told: Sequence[Billed], begun: datetime) -> datetime | None:
    """When the first invoice was paid, if the subscription waited for that."""
    first = next((each.invoice for each in told if each.invoice.billing_reason == FIRST_INVOICE), None)
    if first is None or first.paid_at is None or first.collection_method == "send_invoice" or not first.due.minor:
        return None
    return first.paid_at if first.paid_at > begun + AT_ONCE else None


def _scheduled(seen: Subscription) -> tuple[datetime, datetime] | None:
    """(when the end was decided, when it was to be), if it was decided ahead."""
    decided, end = seen.canceled_at, seen.ended_at or seen.cancel_at
    if end is None and seen.cancel_at_period_end:
        end = seen.period_end
    if decided is None or end is None or seen.cancel_reason == "payment_failed" or decided + AT_ONCE > end:
        return None
    return decided, end


def _terms(seen: Subscription, told: Sequence[Billed], begun: datetime) -> list[tuple[datetime, tuple[Item, ...]]]:
    """The item list from each instant on; the first of them is taken to hold from the beginning."""
    whole = {each.at: each.items for each in told if each.items}
    changes = {change.at: change for each in told for change in each.changes if change.at not in whole}
    terms: list[tuple[datetime, tuple[Item, ...]]] = []
    names = {item.price: item.id for each in (*(bill.items for bill in told), seen.items) for item in each}
    now: tuple[Item, ...] = ()
    for at in sorted({*whole, *changes}):
        now = _ordered(whole[at]) if at in whole else _changed(now, changes[at], names)
        if now and (not terms or terms[-1][1] != now):
            terms.append((max(at, begun), now))
    if not terms:
        return [(begun, tuple(replace(item, period_end=None) for item in seen.items))]
    return [(begun, terms[0][1]), *terms[1:]]


def _ordered(items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(sorted(items, key=lambda item: item.id))


def _changed(now: tuple[Item, ...], change: Change, names: Mapping[str | None, str]) -> tuple[Item, ...]:
    """A credited item takes on what was billed instead of it; billed alone is new, credited alone is gone."""
    if not now:
        return now
    items = {item.id: item for item in now}
    by_price = {item.price: item.id for item in now}
    given_back = [by_price[item.price] for item in change.credited if item.price in by_price]
    billed = list(change.billed)
    for id in given_back:
        same = next((item for item in billed if item.price == items[id].price), None)
        new = same or (billed[0] if billed else None)
        if new is None:
            del items[id]
            continue
        billed.remove(new)
        items[id] = replace(new, id=id)
    for item in billed:
        id = names.get(item.price, item.id)
        items[id] = replace(item, id=id)
    return _ordered(items.values())
