"""What became of the customers of one month or quarter: revenue and customers left, NRR and GRR, at every later age.

A cohort is a customer's first month with revenue (D25). Age 0 is the close of the cohort's own period, which is the
base of its revenue and ratios; customers who came and left within it are counted as joined only. One set of rates for
the whole triangle, those at the opening of the last period, so that currency never looks like retention.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from billing.report.period import Period
from billing.report.retention import Ends
from billing.report.scope import Scope
from billing.report.table import Cell, Column, Kind, Table


class Measure(StrEnum):
    """What a triangle shows."""

    MRR = "mrr"
    LOGOS = "logos"
    NRR = "nrr"
    GRR = "grr"


UNITS = {1: "months", 3: "quarters"}
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
        for each in scope.aged(until, count)
        if each.joined
    )
    columns = tuple(replace(each, title=age_in(until)) if each.name == "age" else each for each in COLUMNS)
    return Table("cohorts", "Cohorts", columns, rows, _labels(scope, until, count), _notes(scope, until, count))


def triangle(scope: Scope, until: Period, measure: Measure = Measure.NRR, count: int = 36) -> Table:
    """The same as a triangle of one measure: a row for each cohort, a column for each age, None beyond the present."""
    kind = {Measure.MRR: Kind.MONEY, Measure.LOGOS: Kind.COUNT}.get(measure, Kind.RATIO)
    found: dict[Period, list[Cell]] = {}
    for each in scope.aged(until, count):
        if each.joined:
            row = found.setdefault(each.cohort, [each.cohort.start, each.joined])
            row.append(_figure(scope, each.ends, measure))
    first = (Column("cohort", "Cohort", Kind.DATE), Column("joined", "Customers who joined", Kind.COUNT))
    ages = tuple(Column(f"age_{age}", str(age), kind) for age in range(count))
    rows = tuple((*row, *[None] * (count + 2 - len(row))) for row in found.values())
    title = f"Cohorts: {measure.upper() if kind is not Kind.COUNT else 'customers'}"
    labels = (*_labels(scope, until, count), ("measure", str(measure)))
    return Table(f"cohorts_{measure}", title, (*first, *ages), rows, labels, _notes(scope, until, count))


def age_in(until: Period) -> str:
    """`Age in quarters`"""
    return f"Age in {UNITS.get(len(until.months()), 'periods')}"


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
    return (*scope.labels(_whole(until, count)), ("ages", age_in(until)))


def _notes(scope: Scope, until: Period, count: int) -> tuple[str, ...]:
    return scope.notes(_whole(until, count), (until,))


def _whole(until: Period, count: int) -> Period:
    return Period(until.back(count)[0].start, until.end, until.zone)
