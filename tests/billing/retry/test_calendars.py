from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.retry.calendars import at_local_hours, collected_on, date_of, day_of, is_payday, local_hours


def paydays(rule: str, first: date, last: date) -> list[str]:
    days = range(day_of(first), day_of(last) + 1)
    return [f"{date_of(day):%m-%d}" for day in days if is_payday(rule, day)]


@pytest.mark.parametrize(
    ("rule", "days"),
    [
        ("weekly-4", ["05-01", "05-08", "05-15", "05-22", "05-29"]),
        ("biweekly-4-0", ["05-08", "05-22"]),
        ("biweekly-4-1", ["05-01", "05-15", "05-29"]),
        ("day-15", ["05-15"]),
        ("day-10", ["05-08"]),  # the 10th is a Sunday
        ("day-31", ["05-29"]),  # the last day of the month, a Sunday
        ("day-1", ["05-01"]),
        ("days-1-15", ["05-01", "05-15"]),
        ("days-15-31", ["05-15", "05-29"]),
        ("last-business-day", ["05-29"]),
        ("business-day-5", ["05-07"]),
        ("none", []),
    ],
)
def test_each_rule_pays_on_its_days_of_may_2026(rule: str, days: list[str]) -> None:
    assert paydays(rule, date(2026, 5, 1), date(2026, 5, 31)) == days


def test_a_first_of_the_month_on_a_weekend_is_paid_in_the_month_before() -> None:
    assert paydays("day-1", date(2026, 7, 25), date(2026, 8, 20)) == ["07-31"]


def test_the_31st_is_the_last_day_of_a_shorter_month() -> None:
    assert paydays("days-15-31", date(2026, 2, 1), date(2026, 2, 28)) == ["02-13", "02-27"]


@pytest.mark.parametrize("rule", ["", "weekly", "weekly-x", "day-1-2", "fortnight-3", "business-5"])
def test_a_word_that_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="is not a pay-day rule"):
        is_payday(rule, 0)


def test_a_payment_on_the_25th_speaks_for_the_25th_and_little_for_fridays() -> None:
    wednesday_25th = (25, 2)
    assert collected_on("day-25")[wednesday_25th] > 3
    assert collected_on("weekly-4")[wednesday_25th] < 1
    assert collected_on("none")[wednesday_25th] == 1


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)), st.sampled_from([-6.0, 0.0, 5.5, 10.0]))  # noqa: DTZ001
def test_local_hours_lead_back_to_the_instant(at: datetime, offset: float) -> None:
    instant = at.replace(tzinfo=UTC)
    assert abs((at_local_hours(local_hours(instant, offset), offset) - instant).total_seconds()) < 1e-3
