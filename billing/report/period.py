"""From one local midnight to another, half-open: an event exactly at the end belongs to the next period (D21)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo


class NotAPeriod(ValueError):
    """A period must be written YYYY-MM, YYYY-Qn, YYYY or DATE..DATE, and end after it starts."""


@dataclass(frozen=True, slots=True)
class Period:
    """Local dates, the end excluded, in the time zone in which the company closes its books."""

    start: date
    end: date
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise NotAPeriod(f"{self.start} to {self.end} is no period")

    @classmethod
    def month(cls, text: str, zone: str = "UTC") -> Period:
        """`2026-03`"""
        try:
            start = date.fromisoformat(f"{text}-01")
        except ValueError as wrong:
            raise NotAPeriod(f"{text!r} is not a month; write YYYY-MM") from wrong
        return cls(start, _later(start, 1), zone)

    @classmethod
    def quarter(cls, text: str, zone: str = "UTC") -> Period:
        """`2026-Q1`"""
        year, _, number = text.upper().partition("-Q")
        if not (year.isdigit() and number in {"1", "2", "3", "4"}):
            raise NotAPeriod(f"{text!r} is not a quarter; write YYYY-Qn")
        start = date(int(year), 3 * int(number) - 2, 1)
        return cls(start, _later(start, 3), zone)

    @classmethod
    def of(cls, text: str, zone: str = "UTC") -> Period:
        """`2026-03`, `2026-Q1`, `2026`, or `2026-01-15..2026-02-20` with the end excluded."""
        first, dots, last = text.partition("..")
        try:
            if dots:
                return cls(date.fromisoformat(first), date.fromisoformat(last), zone)
            if "Q" in text.upper():
                return cls.quarter(text, zone)
            if len(text) == 4:
                return cls(date(int(text), 1, 1), date(int(text) + 1, 1, 1), zone)
            return cls.month(text, zone)
        except NotAPeriod:
            raise
        except ValueError as wrong:
            raise NotAPeriod(f"{text!r} is no period; write YYYY-MM, YYYY-Qn, YYYY or DATE..DATE") from wrong

    def back(self, count: int) -> tuple[Period, ...]:
        """So many periods of this one's whole months, the last of them this one, in the order of time."""
        edges = [_later(self.end, -self._length() * number) for number in range(count, -1, -1)]
        return tuple(Period(start, end, self.zone) for start, end in itertools.pairwise(edges))

    def months(self) -> tuple[Period, ...]:
        """Its months, in the order of time; for periods made of whole ones."""
        edges = [_later(self.start, number) for number in range(self._length() + 1)]
        return tuple(Period(start, end, self.zone) for start, end in itertools.pairwise(edges))

    def _length(self) -> int:
        if self.start.day != 1 or self.end.day != 1:
            raise NotAPeriod(f"{self} is not made of whole months")
        return (self.end.year - self.start.year) * 12 + self.end.month - self.start.month

    def trailing(self, months: int) -> Period:
        """The period of so many months that ends with this one; for periods that end at the first of a month."""
        if self.end.day != 1:
            raise NotAPeriod(f"{self} does not end with a month")
        return Period(_later(self.end, -months), self.end, self.zone)

    @property
    def opens(self) -> datetime:
        """The first instant of the period, in UTC."""
        return _midnight(self.start, self.zone)

    @property
    def closes(self) -> datetime:
        """The first instant after the period, in UTC."""
        return _midnight(self.end, self.zone)

    def holds(self, at: datetime) -> bool:
        return self.opens <= at < self.closes

    def __str__(self) -> str:
        return f"{self.start} to {self.end} ({self.zone}, end excluded)"


def month_of(at: datetime, zone: str = "UTC") -> date:
    """The first day of the local month that an instant lies in."""
    return at.astimezone(ZoneInfo(zone)).date().replace(day=1)


@lru_cache(maxsize=1024)  # the same few boundaries are asked for with every customer
def _midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def _later(day: date, months: int) -> date:
    index = day.year * 12 + day.month - 1 + months
    return day.replace(year=index // 12, month=index % 12 + 1)
