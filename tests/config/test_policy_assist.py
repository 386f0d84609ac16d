"""The table `[assist]` of a policy file."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from billing.assist import EVERYBODY, Reason
from config.policies import BadPolicy, parse, read

BODY = read("ladder")


def test_a_policy_without_the_table_gets_the_defaults() -> None:
    assert parse(BODY, "x").assist == EVERYBODY


def test_the_values_arrive_in_their_units() -> None:
    table = {"mrr_over": {"usd": 100}, "answer_after_days": 2, "unknown_after_hours": 1, "extend_days": 7}
    found = parse({**BODY, "assist": {**table, "due_days": {"held": 0.5}}}, "x").assist
    assert found.mrr_over == {"usd": 100}
    assert (found.answer_after, found.unknown_after) == (timedelta(days=2), timedelta(hours=1))
    assert (found.extend, found.due_after(Reason.HELD)) == (timedelta(days=7), timedelta(hours=12))
    assert found.due_after(Reason.STUCK) == EVERYBODY.due_after(Reason.STUCK)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"mrr_over": {"USD": 1}}, "x.toml: assist.mrr_over: .*no currency"),
        ({"mrr_over": {"usd": -1}}, "x.toml: assist.mrr_over.usd"),
        ({"due_days": {"boredom": 1}}, "x.toml: assist.due_days.boredom"),
        ({"due_days": {"held": 0}}, "x.toml: assist.due_days.held"),
        ({"extend_days": 61}, "x.toml: assist.extend_days"),
        ({"mrr": 1}, "x.toml: assist.mrr"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(table: dict[str, Any], said: str) -> None:
    with pytest.raises(BadPolicy, match=said):
        parse({**BODY, "assist": table}, "x.toml")
