"""The sandbox's only clock, which moves when told to, and the agenda of what falls due on it.

`speed` 0 keeps the clock still between moves; 1 lets it run with the wall clock; 3600 plays an hour a second.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count


class Clock:
    """Aware UTC time; never goes back."""

    def __init__(self, start: datetime, speed: float = 0.0) -> None:
        if start.tzinfo is None:
            raise ValueError("start must be an aware datetime")
        self.speed = speed
        self._base = start.astimezone(UTC)
        self._since = time.monotonic()

    def __call__(self) -> datetime:
        if not self.speed:
            return self._base
        return self._base + timedelta(seconds=(time.monotonic() - self._since) * self.speed)

    def stamp(self) -> int:
        """Whole unix seconds, as Stripe's objects carry them."""
        return int(self().timestamp())

    def move(self, to: datetime) -> None:
        """Forward to `to`; a moment already passed leaves the clock as it is."""
        if to > self():
            self._base, self._since = to, time.monotonic()


class Agenda:
    """What will happen when: entries run in time order, ties in the order they were made."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, str | None, Callable[[], None]]] = []
        self._current: dict[str, int] = {}
        self._serial = count()

    def at(self, when: datetime, what: Callable[[], None], key: str | None = None) -> None:
        """Plan `what`; a later plan under the same key replaces this one."""
        serial = next(self._serial)
        if key is not None:
            self._current[key] = serial
        heapq.heappush(self._heap, (when, serial, key, what))

    def cancel(self, key: str) -> None:
        self._current.pop(key, None)

    def next_due(self) -> datetime | None:
        self._drop_replaced()
        return self._heap[0][0] if self._heap else None

    def pop(self, until: datetime) -> tuple[datetime, Callable[[], None]] | None:
        """The next entry due at or before `until`."""
        self._drop_replaced()
        if not self._heap or self._heap[0][0] > until:
            return None
        when, _, key, what = heapq.heappop(self._heap)
        if key is not None:
            del self._current[key]
        return when, what

    def _drop_replaced(self) -> None:
        while self._heap and (key := self._heap[0][2]) is not None and self._current.get(key) != self._heap[0][1]:
            heapq.heappop(self._heap)


def from_stamp(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)
