"""What people of the company decided about a case: evidence like any other, the newest statement of each kind.

`billing/events/asked.py` has the occurrences; `operator_evidence.py` adds them. A state machine of its own for people
would replace this, and would have to be kept in step with the case.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

ASKED = "an operator asked for it"
ASKED_FOR = timedelta(days=1)  # a retry that nobody could make in this time is not what was asked for any more


@dataclass(frozen=True, slots=True)
class Operator:
    """All instants are aware UTC; None: nobody asked."""

    held: bool = False
    hold_told_at: datetime | None = None
    extended_until: datetime | None = None
    window_ends: datetime | None = None  # without the extension
    retry_at: datetime | None = None  # a payment attempt was asked for
    notices: tuple[tuple[str, datetime], ...] = ()  # messages that were asked for, in order of step
    outside: bool = False  # to be marked as paid outside Stripe
    outside_told_at: datetime | None = None

    def retry_due(self, tried: datetime, now: datetime) -> datetime | None:
        """Since when an attempt is asked for; None once one was made, or after a day."""
        if self.retry_at is None or tried >= self.retry_at or now >= self.retry_at + ASKED_FOR:
            return None
        return self.retry_at

    def notice_at(self, step: str) -> datetime | None:
        """When this message was asked for."""
        return dict(self.notices).get(step)


NOBODY = Operator()


def after(now: datetime, told: datetime | None) -> datetime:
    """When something is said that takes back what was told: later than that, whoever's clock stands still or lags."""
    return max(now, told + timedelta(microseconds=1)) if told else now
