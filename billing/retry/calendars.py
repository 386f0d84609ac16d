"""The days on which wages and benefits are paid, and what a customer's past payments say about them.

A pay-day rule is a word: `weekly-4` (Fridays), `biweekly-4-0` (every other Friday; the last digit is the parity of the
week), `day-25` (that day of the month, or the business day before it), `days-15-31` (two of them), `last-business-day`,
`business-day-5`, `none` (no fixed day). Days are whole numbers since Monday 2000-01-03, in the customer's local time.
Public holidays are left out on purpose: they differ by region, and move a pay-day by one day at most. A table of
holidays (workalendar, exchange calendars) could take the place of `is_business_day`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(2000, 1, 3, tzinfo=UTC)  # a Monday
_EPOCH_DAY = EPOCH.toordinal()
HOUR = timedelta(hours=1)
# How soon after a pay-day a former failure was collected: today, a day later ... (half of the rest each day).
DELAYS = (0.5, 0.25, 0.13, 0.07, 0.05)


def local_hours(at: datetime, utc_offset_h: float) -> float:
    """Hours since the epoch on the customer's clock."""
    return (at - EPOCH) / HOUR + utc_offset_h


def at_local_hours(hours: float, utc_offset_h: float) -> datetime:
    """The instant (UTC) at which the customer's clock shows so many hours since the epoch."""
    return EPOCH + timedelta(hours=hours - utc_offset_h)


def day_of(when: date) -> int:
    return when.toordinal() - _EPOCH_DAY


def date_of(day: int) -> date:
    return date.fromordinal(day + _EPOCH_DAY)


def is_business_day(day: int) -> bool:
    return day % 7 < 5


@lru_cache(maxsize=65536)
def is_payday(rule: str, day: int) -> bool:
    """Whether money comes in on that day under the rule. Raises ValueError for a rule that is none."""
    kind, numbers = _parsed(rule)
    if kind == "none":
        return False
    if kind == "weekly":
        return day % 7 == numbers[0]
    if kind == "biweekly":
        return day % 7 == numbers[0] and day // 7 % 2 == numbers[1]
    if not is_business_day(day):
        return False
    when = date_of(day)
    if kind == "last":
        return date_of(_next_business_day(day)).month != when.month
    if kind == "business-day":
        return sum(is_business_day(day - back) for back in range(when.day)) == numbers[0]
    # A day of the month that falls on a weekend is paid on the business day before.
    for target in range(day, _next_business_day(day)):
        on = date_of(target)
        month_ends = date_of(target + 1).month != on.month
        if on.day in numbers or (month_ends and max(numbers) > on.day):
            return True
    return False


@lru_cache(maxsize=512)
def _parsed(rule: str) -> tuple[str, tuple[int, ...]]:
    if rule in ("none", "last-business-day"):
        return rule.split("-")[0], ()
    head, *rest = rule.split("-")
    if head == "business":
        head, rest = "business-day", rest[1:]
    wanted = {"weekly": (1,), "biweekly": (2,), "day": (1,), "days": (2,), "business-day": (1,)}
    if len(rest) not in wanted.get(head, ()) or not all(part.isdigit() for part in rest):
        raise ValueError(f"{rule!r} is not a pay-day rule")
    return head, tuple(map(int, rest))


def _next_business_day(day: int) -> int:
    return day + 1 if day % 7 < 4 else day + 7 - day % 7


@lru_cache(maxsize=512)
def collected_on(rule: str) -> dict[tuple[int, int], float]:
    """(day of the month, weekday) -> how much likelier a payment on it is under the rule than on any day at all.

    Four years of the calendar; half of the payments follow a pay-day by `DELAYS`, the others come on any day.
    """
    seen: dict[tuple[int, int], float] = {}
    every: dict[tuple[int, int], int] = {}
    days = range(day_of(date(2022, 1, 1)), day_of(date(2026, 1, 1)))
    paydays = 0
    for day in days:
        on = date_of(day)
        every[on.day, day % 7] = every.get((on.day, day % 7), 0) + 1
        if is_payday(rule, day):
            paydays += 1
            for delay, share in enumerate(DELAYS):
                mark = date_of(day + delay).day, (day + delay) % 7
                seen[mark] = seen.get(mark, 0.0) + share
    if not paydays:
        return dict.fromkeys(every, 1.0)
    return {mark: 0.5 + 0.5 * (seen.get(mark, 0.0) / paydays) / (number / len(days)) for mark, number in every.items()}
