"""The intervals give the numbers that Newcombe's two papers of 1998 print."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.report.interval import Share, newcombe, wilson

SHARES = st.integers(0, 500).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))).map(lambda p: Share(*p))


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 0, 0.0, 1.0),
    ],
)
def test_one_share_has_wilsons_interval(hits: int, of: int, low: float, high: float) -> None:
    assert wilson(Share(hits, of)) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        (Share(56, 70), Share(48, 80), 0.0524, 0.3339),
        (Share(9, 10), Share(3, 10), 0.1705, 0.8090),
        (Share(6, 7), Share(2, 7), 0.0582, 0.8062),
        (Share(5, 56), Share(0, 29), -0.0381, 0.1926),
        (Share(0, 10), Share(0, 20), -0.1611, 0.2775),
        (Share(10, 10), Share(0, 20), 0.6791, 1.0000),
    ],
)
def test_a_difference_has_newcombes_interval(one: Share, other: Share, low: float, high: float) -> None:
    assert newcombe(one, other) == pytest.approx((low, high), abs=5e-5)


@given(SHARES, SHARES)
def test_the_interval_holds_the_difference_and_turns_with_the_sides(one: Share, other: Share) -> None:
    low, high = newcombe(one, other)
    assert -1 <= low <= one.rate - other.rate <= high <= 1 or 0 in (one.of, other.of)
    assert newcombe(other, one) == pytest.approx((-high, -low))
