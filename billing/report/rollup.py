"""Each customer's months, so that no report grows with history: what it had, what moved, and what is at risk.

A row stands for a month in which anything happened, and for the quiet months after it, up to `until`. The level lines
are sums since the first movement, so any period of whole months is the difference of two rows. What such a difference
cannot tell, which losses of a period were undone within it, stands in `Restored`. The fold can always make them anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from billing.ledger.movement import Book, Case, Line, Movement, Standing, Step
from billing.report.rollup_recovery import FOREVER as FOREVER
from billing.report.rollup_recovery import Restored, Undone, restorations, undoings
from billing.report.rows import History, histories

HERE, LEFT, LOST = 0, 1, 2  # of `standing`: has a subscription; gone by decision; gone because nobody paid


class Month(NamedTuple):
    """One customer, currency and month. Months are numbers like 202603, amounts native minor units a month.

    The lines from `expansion` to `recovered_live` are this month's, netted, and positive as the bridge prints them;
    those that begin with `sum_` are activity from the first movement to the end of this month.
    """

    customer: str
    currency: str
    month: int
    until: int  # the month of the customer's next row: this one stands before it
    cohort: int  # of the customer's first movement in any currency
    cohort_base: int  # the level at the end of that month, in this currency
    opening: int
    closing: int
    expansion: int
    downgrade: int
    restructuring: int
    voluntary_churn: int
    gross_involuntary_churn: int
    recovered_involuntary_churn: int
    new_business: int
    reactivation: int
    late_recovery: int  # inside expansion or reactivation
    recovered_live: int
    sum_new: int
    sum_expansion: int
    sum_reactivation: int
    sum_downgrade: int
    sum_restructuring: int
    sum_voluntary: int
    sum_involuntary: int  # without the halves of pairs
    sum_paired: int  # lost and recovered at one instant
    sum_returned: int  # recovered after a loss
    standing: int
    at_risk_opening: int
    at_risk: int
    at_risk_cases_opening: int
    at_risk_cases: int
    at_risk_since: datetime | None


class RolledUp(NamedTuple):
    """Sorted by customer, currency and month, so that the same book gives the same rows."""

    months: list[Month]
    restored: list[Restored]


def roll_up(book: Book, zone: str) -> RolledUp:
    """The rows of every customer of a book; months begin at midnight in `zone`."""
    rolled, clock = RolledUp([], []), Clock(zone)
    for customer, history in sorted(histories(book).items()):
        roll_up_customer(customer, history, clock, rolled)
    return rolled


class Clock(dict[datetime, int]):
    """The month of an instant, such as 202603. Remembers, because converting a zone is dear and instants repeat."""

    def __init__(self, zone: str) -> None:
        super().__init__()
        self._zone = ZoneInfo(zone)

    def __missing__(self, at: datetime) -> int:
        if len(self) > 100_000:
            self.clear()
        local = at.astimezone(self._zone)
        month = self[at] = local.year * 100 + local.month
        return month


def roll_up_customer(customer: str, history: History, clock: Clock, rolled: RolledUp) -> None:
    """Add one customer's rows; its history is in the order of time."""
    if not history.movements:
        return
    moved: dict[str, dict[int, list[Movement]]] = defaultdict(lambda: defaultdict(list))
    for movement in history.movements:
        moved[movement.amount.currency][clock[movement.effective_at]].append(movement)
    cohort = min(next(iter(by_month)) for by_month in moved.values())
    standings = {clock[each.at]: _standing(each) for each in history.standings}
    for currency in sorted(moved):
        steps: dict[int, list[Step]] = defaultdict(list)
        for step in history.steps:
            if step.currency == currency:
                steps[clock[step.at]].append(step)
        cases = [
            (clock[case.opened_at], clock[case.closed_at] if case.closed_at else FOREVER, case)
            for case in history.cases
            if case.opened.currency == currency
        ]
        undone = undoings(moved[currency])
        rolled.restored.extend(restorations(customer, currency, undone, steps))
        rolled.months.extend(_months(customer, currency, cohort, moved[currency], steps, cases, standings, undone))


def _standing(standing: Standing) -> int:
    if standing.alive:
        return HERE
    return LOST if standing.because is Line.INVOLUNTARY else LEFT


# The place of a line among the sums, and how its amount counts there.
_NEW, _EXPANSION, _REACTIVATION, _DOWNGRADE, _RESTRUCTURING, _VOLUNTARY, _INVOLUNTARY, _PAIRED, _RETURNED = range(9)
_SUMS: Mapping[Line, tuple[int, int]] = {
    Line.NEW: (_NEW, 1),
    Line.EXPANSION: (_EXPANSION, 1),
    Line.REACTIVATION: (_REACTIVATION, 1),
    Line.DOWNGRADE: (_DOWNGRADE, -1),
    Line.RESTRUCTURING: (_RESTRUCTURING, -1),
    Line.VOLUNTARY: (_VOLUNTARY, -1),
    Line.INVOLUNTARY: (_INVOLUNTARY, -1),
    Line.RECOVERED: (_RETURNED, 1),
}
_NOTHING = (0,) * 10


