"""When a person may be written to: not in quiet hours of the customer's clock and, if so wished, not on weekends."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo

DAY = timedelta(days=1)
SATURDAY = 5


def first_allowed(at: datetime, quiet: tuple[float, float] | None, weekdays: bool, zone: tzinfo) -> datetime:
    """`at` if a message may go out then, else the next instant at which it may."""
    local = at.astimezone(zone)
    for _ in range(4):  # at most a night, a weekend, and another night
        if quiet and _is_quiet(local.time(), quiet):
            today = _at(local.date(), quiet[1], zone)
            local = today if today > local else _at(local.date() + DAY, quiet[1], zone)
        if weekdays and local.weekday() >= SATURDAY:
            local = _at(local.date() + (7 - local.weekday()) * DAY, quiet[1] if quiet else 0, zone)
    return max(local.astimezone(UTC), at)


def last_allowed(at: datetime, quiet: tuple[float, float] | None, weekdays: bool, zone: tzinfo) -> datetime:
    """`at` if a message may go out then, else the last moment before it at which one may: what must not come late."""
    local = at.astimezone(zone)
    for _ in range(4):
        if quiet and _is_quiet(local.time(), quiet):
            today = _at(local.date(), quiet[0], zone)
            local = (today if today <= local else _at(local.date() - DAY, quiet[0], zone)) - MARGIN
        if weekdays and local.weekday() >= SATURDAY:
            evening = _at(local.date() - (local.weekday() - 4) * DAY, quiet[0] if quiet else 18, zone)
            local = evening - MARGIN
    return min(local.astimezone(UTC), at)


MARGIN = timedelta(hours=1)  # before the evening's end, so that a message is still sent in time


def is_allowed(at: datetime, quiet: tuple[float, float] | None, weekdays: bool, zone: tzinfo) -> bool:
    return first_allowed(at, quiet, weekdays, zone) == at


def _is_quiet(clock: time, quiet: tuple[float, float]) -> bool:
    hour = clock.hour + clock.minute / 60 + clock.second / 3600 + clock.microsecond / 3.6e9
    begin, end = quiet
    return begin <= hour < end if begin <= end else hour >= begin or hour < end


def _at(day: date, hour: float, zone: tzinfo) -> datetime:
    """This hour of the local day, as an instant that exists: a clock that jumps over it shows a later one."""
    minutes = round(hour * 60)
    wall = datetime.combine(day, time(minutes // 60, minutes % 60), zone)
    return wall.astimezone(UTC).astimezone(zone)
