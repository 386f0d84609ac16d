"""Amounts and periods, exactly."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.pricing import add_interval, period_end, taken_off


@pytest.mark.parametrize(
    ("start", "interval", "count", "end"),
    [
        ((2026, 1, 31), "month", 1, (2026, 2, 28)),
        ((2024, 1, 31), "month", 1, (2024, 2, 29)),
        ((2024, 2, 29), "year", 1, (2025, 2, 28)),
        ((2026, 11, 30), "month", 3, (2027, 2, 28)),
        ((2026, 1, 1), "week", 2, (2026, 1, 15)),
        ((2026, 1, 1), "day", 10, (2026, 1, 11)),
    ],
)
def test_an_interval_ends_on_the_calendar(
    start: tuple[int, int, int], interval: str, count: int, end: tuple[int, int, int]
) -> None:
    assert add_interval(datetime(*start, tzinfo=UTC), interval, count) == datetime(*end, tzinfo=UTC)


@given(
    anchor=st.integers(1_577_836_800, 1_767_225_600),  # 2020 to 2026
    interval=st.sampled_from(["day", "week", "month", "year"]),
    count=st.integers(1, 12),
    periods=st.integers(1, 90),
)
def test_periods_follow_each_other_without_drift(anchor: int, interval: str, count: int, periods: int) -> None:
    recurring = {"interval": interval, "interval_count": count}
    first, at = datetime.fromtimestamp(anchor, UTC), anchor
    for n in range(1, periods + 1):
        at = period_end(anchor, at, recurring)
        assert datetime.fromtimestamp(at, UTC) == add_interval(first, interval, n * count)


@pytest.mark.parametrize(
    ("coupon", "off"),
    [
        ({"percent_off": 25.5, "amount_off": None, "currency": None}, 255),
        ({"percent_off": None, "amount_off": 300, "currency": "usd"}, 300),
        ({"percent_off": None, "amount_off": 3000, "currency": "usd"}, 1000),
        ({"percent_off": None, "amount_off": 300, "currency": "eur"}, 0),
    ],
)
def test_a_coupon_takes_off_what_it_says(coupon: dict[str, object], off: int) -> None:
    assert taken_off(coupon, 1000, "usd") == off