def _months(
    customer: str,
    currency: str,
    cohort: int,
    moved: Mapping[int, list[Movement]],
    steps: Mapping[int, list[Step]],
    cases: Sequence[tuple[int, int, Case]],
    standings: Mapping[int, int],
    restored: Sequence[Undone],
) -> Iterator[Month]:
    """One customer's revenue in one currency, walked through month by month."""
    first = next(iter(moved))
    turns = {month for opened, closed, _ in cases for month in (opened, closed) if month != FOREVER}
    months = sorted(month for month in {*moved, *steps, *standings, *turns} if month >= first)
    base = sum(each.amount.minor for each in moved.get(cohort, ()))
    standing = standings[max(before)] if (before := [month for month in standings if month < first]) else HERE
    levels: dict[str, int] = {}
    sums = [0] * 9
    closing = risk = number = 0
    for month, until in pairwise([*months, FOREVER]):
        opening, risk_opening, number_opening, before_sums = closing, risk, number, sums.copy()
        for step in steps.get(month, ()):
            levels[step.subscription] = step.minor
        standing = standings.get(month, standing)
        lines: tuple[int, ...] = _NOTHING
        if month in moved:
            for each in moved[month]:
                if not each.pair:
                    place, sign = _SUMS[each.line]
                    sums[place] += sign * each.amount.minor
                    closing += each.amount.minor
                elif each.line is Line.RECOVERED:
                    sums[_PAIRED] += each.amount.minor
            changes = [now - then for now, then in zip(sums, before_sums, strict=True)]
            undone = [each for each in restored if each.month == each.lost_month == month]
            lines = _netted(opening, closing, standing, changes, undone, levels, month == cohort)
        risk, number, since = _at_risk(month, cases, levels)
        ends = (month, until, cohort, base, opening, closing)
        danger = (risk_opening, risk, number_opening, number, since)
        yield Month._make((customer, currency, *ends, *lines, *sums, standing, *danger))


def _netted(
    start: int,
    end: int,
    standing: int,
    changes: Sequence[int],
    undone: Sequence[Undone],
    levels: Mapping[str, int],
    first: bool,
) -> tuple[int, ...]:
    """The netting rule (4.2) on the sums of one month; the same as `rows.netted` says, and a test holds that."""
    returned = changes[_RETURNED]
    if not start:
        new = end if first else 0
        return (*_NOTHING[:6], new, end - new, 0 if first else min(end, returned), 0)
    together = sum(each.minor for each in undone if not each.paired)
    late = returned - together
    gains = changes[_NEW] + changes[_EXPANSION] + changes[_REACTIVATION] + late
    involuntary = changes[_INVOLUNTARY] - together
    downgrade, restructuring, voluntary = changes[_DOWNGRADE], changes[_RESTRUCTURING], changes[_VOLUNTARY]
    if end >= start:
        downgrade = restructuring = voluntary = involuntary = 0
    elif end or standing == HERE:
        downgrade, gains = _take(downgrade + voluntary, gains)
        restructuring, gains = _take(restructuring, gains)
        involuntary, gains = _take(involuntary, gains)
        voluntary = 0
    elif standing == LOST:
        involuntary, gains = _take(involuntary + downgrade + restructuring, gains)
        voluntary, gains = _take(voluntary, gains)
        downgrade = restructuring = 0
    else:
        voluntary, gains = _take(voluntary + downgrade + restructuring, gains)
        involuntary, gains = _take(involuntary, gains)
        downgrade = restructuring = 0
    recovered = live = 0
    if undone:
        recovered, live = _grossed_up(undone, levels)
    expansion = max(end - start, 0)
    return expansion, downgrade, restructuring, voluntary, involuntary + recovered, recovered, 0, 0, late, live


def _take(loss: int, gains: int) -> tuple[int, int]:
    """What is left of a loss and of the gains that are taken off it."""
    taken = min(loss, gains)
    return loss - taken, gains - taken


def _grossed_up(undone: Sequence[Undone], levels: Mapping[str, int]) -> tuple[int, int]:
    """Each lost subscription's largest recovery, once (3.3, rule 9), and what of it still counts."""
    restored: dict[tuple[str, str], int] = defaultdict(int)
    living: dict[str, str] = {}
    for each in undone:
        restored[each.lost_subscription, each.loss] += each.minor
        living[each.lost_subscription] = each.living
    largest: dict[str, int] = defaultdict(int)
    for (subscription, _), minor in restored.items():
        largest[subscription] = max(largest[subscription], minor)
    live = sum(min(minor, levels.get(living[subscription], 0)) for subscription, minor in largest.items())
    return sum(largest.values()), live


def _at_risk(
    month: int, cases: Sequence[tuple[int, int, Case]], levels: Mapping[str, int]
) -> tuple[int, int, datetime | None]:
    """Revenue of open cases at the end of the month, their number, and the oldest failure."""
    risk, number, since = 0, 0, None
    for opened, closed, case in cases:
        if opened <= month < closed:
            risk += levels.get(case.subscription, 0)
            number += 1
            since = min(since or case.opened_at, case.opened_at)
    return risk, number, since
