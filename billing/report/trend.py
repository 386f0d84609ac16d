"""Retention over time: NRR, GRR, their gap and logo retention, of each month and of the twelve months up to it.

A twelve-month ratio is one bridge over twelve months, never a product of monthly ones (metrics definitions, 4.4).
"""

from __future__ import annotations

from fractions import Fraction

from billing.report.bridge import Basis, Bridge
from billing.report.period import Period
from billing.report.retention import warns
from billing.report.scope import Scope
from billing.report.statement import PRIOR, RATIOS, cells, columns
from billing.report.table import Cell, Column, Kind, Table

COLUMNS = (
    Column("month", "Month", Kind.DATE),
    Column("start", "Opening MRR", Kind.MONEY),
    Column("end", "Closing MRR", Kind.MONEY),
    *(Column(line.name, f"{line.title}, month", line.kind) for line in RATIOS),
    Column("nrr_without_recovery", "NRR without recovered MRR, month", Kind.RATIO),
    *(Column(f"{line.name}_ttm", f"{line.title}, twelve months", line.kind) for line in RATIOS),
    Column("gap_warning", "Gap over 30 points", Kind.FLAG),
)
NOT_KNOWN = (None,) * len(RATIOS)
APART = "Monthly ratios are noisier than those of twelve months; never compare the one with the other."


def trend(scope: Scope, until: Period, months: int = 24) -> Table:
    """One row per month, the last of them `until`; nothing is known of months before the books begin, nor
    a ratio without an opening base."""
    shown = until.back(months)
    since = scope.since
    asked = [month.trailing(12) for month in shown if since and since < month.trailing(12).opens]  # else without a base
    monthly, years = scope.bridges(shown), dict(zip(asked, scope.bridges(asked), strict=True)) if asked else {}
    rows: list[tuple[Cell, ...]] = []
    for month, made in zip(shown, monthly, strict=True):
        if since is None or month.closes <= since:
            rows.append((month.start, *[None] * (len(COLUMNS) - 1)))
            continue
        year = years.get(month.trailing(12))
        amounts = (scope.amount(made.start), scope.amount(made.end))
        ratios = (*_ratios(made), made.nrr_without_recovery, *(_ratios(year) if year else NOT_KNOWN))
        rows.append((month.start, *amounts, *ratios, warns(year.gap) if year and year.gap is not None else None))
    titles = COLUMNS
    if any(made.closed_start is not None for made in monthly):
        titles = (*titles, *columns(PRIOR))
        rows = [(*row, *cells(PRIOR, made)) for row, made in zip(rows, monthly, strict=True)]
    whole = Period(shown[0].start, until.end, until.zone)
    notes = (APART, *scope.notes(whole, (*shown, *asked)))
    return Table("trend", "Retention trend", titles, tuple(rows), scope.labels(whole, Basis.NETTED), notes)


def _ratios(bridge: Bridge) -> tuple[Fraction | None, ...]:
    return bridge.nrr, bridge.grr, bridge.gap, bridge.logo_retention
