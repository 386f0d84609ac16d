"""What a customer may use of the merchant's product while a payment is open, and after it never came.

One rule for the answer of `GET /v1/entitlement` and for the wall inside the product. It speaks only of failed
payments: what the customer has bought is the merchant's to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from billing.case import RecoveryCase, State
from billing.ending import End, Part


class Level(StrEnum):
    """From the best to the worst."""

    FULL = "full"
    GRACE = "grace"
    RESTRICTED = "restricted"
    BLOCKED = "blocked"


SENTENCES: dict[Level, str] = {
    Level.FULL: "Nothing that failed stands against it.",
    Level.GRACE: "A payment is open; everything may be used, until the day that is named.",
    Level.RESTRICTED: "A payment is open for too long: what must go on goes on, as the merchant sees it.",
    Level.BLOCKED: "The payment did not come: nothing may be used.",
}
ORDER = tuple(Level)


class Reason(StrEnum):
    """Why, for programs; `because` says it to people."""

    NOTHING_OPEN = "nothing_open"
    PAYMENT_OPEN = "payment_open"
    PAYMENT_PROMISED = "payment_promised"
    ON_HOLD = "on_hold"
    NOT_PAID = "not_paid"
    DOWNGRADED = "downgraded"
    UNKNOWN_CUSTOMER = "unknown_customer"


REASONS: dict[Reason, str] = {
    Reason.NOTHING_OPEN: "No failed payment is open, or the policy says nothing of access.",
    Reason.PAYMENT_OPEN: "A payment failed and has not come yet.",
    Reason.PAYMENT_PROMISED: "The customer named a day; until then everything may be used.",
    Reason.ON_HOLD: "Disputed or held: nothing gets worse. A payment under way or a pause: nothing is taken away.",
    Reason.NOT_PAID: "The recovery window passed without the money.",
    Reason.DOWNGRADED: "It was not paid, and the subscription moved to a lower price: that may be used.",
    Reason.UNKNOWN_CUSTOMER: "Nothing was ever told of this customer, and the settings say that this blocks.",
}


class Blocked(StrEnum):
    """When access is blocked."""

    AT_END = "at_end"
    AFTER_DAYS = "after_days"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Access:
    """Times count from the first failure; None means never."""

    restricted_after: timedelta | None = None  # grace before it
    blocked: Blocked = Blocked.NEVER
    blocked_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Entitlement:
    """`until`: when time alone makes it worse, None when it does not; `cases`: the invoices behind it."""

    level: Level = Level.FULL
    reason: Reason = Reason.NOTHING_OPEN
    because: str = "no payment is open"
    until: datetime | None = None
    cases: tuple[str, ...] = ()


UNKNOWN = Entitlement(Level.BLOCKED, Reason.UNKNOWN_CUSTOMER, "nothing is known of this customer")


@dataclass(frozen=True, slots=True)
class Standing:
    """One case, what its policy says of access (None: nothing), and the grace after a promised day."""

    case: RecoveryCase
    access: Access | None
    promise_grace: timedelta = timedelta(0)


def entitlement_of(standings: Sequence[Standing], running: bool, now: datetime) -> Entitlement:
    """What these cases of one customer mean together: the worst one decides.

    `running`: the customer has a subscription that is known to be in order now. Then nothing is taken away for what
    another one lost, or the same one before it was paid again.
    """
    found = [(each, _of(each, running, now)) for each in standings]
    counted = [(each.case, answer) for each, answer in found if answer.level is not Level.FULL]
    if not counted:
        return next((answer for _, answer in found if answer.reason is not Reason.NOTHING_OPEN), Entitlement())
    worst = max((answer.level for _, answer in counted), key=ORDER.index)
    leading = [(case.failed_at, case.invoice, answer) for case, answer in counted if answer.level is worst]
    until = _gets_worse(standings, running, now, worst)
    first = min(leading)[2]
    invoices = tuple(sorted(case.invoice for case, _ in counted))
    return Entitlement(worst, first.reason, first.because, until, invoices)


def changes_at(standing: Standing, now: datetime) -> datetime | None:
    """When what this case means for access changes next by time alone."""
    return _of(standing, False, now).until


def _gets_worse(standings: Sequence[Standing], running: bool, now: datetime, than: Level) -> datetime | None:
    """When time alone makes the whole worse: a case that turns may still stand behind a worse one."""
    at = now
    while ahead := [until for each in standings if (until := _of(each, running, at).until)]:
        at = min(ahead)
        if any(ORDER.index(_of(each, running, at).level) > ORDER.index(than) for each in standings):
            return at
    return None


def _of(standing: Standing, running: bool, now: datetime) -> Entitlement:
    """What one case means by itself."""
    case, access = standing.case, standing.access
    lost = case.state is State.LOST
    if access is None or case.amount.minor <= 0 or not (case.live or lost) or (lost and running):
        return Entitlement()
    if dict(case.endings).get(Part.SUBSCRIPTION) == End.DOWNGRADE:
        because = f"{case.invoice} was not paid: moved to a lower price"
        return Entitlement(Level.FULL, Reason.DOWNGRADED, because, None, (case.invoice,))
    promised = case.promised_until + standing.promise_grace if case.promised_until else None
    if promised and now < promised and not case.ended_at:
        because = f"{case.invoice}: payment is promised for {case.promised_until:%Y-%m-%d}"
        return Entitlement(Level.GRACE, Reason.PAYMENT_PROMISED, because, promised, (case.invoice,))
    because = f"{case.invoice} is open since {case.failed_at:%Y-%m-%d}"
    if doubt := _in_doubt(case):
        return Entitlement(Level.GRACE, Reason.ON_HOLD, f"{because}; {doubt}", None, (case.invoice,))
    if stopped := _stopped_at(case):
        level, _ = _by_time(case, access, min(now, stopped))
        because = f"{because}; nothing gets worse while it is disputed or held"
        return Entitlement(level, Reason.ON_HOLD, because, None, (case.invoice,))
    level, until = _by_time(case, access, now)
    if lost:
        because = f"{case.invoice} was not paid: {case.because}"
    return Entitlement(level, Reason.NOT_PAID if lost else Reason.PAYMENT_OPEN, because, until, (case.invoice,))


def _in_doubt(case: RecoveryCase) -> str | None:
    """Why nobody can say now that the money is not coming, None if nothing speaks for it."""
    if case.under_way:
        return "a payment is under way"
    if case.operator.outside:
        return "it is being marked as paid outside Stripe"
    return "its collection is paused" if case.live and case.paused_at else None


def _stopped_at(case: RecoveryCase) -> datetime | None:
    """Since when nothing may get worse: a dispute or an operator's hold; None: neither."""
    held = case.operator.hold_told_at if case.operator.held else None
    return min(filter(None, (case.disputed_since, held)), default=None)


def _by_time(case: RecoveryCase, access: Access, at: datetime) -> tuple[Level, datetime | None]:
    """The level that time alone gives at this instant, and when it gets worse."""
    begins = []
    if access.restricted_after is not None:
        begins.append((case.failed_at + access.restricted_after, Level.RESTRICTED))
    if access.blocked is Blocked.AFTER_DAYS and access.blocked_after is not None:
        begins.append((case.failed_at + access.blocked_after, Level.BLOCKED))
    elif access.blocked is Blocked.AT_END:
        begins.append((min(case.deadline, case.closed_at or case.deadline), Level.BLOCKED))
    level = max((level for begin, level in begins if begin <= at), key=ORDER.index, default=Level.GRACE)
    worse = [begin for begin, then in begins if begin > at and ORDER.index(then) > ORDER.index(level)]
    return level, min(worse, default=None)
