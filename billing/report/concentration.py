"""Whether a few accounts carry the figure: the ten largest apart from the rest, with the two warnings of investors.

The ten are those of the opening base, by account where several customers are one (metrics definitions, 1.2, Q8).
"""

from __future__ import annotations

from collections import defaultdict
from heapq import nsmallest

from billing.report.bridge import Basis
from billing.report.period import Period
from billing.report.retention import GAP_WARNING, SHARE_WARNING, ratio, warns
from billing.report.rows import Row, add
from billing.report.scope import Scope
from billing.report.statement import RATIOS, cells, columns
from billing.report.table import Cell, Column, Kind, Table

COLUMNS = (
    Column("group", "Accounts", Kind.TEXT),
    Column("accounts", "Number", Kind.COUNT),
    Column("start", "Opening MRR", Kind.MONEY),
    Column("share", "Share of the opening", Kind.RATIO),
    Column("retained", "Retained", Kind.MONEY),
    *columns(RATIOS),
    Column("share_warning", "Over 30 % of the opening", Kind.FLAG),
    Column("gap_warning", "Gap over 30 points", Kind.FLAG),
)


def concentration(scope: Scope, period: Period, largest: int = 10) -> Table:
    """Three rows: the largest accounts, the rest, all; and a sentence for each warning."""
    sizes: dict[str, int] = defaultdict(int)
    for row in scope.rows(period):
        if row.start:
            sizes[scope.account(row.customer, period.opens)] += row.start
    top = set(nsmallest(largest, sizes, key=lambda name: (-sizes[name], name)))
    totals = {name: Row("") for name in ("largest", "rest", "all")}
    for row in scope.rows(period):
        if row.start:
            for name in ("largest" if scope.account(row.customer, period.opens) in top else "rest", "all"):
                add(totals[name], row)
    whole = totals["all"].start
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    numbers = {"largest": len(top), "rest": len(sizes) - len(top), "all": len(sizes)}
    for name, members in numbers.items():
        made = scope.added([totals[name]], period)
        share, gap = ratio(made.start, whole), made.gap
        heavy = name == "largest" and share is not None and share > SHARE_WARNING
        if heavy:
            share_text = f"more than {SHARE_WARNING.numerator * 100 // SHARE_WARNING.denominator} %"
            notes.append(f"The {members} largest accounts hold {share_text} of the opening: look at them apart.")
        if name == "all" and warns(gap):
            points = GAP_WARNING.numerator * 100 // GAP_WARNING.denominator
            notes.append(f"NRR and GRR lie more than {points} points apart: growth of few hides losses of many.")
        amounts = (scope.amount(made.start), share, scope.amount(made.retained))
        flags = (heavy if name == "largest" else None, None if gap is None else warns(gap))
        rows.append((name, members, *amounts, *cells(RATIOS, made), *flags))
    labels = (*scope.labels(period, Basis.NETTED), ("largest", str(largest)))
    return Table("concentration", "Concentration", COLUMNS, tuple(rows), labels, (*notes, *scope.notes(period)))
