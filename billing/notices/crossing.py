"""A message that asks for money does not cross an attempt that may bring it: "it failed" and "thank you" in one minute.

Whoever plans messages and attempts together could replace this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from billing.case import RecoveryCase
from billing.notices.sequence import ASKING, Due

CLEAR = timedelta(minutes=15)  # an attempt has its answer by then, and the message is planned anew with it


def clear_of_attempts(due: Iterable[Due], case: RecoveryCase, planned: datetime | None) -> Iterator[Due]:
    """The messages, with those that ask for money `CLEAR` behind an attempt that is so near.

    `planned`: our next attempt; Stripe's own and those under way are known to the case. One that would miss the
    deadline by it stays where it is.
    """
    under_way = [attempt.at for attempt in case.attempts if attempt.alive]
    attempts = [at for at in (planned, case.stripe_next_attempt, *under_way) if at]
    for each in due:
        near = [at for at in attempts if abs(at - each.at) <= CLEAR] if each.step in ASKING else []
        later = max(near, default=each.at) + CLEAR
        if near and later < case.deadline:
            yield each._replace(at=later, because=f"{each.because}; behind the attempt of {max(near):%H:%M} UTC")
        else:
            yield each
