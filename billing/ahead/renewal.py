"""The next payment of a subscription that will be asked for by itself, as far as it is known before its invoice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

from billing.events.snapshots import PaymentMethod, Subscription
from billing.ledger.items import Item, items_of
from billing.ledger.mrr import ZERO, factor, level, monthly
from billing.ledger.policy import DEFAULT
from billing.money import MONTHLY, Amount

RENEWING = frozenset({"active", "trialing"})


@dataclass(frozen=True, slots=True)
class Renewal:
    """`amount` is what the items of this period cost without tax, credit and usage; None when usage alone decides."""

    subscription: str
    customer: str
    at: datetime
    months: int  # of the period, whole ones; 0 for a shorter one
    amount: Amount | None = None
    mrr: Amount | None = None
    trial: bool = False
    own_method: str | None = None  # of the subscription; without it the customer's default pays


@dataclass(frozen=True, slots=True)
class Standing:
    """A renewal with what would pay it. `known` is False while nobody told what the customer's default is."""

    renewal: Renewal
    method: PaymentMethod | None
    known: bool = True


def renewal_of(seen: Subscription, at: datetime) -> Renewal | None:
    """The renewal that follows from this snapshot of `at`; None when nothing will be charged by itself."""
    end, customer = seen.period_end, seen.customer
    if end is None or customer is None or seen.status not in RENEWING or seen.collection_method == "send_invoice":
        return None
    if seen.cancel_at_period_end or seen.pause_behavior or (seen.cancel_at and seen.cancel_at <= end):
        return None
    ending = items_of(item for item in seen.items if item.period_end in (None, end))
    fixed = [item for item in ending if not item.metered and _recurs(item)]
    currency = seen.currency or "usd"
    exact = sum((monthly(item) / factor(item.interval, item.interval_count) for item in fixed), ZERO)
    if seen.discounts:  # `level` knows them by the month: what they leave of the month they leave of the period
        plain, worth = level(fixed, (), DEFAULT, end).total, level(fixed, seen.discounts, DEFAULT, end).total
        exact = exact * Fraction(worth, plain) if plain else ZERO
    everything = level(items_of(seen.items), seen.discounts, DEFAULT, at).total
    return Renewal(
        subscription=seen.id,
        customer=customer,
        at=end,
        months=max((_months(item.interval, item.interval_count) for item in fixed), default=0),
        amount=Amount(round(exact), currency) if fixed else None,
        mrr=Amount(everything, currency + MONTHLY),
        trial=seen.status == "trialing",
        own_method=seen.default_payment_method,
    )


def _recurs(item: Item) -> bool:
    return factor(item.interval, item.interval_count) != ZERO


def _months(interval: str | None, count: int) -> int:
    return {"month": 1, "quarter": 3, "year": 12}.get(interval or "", 0) * count


def good_until(method: PaymentMethod | None) -> datetime | None:
    """The first instant at which the card is no longer good: a card is good until the end of its month."""
    card = method.card if method else None
    if card is None or not card.exp_year or not card.exp_month or not 1 <= card.exp_month <= 12:
        return None
    if not 2000 <= card.exp_year <= 2099:
        return None
    year, month = (card.exp_year + 1, 1) if card.exp_month == 12 else (card.exp_year, card.exp_month + 1)
    return datetime(year, month, 1, tzinfo=UTC)
