"""From one local midnight to another, half-open: an event exactly at the end belongs to the next period (D21)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo


class NotAPeriod(ValueError):
    """A period must be written YYYY-MM or YYYY-Qn, or end after it starts."""


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

    def trailing(self, months: int) -> Period:
        """The period of so many months that ends with this one; for periods that end at the first of a month."""
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


def _midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def _later(day: date, months: int) -> date:
    index = day.year * 12 + day.month - 1 + months
    return day.replace(year=index // 12, month=index % 12 + 1)
