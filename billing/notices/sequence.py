"""Which message is due when. Sequences as policy data will replace the table at the end; the callers stay.

`due_notices` is asked at every decision and must give the same answer for the same evidence: what it no longer names
is taken back from the outbox.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from billing.case import RecoveryCase, State


class Step(StrEnum):
    """The messages there are; each is a table of that name in config/messages/<language>.toml."""

    PAYMENT_FAILED = "payment_failed"
    REMINDER = "reminder"
    BEFORE_DEADLINE = "before_deadline"
    LAST_DAY = "last_day"
    PROMISE_REMINDER = "promise_reminder"
    RECOVERED = "recovered"
    ENDED = "ended"
    LATE_RESCUE = "late_rescue"
    CARD_EXPIRING = "card_expiring"
    RENEWAL_COMING = "renewal_coming"
    METHOD_MISSING = "method_missing"


SENTENCES = {
    Step.PAYMENT_FAILED: "Tells that a payment failed, why as far as may be said, and how to settle it.",
    Step.REMINDER: "Says some days later that it is still open.",
    Step.BEFORE_DEADLINE: "Says how many days are left, and what happens then.",
    Step.LAST_DAY: "Says that this is the last day.",
    Step.PROMISE_REMINDER: "Reminds of the day on which the customer said the payment would come.",
    Step.RECOVERED: "Thanks for the payment, and ends what the first message began.",
    Step.ENDED: "Says that the subscription has ended for want of payment, and how to come back.",
    Step.LATE_RESCUE: "Answers a payment method that was added after the end: how to open the account again.",
    Step.CARD_EXPIRING: "Says before anything fails that the card will expire.",
    Step.RENEWAL_COMING: "Announces a large renewal, so that nobody is surprised.",
    Step.METHOD_MISSING: "Says before a renewal that there is nothing to pay it with.",
}

ASKING = frozenset({Step.PAYMENT_FAILED, Step.REMINDER, Step.BEFORE_DEADLINE, Step.LAST_DAY, Step.PROMISE_REMINDER})
AFTER_THE_END = frozenset({Step.ENDED, Step.LATE_RESCUE})
AHEAD = frozenset({Step.CARD_EXPIRING, Step.RENEWAL_COMING, Step.METHOD_MISSING})  # nothing has failed

SILENT = frozenset({State.HELD, State.PAUSED})  # live, and nothing is sent
MAY_HAVE_REACHED = frozenset(
    {"accepted", "unknown"}
)  # handed over, as far as anybody can say (worker.channels.Outcome)
HOUR = timedelta(hours=1)
THANKS_WITHIN = timedelta(days=3)  # later thanks would puzzle more than please


class Due(NamedTuple):
    step: Step
    at: datetime
    because: str


def due_notices(case: RecoveryCase, delay: timedelta, now: datetime) -> tuple[Due, ...]:
    """The messages that should be waiting for this case, soonest first; `at` may lie ahead or behind.

    `delay` is the silent time after the first failure, in which many payments mend themselves. A step that ended, in
    whatever way, is never named again.
    """
    found = (rule(case, delay, now) for step, rule in RULES.items() if case.notice(step) is None)
    return tuple(sorted(filter(None, found), key=lambda due: (due.at, due.step)))


def _payment_failed(case: RecoveryCase, delay: timedelta, now: datetime) -> Due | None:
    at = case.failed_at + delay
    if not case.live or case.state in SILENT or max(at, now) >= case.deadline:
        return None
    if case.processing_at and case.processing_at >= case.last_failed_at:
        return None  # a payment is under way: "it failed" may be wrong by the time it is read
    return Due(Step.PAYMENT_FAILED, at, f"first message, {delay / HOUR:g} hours after the payment failed")


def _recovered(case: RecoveryCase, _delay: timedelta, now: datetime) -> Due | None:
    outcome = case.notice(Step.PAYMENT_FAILED)
    if case.state is not State.RECOVERED or case.paid_at is None or outcome not in MAY_HAVE_REACHED:
        return None
    if now - case.paid_at > THANKS_WITHIN:
        return None
    return Due(Step.RECOVERED, case.paid_at, f"paid after the first message was handed over ({outcome})")


RULES: dict[Step, Callable[[RecoveryCase, timedelta, datetime], Due | None]] = {
    Step.PAYMENT_FAILED: _payment_failed,
    Step.RECOVERED: _recovered,
}
