"""Which cases need a person, why, and how soon: a pure rule over the case and what else is known of it.

Every reason has its sentence and its urgency; a case may have several. A reason that is no longer given is gone, and a
task without a reason closes itself. Scores learnt from what people made of their tasks could replace the urgencies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from billing.case import NO_SILENT_RETRY, RecoveryCase, State
from billing.declines import DeclineClass


class Reason(StrEnum):
    STUCK = "stuck"
    UNKNOWN_OUTCOME = "unknown_outcome"
    END_FAILED = "end_failed"
    CUSTOMER_WROTE = "customer_wrote"
    LATE_RESCUE = "late_rescue"
    CONTACT_LOST = "contact_lost"
    PROMISE_BROKEN = "promise_broken"
    AUTHENTICATION = "authentication"
    HELD = "held"
    NO_ATTEMPTS = "no_attempts"
    HIGH_MRR = "high_mrr"


SENTENCES: dict[Reason, str] = {
    Reason.STUCK: "Something that was to be done cannot be done, or failed too often.",
    Reason.UNKNOWN_OUTCOME: "A payment was asked for, and for hours nobody can say what came of it.",
    Reason.END_FAILED: "What the policy wants at the end could not be done at Stripe.",
    Reason.CUSTOMER_WROTE: "The customer wrote on the recovery page and waits for an answer.",
    Reason.LATE_RESCUE: "The customer brought a new payment method after the end.",
    Reason.CONTACT_LOST: "Messages no longer reach the customer.",
    Reason.PROMISE_BROKEN: "The day that the customer named has passed without the money.",
    Reason.AUTHENTICATION: "The customer has to authenticate the payment, and did not for days.",
    Reason.HELD: "The case is held: nothing is sent until somebody decides.",
    Reason.NO_ATTEMPTS: "No payment attempt is left or allowed, and the window is still open.",
    Reason.HIGH_MRR: "Much depends on this customer.",
}

# 1: money is in doubt. 2: the customer waits, or cannot be reached. 3: worth a look while there is time.
URGENCY: dict[Reason, int] = {
    **dict.fromkeys((Reason.STUCK, Reason.UNKNOWN_OUTCOME, Reason.END_FAILED), 1),
    **dict.fromkeys((Reason.CUSTOMER_WROTE, Reason.LATE_RESCUE, Reason.CONTACT_LOST, Reason.PROMISE_BROKEN), 2),
    **dict.fromkeys((Reason.AUTHENTICATION, Reason.HELD, Reason.NO_ATTEMPTS, Reason.HIGH_MRR), 3),
}
DUE = {1: timedelta(days=1), 2: timedelta(days=1), 3: timedelta(days=3)}  # where the policy says nothing
RESCUED_WITHIN = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Assist:
    """A policy's part for people. `mrr_over`: minor units a month, by currency; another currency is never high."""

    mrr_over: Mapping[str, int] = field(
        default_factory=lambda: {"usd": 50_000, "eur": 50_000, "gbp": 40_000, "jpy": 75_000}
    )
    answer_after: timedelta = timedelta(days=3)
    unknown_after: timedelta = timedelta(hours=6)
    due: Mapping[Reason, timedelta] = field(default_factory=dict)
    extend: timedelta = timedelta(days=14)  # so much later than the policy's window may a case end

    def due_after(self, reason: Reason) -> timedelta:
        return self.due.get(reason, DUE[URGENCY[reason]])


EVERYBODY = Assist()  # a policy that says nothing of it


