"""On which local days a customer both ends and begins a subscription: such a day may hold one change (D15).

The fold looks ahead, because a cancellation is only known to be half of a change once the other half is.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from billing.ledger.vocabulary import Cause, Kind, LedgerEvent


class Days:
    """The instants at which subscriptions begin and end by choice, day by day in the company's time zone."""

    def __init__(self, zone: str) -> None:
        self._zone = _zone(zone)
        self._begins: dict[date, list[datetime]] = {}
        self._ends: dict[date, list[datetime]] = {}

    def foresee(self, events: Iterable[LedgerEvent], until: datetime) -> None:
        """Nothing can be a change while there are no two beginnings and an end."""
        begins, ends = [], []
        for event in events:
            if event.kind is Kind.SUB_START and event.status == "active":
                begins.append(event.at)
            elif event.kind is Kind.SUB_CANCEL and event.cause is Cause.CUSTOMER:
                ends.append(event.at)
            elif event.kind is Kind.CANCEL_SCHEDULED and event.effective_at and event.effective_at <= until:
                ends.append(event.effective_at)
        if len(begins) > 1 and ends:
            for instants, days in ((begins, self._begins), (ends, self._ends)):
                for at in instants:
                    days.setdefault(self.of(at), []).append(at)

    def begins_again(self, day: date, at: datetime) -> bool:
        return any(begin >= at for begin in self._begins.get(day, ()))

    def ends_again(self, day: date, at: datetime) -> bool:
        return any(end >= at for end in self._ends.get(day, ()))

    def last(self, day: date, at: datetime) -> datetime:
        """When nothing more ends or begins on that day."""
        instants: list[datetime] = [at, *self._begins.get(day, ()), *self._ends.get(day, ())]
        return max(instants)

    def of(self, at: datetime) -> date:
        return at.astimezone(self._zone).date()


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
