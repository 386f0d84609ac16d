"""What became of the customers of one month or quarter: revenue and customers left, NRR and GRR, at every later age.

A cohort is a customer's first month with revenue (D25). Age 0 is the close of the cohort's own period, which is the
base of its revenue and ratios; customers who came and left within it are counted as joined only. One set of rates for
the whole triangle, those at the opening of the last period, so that currency never looks like retention.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from billing.report.currency import Currency
from billing.report.period import Period
from billing.report.retention import Ends, ends
from billing.report.rows import History
from billing.report.scope import Scope
from billing.report.table import Cell, Column, Kind, Table


class Measure(StrEnum):
    """What a triangle shows."""

    MRR = "mrr"
    LOGOS = "logos"
    NRR = "nrr"
    GRR = "grr"


@dataclass(frozen=True, slots=True)
class Aged:
    """One cohort at one age."""

    cohort: Period
    joined: int
    age: int
    ends: Ends


def cells(scope: Scope, until: Period, count: int = 36) -> list[Aged]:
    """Every cohort of the last `count` periods of `until`'s length, at every age up to `until`."""
    periods = until.back(count)
    currency = scope.currency(until)
    joined: dict[int, list[list[int]]] = defaultdict(list)
    opens = [period.opens for period in periods]
    for history in scope.histories.values():
        if not any(currency.includes(movement.amount.currency) for movement in history.movements):
            continue
        first = history.movements[0].effective_at
        cohort = bisect_right(opens, first) - 1
        if cohort >= 0 and first < until.closes:
            joined[cohort].append(_closings(history, periods[cohort:], currency))
    return [
        Aged(periods[cohort], len(joined[cohort]), age, ends((levels[0], levels[age]) for levels in joined[cohort]))
        for cohort in range(count)
        for age in range(count - cohort)
    ]


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


COLUMNS = (
    Column("cohort", "Cohort", Kind.DATE),
    Column("joined", "Customers who joined", Kind.COUNT),
    Column("age", "Age in periods", Kind.COUNT),
    Column("mrr", "MRR", Kind.MONEY),
    Column("logos", "Customers", Kind.COUNT),
    Column("nrr", "NRR since age 0", Kind.RATIO),
    Column("grr", "GRR since age 0", Kind.RATIO),
    Column("logo_retention", "Logo retention since age 0", Kind.RATIO),
)


def cohorts(scope: Scope, until: Period, count: int = 36) -> Table:
    """One row for each cohort and age; for cohorts of quarters `until` is a quarter."""
    rows = tuple(
        (
            each.cohort.start,
            each.joined,
            each.age,
            scope.amount(each.ends.end),
            each.ends.logos_end,
            each.ends.nrr,
            each.ends.grr,
            each.ends.logo_retention,
        )
        for each in cells(scope, until, count)
        if each.joined
    )
    return Table("cohorts", "Cohorts", COLUMNS, rows, _labels(scope, until, count), _notes(scope, until, count))


def triangle(scope: Scope, until: Period, measure: Measure = Measure.NRR, count: int = 36) -> Table:
    """The same as a triangle of one measure: a row for each cohort, a column for each age, None beyond the present."""
    kind = {Measure.MRR: Kind.MONEY, Measure.LOGOS: Kind.COUNT}.get(measure, Kind.RATIO)
    found: dict[Period, list[Cell]] = {}
    for each in cells(scope, until, count):
        if each.joined:
            row = found.setdefault(each.cohort, [each.cohort.start, each.joined])
            row.append(_figure(scope, each.ends, measure))
    first = (Column("cohort", "Cohort", Kind.DATE), Column("joined", "Customers who joined", Kind.COUNT))
    ages = tuple(Column(f"age_{age}", str(age), kind) for age in range(count))
    rows = tuple((*row, *[None] * (count + 2 - len(row))) for row in found.values())
    title = f"Cohorts: {measure.upper() if kind is not Kind.COUNT else 'customers'}"
    labels = (*_labels(scope, until, count), ("measure", str(measure)))
    return Table(f"cohorts_{measure}", title, (*first, *ages), rows, labels, _notes(scope, until, count))


def _figure(scope: Scope, made: Ends, measure: Measure) -> Cell:
    match measure:
        case Measure.MRR:
            return scope.amount(made.end)
        case Measure.LOGOS:
            return made.logos_end
        case Measure.NRR:
            return made.nrr
        case Measure.GRR:
            return made.grr


def _labels(scope: Scope, until: Period, count: int) -> tuple[tuple[str, str], ...]:
    return scope.labels(_whole(until, count))


def _notes(scope: Scope, until: Period, count: int) -> tuple[str, ...]:
    return scope.notes(_whole(until, count))


def _whole(until: Period, count: int) -> Period:
    return Period(until.back(count)[0].start, until.end, until.zone)
