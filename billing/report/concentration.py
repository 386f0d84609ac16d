"""Whether a few accounts carry the figure: the ten largest apart from the rest, with the two warnings of investors.

The ten are those of the opening base, by account where several customers are one (metrics definitions, 1.2, Q8).
"""

from __future__ import annotations

from collections import defaultdict

from billing.report.bridge import Basis
from billing.report.period import Period
from billing.report.retention import GAP_WARNING, SHARE_WARNING, ratio, warns
from billing.report.rows import Row
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
    accounts: dict[str, list[Row]] = defaultdict(list)
    for row in scope.rows(period):
        if row.start:
            accounts[scope.profile(row.customer, period.opens).account or row.customer].append(row)
    by_size = sorted(accounts, key=lambda name: (-sum(row.start for row in accounts[name]), name))
    whole = sum(row.start for rows in accounts.values() for row in rows)
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    groups = (("largest", by_size[:largest]), ("rest", by_size[largest:]), ("all", by_size))
    for name, members in groups:
        made = scope.added([row for member in members for row in accounts[member]], period)
        share, gap = ratio(made.start, whole), made.gap
        heavy = name == "largest" and share is not None and share > SHARE_WARNING
        if heavy:
            share_text = f"more than {SHARE_WARNING.numerator * 100 // SHARE_WARNING.denominator} %"
            notes.append(f"The {len(members)} largest accounts hold {share_text} of the opening: look at them apart.")
        if name == "all" and warns(gap):
            points = GAP_WARNING.numerator * 100 // GAP_WARNING.denominator
            notes.append(f"NRR and GRR lie more than {points} points apart: growth of few hides losses of many.")
        amounts = (scope.amount(made.start), share, scope.amount(made.retained))
        flags = (heavy if name == "largest" else None, None if gap is None else warns(gap))
        rows.append((name, len(members), *amounts, *cells(RATIOS, made), *flags))
    labels = (*scope.labels(period, Basis.NETTED), ("largest", str(largest)))
    return Table("concentration", "Concentration", COLUMNS, tuple(rows), labels, (*notes, *scope.notes(period)))
