"""Which picture a table is drawn as: the bridge as a waterfall, the trend as lines, a triangle as a heat map.

Only reads cells; the figures and their labels are the table's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from billing.money import Amount, exponent
from billing.report.statement import LINES, LOSSES_SUBTRACT, NET_TITLES
from billing.report.table import Cell, Kind, Table
from worker.reports import cells
from worker.reports.pictures import Bar, Curve, HeatMap, Picture, Trend, Waterfall

LEVELS = frozenset({"start", "retained", "end"})
LOSSES = frozenset({"downgrade", "restructuring", "voluntary_churn", "gross_involuntary_churn"})
PROMISE = "recovered_involuntary_churn"
RATIOS = (("nrr", "NRR", "%"), ("grr", "GRR", "%"), ("gap", "gap", "points"))
CURVES = (("nrr", "NRR"), ("grr", "GRR"), ("logo_retention", "logo retention"))
FEWEST = 2  # places with a twelve-month figure, below which the monthly ones are drawn


class NoPicture(ValueError):
    """This table has no picture; the message says which have one."""


def picture(table: Table) -> Picture:
    """Raises NoPicture."""
    for prefix, draw in DRAWN.items():
        if table.name.startswith(prefix):
            if not table.rows:
                raise NoPicture(f"{table.title}: nothing to draw")
            return draw(table)
    raise NoPicture(f"{table.name} has no picture: bridge, trend and cohorts have one")


def waterfall(table: Table) -> Waterfall:
    """The last period of a bridge; in net display, and without currency, there are fewer bars."""
    row = _row(table, -1)
    net = dict(table.labels).get("display") == "net"
    bars = []
    unit = ""
    for line in LINES:
        amount = row.get(line.name)
        if not isinstance(amount, Amount) or (net and line.name == PROMISE) or (line.name == "fx" and not amount.minor):
            continue
        unit = cells.unit(amount)
        name = NET_TITLES.get(line.name, line.title) if net else line.title
        shown = -amount if line.name in LOSSES else amount
        value = shown.minor / 10 ** exponent(shown.currency)
        rises = line.name not in LEVELS and shown.minor > 0
        text = f"{'+' if rises else ''}{cells.shown(shown, Kind.MONEY)}"
        bars.append(Bar(name, value, text, line.name in LEVELS, line.name == PROMISE))
    ratios = ", ".join(f"{name} {_percent(row[key], sign)}" for key, name, sign in RATIOS if row[key] is not None)
    begin, end = (cells.exact(row[name]) for name in ("period_start", "period_end"))
    title = f"{table.title}, {begin} to {end}{': ' if ratios else ''}{ratios}"
    said = [each for each in _said(table) if each[1] != LOSSES_SUBTRACT]  # the picture shows them below zero
    return Waterfall(title, (("period", f"{begin} to {end}, end excluded"), *said), bars, unit)


def curves(table: Table) -> Trend:
    """Twelve-month ratios as soon as there are some, else those of the months; from the first that is known."""
    rows = [_row(table, at) for at in range(len(table.rows))]
    yearly = sum(row["nrr_ttm"] is not None for row in rows) >= FEWEST
    tail, said = ("_ttm", "trailing twelve months") if yearly else ("", "single months")
    first = next((at for at, row in enumerate(rows) if any(row[key + tail] is not None for key, _ in CURVES)), 0)
    rows = rows[first:]
    drawn = [Curve(name, [_number(row[key + tail]) for row in rows]) for key, name in CURVES]
    return Trend(f"{table.title}, {said}", _said(table), [cells.exact(row["month"])[:7] for row in rows], drawn)


def heat_map(table: Table) -> HeatMap:
    """A triangle of ratios; of amounts or customers each row in percent of its first cell."""
    ages = [at for at, column in enumerate(table.columns) if column.name.startswith("age_")]
    if not ages:
        raise NoPicture("cohorts as a list have no picture: choose one measure")
    lines = [[_share(row[at], row[ages[0]]) for at in ages] for row in table.rows]
    wide = max((len(line) - line[::-1].index(known) for line in lines for known in _last(line)), default=0)
    if not wide:
        raise NoPicture(f"{table.title}: no cohort has a figure to draw")
    as_share = "" if table.columns[ages[0]].kind is Kind.RATIO else ", percent of age 0"
    names = [f"{cells.exact(row[0])[:7]}  ({cells.exact(row[1])})" for row in table.rows]
    columns = [table.columns[at].title for at in ages[:wide]]
    shown = [line[:wide] for line in lines]
    title = f"{table.title}{as_share}"
    return HeatMap(
        title,
        _said(table),
        names,
        columns,
        shown,
        "Cohort (customers who joined)",
        f"{dict(table.labels).get('ages', 'Age')} (the darker, the more is left)",
    )


def _said(table: Table) -> tuple[tuple[str, str], ...]:
    """The labels and notes as a person reads them: a picture travels alone."""
    return (*((name, cells.label(value)) for name, value in table.labels), *(("note", note) for note in table.notes))


def _last(line: list[float | None]) -> list[float]:
    """The last figure of a row, if it has any."""
    return [value for value in line if value is not None][-1:]


def _share(cell: Cell, first: Cell) -> float | None:
    match cell, first:
        case Fraction(), _:
            return float(cell * 100)
        case Amount(minor=part), Amount(minor=whole) if whole:
            return part / whole * 100
        case int(), int() if first:
            return cell / first * 100
        case _:
            return None


def _row(table: Table, at: int) -> dict[str, Cell]:
    return {column.name: cell for column, cell in zip(table.columns, table.rows[at], strict=True)}


def _number(cell: Cell) -> float | None:
    return float(cell * 100) if isinstance(cell, Fraction) else None


def _percent(cell: Cell, sign: str) -> str:
    return cells.shown(cell, Kind.RATIO).replace("%", sign)


DRAWN: Mapping[str, Callable[[Table], Picture]] = {"bridge": waterfall, "trend": curves, "cohorts": heat_map}
