"""Reasons are read by people: one thing is not many."""

from __future__ import annotations

from datetime import timedelta

import pytest

from billing.words import are, counted, span


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (0, "day", "0 days"),
        (1, "day", "1 day"),
        (2, "day", "2 days"),
        (1, "retry", "1 retry"),
        (3, "retry", "3 retries"),
    ],
)
def test_one_thing_is_not_many(number: int, noun: str, said: str) -> None:
    assert counted(number, noun) == said


def test_the_verb_goes_with_the_number() -> None:
    assert [are(0), are(1), are(2)] == ["are", "is", "are"]


@pytest.mark.parametrize(
    ("hours", "said"),
    [(24, "1 day"), (48, "2 days"), (36, "36 hours"), (1, "1 hour"), (0.5, "0.5 hours"), (0, "0 hours")],
)
def test_whole_days_are_said_as_days(hours: float, said: str) -> None:
    assert span(timedelta(hours=hours)) == said
