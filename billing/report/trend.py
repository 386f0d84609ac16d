"""Retention over time: NRR, GRR, their gap and logo retention, of each month and of the twelve months up to it.

A twelve-month ratio is one bridge over twelve months, never a product of monthly ones (metrics definitions, 4.4).
"""

from __future__ import annotations

from fractions import Fraction

from billing.report.bridge import Basis, Bridge
from billing.report.period import Period
from billing.report.retention import warns
from billing.report.scope import Scope
from billing.report.statement import RATIOS
from billing.report.table import Cell, Column, Kind, Table

COLUMNS = (
    Column("month", "Month", Kind.DATE),
    Column("start", "Opening MRR", Kind.MONEY),
    Column("end", "Closing MRR", Kind.MONEY),
    *(Column(line.name, f"{line.title}, month", Kind.RATIO) for line in RATIOS),
    Column("nrr_without_recovery", "NRR without recovered MRR, month", Kind.RATIO),
    *(Column(f"{line.name}_ttm", f"{line.title}, twelve months", Kind.RATIO) for line in RATIOS),
    Column("gap_warning", "Gap over 30 points", Kind.FLAG),
)
NOT_KNOWN = (None,) * len(RATIOS)
APART = "Monthly ratios are noisier than those of twelve months; never compare the one with the other."


def trend(scope: Scope, until: Period, months: int = 24) -> Table:
    """One row per month, the last of them `until`; a ratio without an opening base is not known."""
    rows: list[tuple[Cell, ...]] = []
    since = scope.since
    for month in until.back(months):
        made = scope.bridge(month)
        known = since is not None and since < month.trailing(12).opens  # before, the ratios have no base
        year = scope.bridge(month.trailing(12)) if known else None
        amounts = (scope.amount(made.start), scope.amount(made.end))
        ratios = (*_ratios(made), made.nrr_without_recovery, *(_ratios(year) if year else NOT_KNOWN))
        rows.append((month.start, *amounts, *ratios, warns(year.gap) if year and year.gap is not None else None))
    whole = Period(until.back(months)[0].start, until.end, until.zone)
    notes = (APART, *scope.notes(whole))
    return Table("trend", "Retention trend", COLUMNS, tuple(rows), scope.labels(whole, Basis.NETTED), notes)


def _ratios(bridge: Bridge) -> tuple[Fraction | None, ...]:
    return bridge.nrr, bridge.grr, bridge.gap, bridge.logo_retention
