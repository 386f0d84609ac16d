"""The timetable of a policy as people read it, and the walls that its sequence raises."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from billing.declines import DeclineClass
from billing.money import Amount
from billing.notices.sequence import On, Only, Planned, Sequence, Step, Via, span
from billing.notices.timetable import rules, timetable
from billing.notices.wall import wall_days
from config.policies import parse, read
from tests.billing.test_notices_sequence import CASE, DAY, HOUR
from worker.cli import main

STANDARD = parse(read("standard"), "standard")


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (timedelta(0), "at once"),
        (DAY, "1 day"),
        (2.5 * DAY, "2.5 days"),
        (12 * HOUR, "12 hours"),
        (HOUR / 4, "15 minutes"),
        (timedelta(seconds=5), "5 seconds"),
    ],
)
def test_a_span_is_said_as_people_say_it(time: timedelta, said: str) -> None:
    assert span(time) == said


def test_steps_stand_in_order_of_their_days_and_then_what_waits_for_something() -> None:
    rows = timetable(STANDARD)
    assert [(row.day, row.step) for row in rows][:3] == [(1, "payment_failed"), (5, "reminder"), (7, "soft_wall")]
    assert [row.step for row in rows if row.day is None][-1] == "late_rescue"
    assert len(rows) == len(STANDARD.sequence.steps)


def test_conditions_and_rules_are_said_in_words() -> None:
    only = Only(frozenset({DeclineClass.DEAD_CARD}), {"usd": 5000}, countries=frozenset({"US"}), engaged=False)
    policy = replace(STANDARD, messages=Sequence((Planned("one", Step.REMINDER, On.BEFORE_RETRY, DAY, only=only),)))
    [row] = timetable(policy)
    assert row.when == "1 day before the next attempt"
    assert row.only == ("declined as dead_card; at least 5000 usd (minor units); in US; was not on the recovery page")
    assert "None between 20:00 and 08:00 on the customer's clock." in rules(STANDARD)
    assert "None on Saturdays and Sundays." in rules(parse(read("gentle-b2b"), "gentle"))


def test_the_commands_show_a_policy_and_name_a_mistake() -> None:
    run = CliRunner()
    shown = run.invoke(main, ["sequence", "show", "weekly"])
    assert shown.exit_code == 0
    assert "weekly@1" in shown.output
    assert run.invoke(main, ["sequence", "show", "weekly", "--json"]).output.startswith("{")
    assert all(row.step in shown.output for row in timetable(parse(read("weekly"), "weekly")))  # no name is cut
    assert "standard@3" in run.invoke(main, ["sequence", "list"]).output
    wrong = run.invoke(main, ["sequence", "show", "nothing"])
    assert (wrong.exit_code, "there is no policy 'nothing'" in wrong.output) == (2, True)


def wall(name: str, day: float, only: Only = Only()) -> Planned:
    return Planned(name, Step.REMINDER, after=day * DAY, via=(Via.IN_APP,), only=only, wall=name)


@pytest.mark.parametrize(
    ("steps", "days"),
    [
        ((), None),
        ((wall("soft_wall", 7), wall("hard_wall", 14)), (7, 14)),
        ((wall("soft_wall", 7),), (7, 0)),
        ((wall("hard_wall", 3),), (3, 3)),
        ((wall("soft_wall", 7, Only(min_amount={"usd": 10**9})),), (22, 0)),  # only ever a banner
    ],
)
def test_the_walls_of_a_sequence_begin_on_their_days(
    steps: tuple[Planned, ...], days: tuple[float, float] | None
) -> None:
    assert wall_days(replace(CASE, amount=Amount(2000, "usd")), Sequence(steps)) == days
