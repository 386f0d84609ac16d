"""The rows of recoveries say of every period what the recoveries themselves say."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.ledger.movement import Step
from billing.report.rollup_recovery import Restored, Undone, restorations
from tests.billing.stories import DAY0

MONTHS = [202601, 202602, 202603, 202604, 202605]


def story(dice: random.Random) -> tuple[list[Undone], dict[int, list[Step]]]:
    """Recoveries of two subscriptions in the order of time, of losses of that month or of any before it."""
    found: list[Undone] = []
    for month in MONTHS:
        for _ in range(dice.randrange(3)):
            lost, paired = dice.choice(["sub_1", "sub_2"]), dice.randrange(2)
            lost_month = month if paired else dice.choice([each for each in MONTHS if each <= month])
            loss = f"pair_{len(found)}" if paired else f"{lost}_{lost_month}"
            minor = dice.randrange(1, 9) * 100
            living = dice.choice([lost, "sub_3"])
            found.append(Undone(len(found), month, lost_month, lost, loss, paired, minor, living))
    steps = {
        month: [
            Step(DAY0, "cus_1", sub, "usd", dice.randrange(8) * 100)
            for sub in ("sub_1", "sub_2", "sub_3")
            if dice.random() < 0.5
        ]
        for month in MONTHS
    }
    return found, steps


def by_definition(undone: list[Undone], steps: dict[int, list[Step]], a: int, b: int) -> tuple[int, int, int]:
    """(recovered, live, late): each subscription's largest recovery of a loss of the period, and of it what counts."""
    levels = {step.subscription: step.minor for month, some in steps.items() if month < b for step in some}
    minor: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    living: dict[str, str] = {}
    for each in undone:
        if a <= each.month < b and each.lost_month >= a:
            minor[each.lost_subscription][each.loss] += each.minor
            living[each.lost_subscription] = each.living
    largest = {lost: max(of_loss.values()) for lost, of_loss in minor.items()}
    live = sum(min(most, levels.get(living[lost], 0)) for lost, most in largest.items())
    late = sum(each.minor for each in undone if a <= each.month < b and each.lost_month < a)
    return sum(largest.values()), live, late


def by_rows(rows: list[Restored], a: int, b: int) -> tuple[int, int, int]:
    """The same as a bridge reads it."""
    most: dict[str, int] = defaultdict(int)
    level: dict[str, int] = defaultdict(int)
    for row in rows:
        if row.since < b <= row.until and a <= row.month < b and row.lost_month >= a:
            most[row.lost_subscription] = max(most[row.lost_subscription], row.restored)
            level[row.lost_subscription] += row.level if row.after < a else 0
    live = sum(min(minor, level[lost]) for lost, minor in most.items())
    return sum(most.values()), live, sum(row.late for row in rows if a <= row.month < b and row.lost_month < a)


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False))
def test_rows_of_recoveries_say_of_every_period_what_the_recoveries_say(dice: random.Random) -> None:
    undone, steps = story(dice)
    rows = list(restorations("cus_1", "usd", undone, steps))
    assert len({(row.number, row.since) for row in rows}) == len(rows)
    for a, b in combinations([*MONTHS, 202606], 2):
        assert by_rows(rows, a, b) == by_definition(undone, steps, a, b)