@dataclass(frozen=True, slots=True)
class Stuck:
    """An action that was put before a person."""

    kind: str
    at: datetime
    because: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a case itself does not hold. None: not known to have happened."""

    stuck: tuple[Stuck, ...] = ()
    returned_at: datetime | None = None  # a message came back, was refused or complained about
    reached_at: datetime | None = None  # a message was taken
    wrote_at: datetime | None = None
    no_attempt: str | None = None  # why no payment attempt is planned; None: one is, or is made


@dataclass(frozen=True, slots=True)
class Need:
    """One reason; `since` says which occurrence of it, so that what a person has done with is not asked twice."""

    reason: Reason
    since: datetime
    because: str


def needs(case: RecoveryCase, facts: Facts, assist: Assist, now: datetime) -> tuple[Need, ...]:
    """Why this case needs a person now, the most urgent first; nothing: it does not."""
    found = (rule(case, facts, assist, now) for rule in RULES)
    return tuple(sorted(filter(None, found), key=lambda need: (URGENCY[need.reason], need.since, need.reason)))


def priority(needs: Sequence[Need]) -> int:
    """1 to 3; of a customer on whom much depends one step more urgent than for the other reasons alone."""
    others = [URGENCY[need.reason] for need in needs if need.reason is not Reason.HIGH_MRR]
    if len(others) == len(needs):
        return min(others, default=3)
    return max(1, min(others) - 1) if others else URGENCY[Reason.HIGH_MRR]


def due(needs: Iterable[Need], case: RecoveryCase, assist: Assist, opened_at: datetime) -> datetime:
    """When somebody should have looked: by the most pressing reason, and before the window ends."""
    first = min((max(need.since, opened_at) + assist.due_after(need.reason) for need in needs), default=opened_at)
    return max(opened_at, min(first, case.deadline)) if case.live else first


def next_review(case: RecoveryCase, assist: Assist, now: datetime) -> datetime | None:
    """The next instant at which time alone gives a reason, or takes one away; None: only events can."""
    instants = [
        *(attempt.at + assist.unknown_after for attempt in case.attempts if attempt.answer is None),
        *([case.promised_until] if case.promised_until else []),
        *([_asked_since(case) + assist.answer_after] if case.decline_class is DeclineClass.AUTHENTICATION else []),
    ]
    if not case.live:
        instants = [case.method_changed_at + RESCUED_WITHIN] if case.method_changed_at else []
    return min((at for at in instants if at > now), default=None)


# ---------------------------------------------------------------- the rules


def _stuck(case: RecoveryCase, facts: Facts, _assist: Assist, _now: datetime) -> Need | None:
    if case.state is State.RECOVERED:
        return None  # whatever it was, the money came
    newest = max((each for each in facts.stuck if each.kind != "end"), key=lambda each: each.at, default=None)
    return Need(Reason.STUCK, newest.at, f"{newest.kind} is stuck: {newest.because}") if newest else None


def _end_failed(case: RecoveryCase, facts: Facts, _assist: Assist, _now: datetime) -> Need | None:
    if case.state is State.RECOVERED:
        return None
    newest = max((each for each in facts.stuck if each.kind == "end"), key=lambda each: each.at, default=None)
    return Need(Reason.END_FAILED, newest.at, newest.because) if newest else None


def _unknown_outcome(case: RecoveryCase, _facts: Facts, assist: Assist, now: datetime) -> Need | None:
    waiting = [each.at for each in case.attempts if each.answer is None and now >= each.at + assist.unknown_after]
    if not case.live or not waiting:
        return None
    since = min(waiting)
    return Need(Reason.UNKNOWN_OUTCOME, since, f"nobody can say what came of the attempt of {_minute(since)}")


def _customer_wrote(case: RecoveryCase, facts: Facts, _assist: Assist, _now: datetime) -> Need | None:
    if facts.wrote_at is None or facts.wrote_at < case.failed_at or not _owed(case):
        return None
    return Need(Reason.CUSTOMER_WROTE, facts.wrote_at, f"the customer wrote at {_minute(facts.wrote_at)}")


def _late_rescue(case: RecoveryCase, _facts: Facts, _assist: Assist, now: datetime) -> Need | None:
    brought, ended = case.method_changed_at, case.closed_at
    if case.state is not State.LOST or brought is None or ended is None or brought < ended:
        return None
    if now >= brought + RESCUED_WITHIN:
        return None
    return Need(Reason.LATE_RESCUE, brought, f"a payment method came at {_minute(brought)}, after the end")


def _contact_lost(case: RecoveryCase, facts: Facts, _assist: Assist, _now: datetime) -> Need | None:
    returned = facts.returned_at
    if not case.live or returned is None or (facts.reached_at and facts.reached_at > returned):
        return None
    return Need(Reason.CONTACT_LOST, returned, f"a message came back or was refused at {_minute(returned)}")


def _promise_broken(case: RecoveryCase, _facts: Facts, _assist: Assist, now: datetime) -> Need | None:
    if case.promised_until is None or not case.promise_broken(now):
        return None
    return Need(Reason.PROMISE_BROKEN, case.promised_until, f"promised until {_minute(case.promised_until)}")


def _authentication(case: RecoveryCase, _facts: Facts, assist: Assist, now: datetime) -> Need | None:
    if case.state is not State.NEEDS_CUSTOMER or case.decline_class is not DeclineClass.AUTHENTICATION:
        return None
    since = _asked_since(case)
    if now < since + assist.answer_after:
        return None
    return Need(Reason.AUTHENTICATION, since, f"authentication is asked for since {_minute(since)}")


def _held(case: RecoveryCase, _facts: Facts, _assist: Assist, _now: datetime) -> Need | None:
    if case.state is not State.HELD or case.operator.outside:
        return None
    told = case.operator.hold_told_at if case.operator.held else None
    return Need(Reason.HELD, case.disputed_at or told or case.failed_at, case.because)


def _no_attempts(case: RecoveryCase, facts: Facts, _assist: Assist, _now: datetime) -> Need | None:
    if facts.no_attempt is None or case.state not in (State.OPEN, State.RECOVERING):
        return None
    if case.in_flight or case.under_way or case.decline_class in NO_SILENT_RETRY or case.stripe_next_attempt:
        return None
    if case.collection_method == "send_invoice":
        return None  # there never was an attempt to make
    return Need(Reason.NO_ATTEMPTS, case.method_changed_at or case.failed_at, facts.no_attempt)


def _high_mrr(case: RecoveryCase, _facts: Facts, assist: Assist, _now: datetime) -> Need | None:
    over = assist.mrr_over.get(case.mrr.currency) if case.mrr else None
    if not case.live or case.mrr is None or over is None or case.mrr.minor <= over:
        return None
    return Need(Reason.HIGH_MRR, case.failed_at, f"{case.mrr} is at risk")


def _asked_since(case: RecoveryCase) -> datetime:
    """Since when this payment method waits for its owner."""
    return max(filter(None, (case.failed_at, case.method_changed_at)))


def _owed(case: RecoveryCase) -> bool:
    return case.live or case.state is State.LOST


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


RULES: tuple[Callable[[RecoveryCase, Facts, Assist, datetime], Need | None], ...] = (
    _stuck,
    _unknown_outcome,
    _end_failed,
    _customer_wrote,
    _late_rescue,
    _contact_lost,
    _promise_broken,
    _authentication,
    _held,
    _no_attempts,
    _high_mrr,
)
