"""What the network rules say of a case by itself, before its card's whole budget is asked.

A case knows what the bank answered to its own invoice; other invoices of the same card are known to the worker's tables
alone (`worker/cards.py`), which are asked once more, under a lock, before every payment request.
"""

from __future__ import annotations

from datetime import datetime

from billing.case import RecoveryCase
from billing.events.occurrences import Answer
from billing.events.snapshots import Decline
from billing.policy import Policy
from billing.retry.rules import ALLOWED, Charging, Declined, Ruling, ruled

REFUSED = (Answer.DECLINED, Answer.NEEDS_ACTION)


def case_ruling(case: RecoveryCase, policy: Policy, now: datetime) -> Ruling:
    """May the payment method of this case be charged at `now`, as far as the case itself tells?"""
    if case.brand is None:
        return ALLOWED  # which network's rules hold is learnt from the look that precedes every request
    charging = Charging(case.amount, case.brand, invoice=case.invoice, changed_at=case.method_changed_at)
    return ruled(policy.rules, charging, declines_of(case), now)


def declines_of(case: RecoveryCase) -> list[Declined]:
    """The declined charges that the case can tell apart; what the bank said is known of the newest."""
    newest = case.decline_at or case.last_failed_at
    earlier = {case.failed_at} | {attempt.at for attempt in case.attempts if attempt.answer in REFUSED}
    said = case.decline or Decline()
    return [
        *(Declined(at, case.amount, Decline(), case.invoice) for at in sorted(earlier) if at < newest),
        Declined(newest, case.amount, said, case.invoice),
    ]
