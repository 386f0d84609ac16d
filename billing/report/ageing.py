"""Cohorts at every age, counted from histories; the same can be had from stored months (`Scope.aged`).

A cohort is a customer's first period with revenue; the close of that period is the base of everything later.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from billing.report.currency import Currency
from billing.report.period import Period
from billing.report.retention import Ends
from billing.report.rows import History


@dataclass(frozen=True, slots=True)
class Aged:
    """One cohort at one age."""

    cohort: Period
    joined: int
    age: int
    ends: Ends


def aged(customers: Iterable[History], until: Period, count: int, currency: Currency) -> list[Aged]:
    """Every cohort of the last `count` periods of `until`'s length, at every age up to `until`."""
    periods = until.back(count)
    opens = [period.opens for period in periods]
    joined = [0] * count
    sums = [[[0] * 5 for _ in range(count - cohort)] for cohort in range(count)]
    for history in customers:
        if not any(currency.includes(movement.amount.currency) for movement in history.movements):
            continue
        first = history.movements[0].effective_at
        cohort = bisect_right(opens, first) - 1
        if cohort >= 0 and first < until.closes:
            joined[cohort] += 1
            _add(sums[cohort], _closings(history, periods[cohort:], currency))
    return [
        Aged(periods[cohort], joined[cohort], age, Ends(*sums[cohort][age]))
        for cohort in range(count)
        for age in range(count - cohort)
    ]


def _add(sums: Sequence[list[int]], levels: Sequence[int]) -> None:
    """One customer into the sums of its cohort, in the order of the fields of `Ends`."""
    start = levels[0]
    if start <= 0:
        return  # it came and left within the period: outside the base
    for total, end in zip(sums, levels, strict=True):
        for at, more in enumerate((start, end, min(start, end), 1, int(end > 0))):
            total[at] += more


def _closings(history: History, periods: Sequence[Period], currency: Currency) -> list[int]:
    """What the customer had at the close of each period."""
    levels: dict[str, int] = defaultdict(int)
    found, movements = [], iter(history.movements)
    movement = next(movements, None)
    for period in periods:
        while movement is not None and movement.effective_at < period.closes:
            if currency.includes(movement.amount.currency):
                levels[movement.amount.currency] += movement.amount.minor
            movement = next(movements, None)
        found.append(sum(currency.at_opening(minor, code) for code, minor in levels.items()))
    return found
