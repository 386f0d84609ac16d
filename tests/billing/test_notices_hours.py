"""When a person may be written to, on the clock and in the week of the place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.notices.hours import first_allowed, is_allowed, last_allowed

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
NIGHT = (20.0, 8.0)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


# (instant in UTC, quiet, weekdays only, zone, forward, backward); 2026-03-06 is a Friday
CASES = [
    ("03-06T10:00", NIGHT, False, UTC, "03-06T10:00", "03-06T10:00"),
    ("03-06T20:00", NIGHT, False, UTC, "03-07T08:00", "03-06T19:00"),  # the first quiet moment
    ("03-07T07:59", NIGHT, False, UTC, "03-07T08:00", "03-06T19:00"),
    ("03-07T08:00", NIGHT, False, UTC, "03-07T08:00", "03-07T08:00"),  # the first loud one
    ("03-06T20:00", NIGHT, False, NEW_YORK, "03-06T20:00", "03-06T20:00"),  # 15:00 over there
    ("03-06T03:00", NIGHT, False, NEW_YORK, "03-06T13:00", "03-06T00:00"),
    ("03-06T13:30", (12, 14), False, UTC, "03-06T14:00", "03-06T11:00"),  # within one day
    ("03-06T22:00", None, True, UTC, "03-06T22:00", "03-06T22:00"),
    ("03-07T10:00", None, True, UTC, "03-09T00:00", "03-06T17:00"),
    ("03-06T20:30", NIGHT, True, UTC, "03-09T08:00", "03-06T19:00"),  # Friday evening waits for Monday
    ("03-08T12:00", NIGHT, True, UTC, "03-09T08:00", "03-06T19:00"),
    ("03-29T00:30", (22, 2.5), False, BERLIN, "03-29T01:00", "03-28T20:00"),  # 02:30 does not exist that night: 03:30
]


@pytest.mark.parametrize(("when", "quiet", "weekdays", "zone", "forward", "backward"), CASES)
def test_a_message_is_moved_to_the_next_allowed_hour_or_back_to_the_last(
    when: str, quiet: tuple[float, float] | None, weekdays: bool, zone: ZoneInfo, forward: str, backward: str
) -> None:
    moved = first_allowed(at(when), quiet, weekdays, zone)
    assert at(forward) <= moved <= at(forward) + timedelta(minutes=30)
    assert last_allowed(at(when), quiet, weekdays, zone) == at(backward)


HOURS = st.tuples(st.integers(0, 47), st.integers(1, 36)).map(lambda q: (q[0] / 2, (q[0] / 2 + q[1] / 2) % 24))


@given(
    moment=st.integers(0, 365 * 24 * 60).map(lambda minutes: at("01-01T00:00") + timedelta(minutes=minutes)),
    quiet=st.none() | HOURS,
    weekdays=st.booleans(),
    zone=st.sampled_from([UTC, BERLIN, NEW_YORK, ZoneInfo("Asia/Kolkata"), ZoneInfo("Pacific/Auckland")]),
)
def test_the_moved_instant_is_allowed_and_an_allowed_one_stays(
    moment: datetime, quiet: tuple[float, float] | None, weekdays: bool, zone: ZoneInfo
) -> None:
    moved = first_allowed(moment, quiet, weekdays, zone)
    assert moved >= moment
    assert is_allowed(moved, quiet, weekdays, zone)
    assert moved - moment < timedelta(days=4)
    assert last_allowed(moment, quiet, weekdays, zone) <= moment
