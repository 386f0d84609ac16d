"""What a person's decision adds to the evidence of a case; of two statements in one instant the careful one holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from billing.case import RecoveryCase
from billing.events.asked import Asked, Extended, Held, NoticeAsked, PaidOutside, RetryAsked


def operator_says(case: RecoveryCase, what: Asked, at: datetime) -> RecoveryCase:
    """The case with the decision added, the same for any order and repetition."""
    known = case.operator
    match what:
        case Held(held=held) if known.hold_told_at is None or (at, held) > (known.hold_told_at, known.held):
            return replace(case, operator=replace(known, held=held, hold_told_at=at))
        case PaidOutside(asked=asked) if known.outside_told_at is None or (at, asked) > (
            known.outside_told_at,
            known.outside,
        ):
            return replace(case, operator=replace(known, outside=asked, outside_told_at=at))
        case RetryAsked() if known.retry_at is None or at > known.retry_at:
            return replace(case, operator=replace(known, retry_at=at))
        case NoticeAsked(step=step) if (known.notice_at(step) or at) >= at:
            notices = {**dict(known.notices), step: at}
            return replace(case, operator=replace(known, notices=tuple(sorted(notices.items()))))
        case Extended(until=until) if known.extended_until is None or until > known.extended_until:
            extended = replace(known, extended_until=until, window_ends=case.window_ends)
            return with_window(replace(case, operator=extended), case.window_ends)
        case _:
            return case


def with_window(case: RecoveryCase, ends: datetime) -> RecoveryCase:
    """The case whose window ends then, or when a person said, whichever is later."""
    until = case.operator.extended_until
    if until is None:
        return replace(case, deadline=ends)
    return replace(case, deadline=max(ends, until), operator=replace(case.operator, window_ends=ends))
