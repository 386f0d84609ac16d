"""What a subscription adds to the evidence of a case: whether it ended and by whom, is paused, and what it brings.

Part of `billing.evidence`, and order does not matter here either.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from billing.case import EARLIER, RecoveryCase
from billing.events.snapshots import Subscription
from billing.ledger.items import items_of
from billing.ledger.mrr import level
from billing.ledger.policy import LedgerPolicy
from billing.money import MONTHLY, Amount

# Since endive Stripe can pause a subscription because a payment failed: that is what recovery is for.
PAUSED_BY_FAILURE = frozenset({"first_payment_failure", "final_payment_failure"})


def earliest(known: datetime | None, at: datetime | None) -> datetime | None:
    return min(filter(None, (known, at)), default=None)


def subscription_says(case: RecoveryCase, subscription: Subscription, at: datetime) -> RecoveryCase:
    if subscription.ended_at or subscription.status in ("canceled", "incomplete_expired"):
        case = _ended(case, subscription, at)
    if subscription.status == "unpaid":
        case = with_unpaid(case, at)
    paused = paused_by_choice(subscription)
    if not case.pause_seen_at or (at, paused) > (case.pause_seen_at, case.paused_at is not None):
        case = replace(case, pause_seen_at=at, paused_at=at if paused else None)
    intervals = [item.interval for item in subscription.items if item.interval]
    case = replace(
        case,
        interval=min(filter(None, (case.interval, *intervals)), default=None),
        sold=tuple(sorted({*case.sold, *_sold(subscription)})),
        began_at=earliest(case.began_at, subscription.started_at or subscription.created),
    )
    mrr = _mrr(subscription, at)
    if mrr is None or (case.mrr and case.mrr_seen_at and (case.mrr_seen_at, case.mrr.minor) >= (at, mrr.minor)):
        return case
    return replace(case, mrr_seen_at=at, mrr=mrr)


def with_unpaid(case: RecoveryCase, at: datetime | None = None) -> RecoveryCase:
    """The case with the subscription unpaid `at`; counted anew from the failure, which may have moved back."""
    seen = {*case.unpaid_before, *filter(None, (case.unpaid_at, at))}
    since = {each for each in seen if each >= case.failed_at - EARLIER}
    return replace(case, unpaid_at=min(since, default=None), unpaid_before=tuple(sorted(seen - since)))


def _ended(case: RecoveryCase, subscription: Subscription, at: datetime) -> RecoveryCase:
    """Whose decision the end was (metrics.md D19): a dispute counts as the customer's, a mere API call does not."""
    ended = subscription.ended_at or subscription.canceled_at or at
    case = replace(case, ended_at=earliest(case.ended_at, ended))
    if subscription.cancel_reason == "payment_failed":
        return case
    customers = (
        subscription.cancel_reason == "payment_disputed"
        or bool(subscription.cancel_feedback)
        or subscription.cancel_at_period_end
    )
    return replace(
        case,
        end_told_by_customer=case.end_told_by_customer or customers,
        end_asked_at=earliest(case.end_asked_at, subscription.canceled_at),
    )


def paused_by_choice(subscription: Subscription) -> bool:
    """Whether somebody paused collection, as opposed to Stripe after a failed payment."""
    paused = subscription.status == "paused" and subscription.pause_reason not in PAUSED_BY_FAILURE
    return paused or subscription.pause_behavior is not None


def _sold(subscription: Subscription) -> set[str]:
    return {name for item in subscription.items for name in (item.price, item.product) if name}


def _mrr(subscription: Subscription, at: datetime) -> Amount | None:
    """What the subscription brings in a month, as far as its snapshot tells."""
    if not subscription.currency or not subscription.items:
        return None
    now = level(items_of(subscription.items), subscription.discounts, LedgerPolicy(), at)
    return Amount(now.total, subscription.currency + MONTHLY)
