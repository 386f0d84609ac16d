"""Bridges as tables: one row for each period or segment, one column for each line, and the ratios beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from billing.money import Amount
from billing.report.bridge import Basis, Bridge, nrr_as_reported
from billing.report.period import Period
from billing.report.scope import Scope
from billing.report.table import Cell, Column, Kind, Table


@dataclass(frozen=True, slots=True)
class Line:
    """One column of a bridge."""

    name: str
    title: str
    kind: Kind
    only: Basis | None = None

    def cell(self, bridge: Bridge) -> Cell:
        value: Cell = getattr(bridge, self.name)
        return Amount(value, bridge.unit) if self.kind is Kind.MONEY and isinstance(value, int) else value


LINES = (
    Line("start", "Opening MRR", Kind.MONEY),
    Line("expansion", "Expansion", Kind.MONEY),
    Line("downgrade", "Downgrade", Kind.MONEY),
    Line("restructuring", "Contract restructuring", Kind.MONEY),
    Line("voluntary_churn", "Voluntary churn", Kind.MONEY),
    Line("gross_involuntary_churn", "Gross involuntary churn", Kind.MONEY),
    Line("recovered_involuntary_churn", "Recovered involuntary churn", Kind.MONEY),
    Line("retained", "Retained from the opening base", Kind.MONEY, Basis.NETTED),
    Line("new_business", "New business", Kind.MONEY),
    Line("reactivation", "Reactivation", Kind.MONEY),
    Line("recovered_late", "Recovered after the period of the loss", Kind.MONEY, Basis.ACTIVITY),
    Line("fx", "Currency", Kind.MONEY),
    Line("end", "Closing MRR", Kind.MONEY),
)
NET_TITLES = {"gross_involuntary_churn": "Involuntary churn, net of recovered"}
NET_LINES = tuple(replace(line, title=NET_TITLES.get(line.name, line.title)) for line in LINES)
PRIOR = (
    Line("closed_start", "Opening MRR as closed", Kind.MONEY),
    Line("prior_period", "Prior-period adjustment", Kind.MONEY),
)
MEMOS = (
    Line("recovered_live", "Recovered and still live at the close", Kind.MONEY),
    Line("late_recovery", "Late recovery, inside reactivation or expansion", Kind.MONEY, Basis.NETTED),
    Line("at_risk", "At risk at the close", Kind.MONEY),
    Line("at_risk_cases", "Open cases at the close", Kind.COUNT),
)
RATIOS = (
    Line("nrr", "NRR", Kind.RATIO),
    Line("grr", "GRR", Kind.RATIO),
    Line("gap", "Gap", Kind.POINTS),
    Line("logo_retention", "Logo retention", Kind.RATIO),
)
NRRS = (
    Line("nrr_if_at_risk_lost", "NRR if all at risk were lost", Kind.RATIO),
    Line("nrr_without_recovery", "NRR without recovered MRR still live", Kind.RATIO),
)
LOGOS = (
    Line("logos_start", "Customers at the opening", Kind.COUNT),
    Line("logos_lost", "Of them lost", Kind.COUNT),
)
NET_OF_RECOVERED = "What failed and was paid again in the period is taken out of both lines: recovered shows nothing."
LOSSES_SUBTRACT = "Losses are positive and subtracted: opening + gains - losses = closing."


def columns(lines: Sequence[Line], basis: Basis = Basis.NETTED) -> tuple[Column, ...]:
    return tuple(Column(line.name, line.title, line.kind) for line in chosen(lines, basis))


def cells(lines: Sequence[Line], bridge: Bridge) -> tuple[Cell, ...]:
    return tuple(line.cell(bridge) for line in chosen(lines, bridge.basis))


def chosen(lines: Sequence[Line], basis: Basis) -> list[Line]:
    return [line for line in lines if line.only in (None, basis)]


def bridge_table(
    scope: Scope,
    periods: Sequence[Period],
    basis: Basis = Basis.NETTED,
    display: str = "gross",
    made: Callable[[Period], Bridge] | None = None,
) -> Table:
    """One row per period. `display` is gross or net; `made` gives bridges made elsewhere."""
    bridges = [made(period) for period in periods] if made else scope.bridges(periods, basis)
    shown = [bridge.net() if display == "net" else bridge for bridge in bridges]
    lines = [*(NET_LINES if display == "net" else LINES), *MEMOS, *RATIOS, *NRRS, *LOGOS]
    if any(bridge.closed_start is not None for bridge in bridges):
        lines = [*PRIOR, *lines]
    first = (Column("period_start", "From", Kind.DATE), Column("period_end", "Until, excluded", Kind.DATE))
    rows: list[tuple[Cell, ...]] = [(each.period.start, each.period.end, *cells(lines, each)) for each in shown]
    titles = (*first, *columns(lines, basis))
    if scope.rates is not None:
        titles = (*titles, Column("nrr_as_reported", "NRR as reported, currency effects inside", Kind.RATIO))
        rows = [(*row, nrr_as_reported(scope.rows(period))) for row, period in zip(rows, periods, strict=True)]
    whole = Period(periods[0].start, periods[-1].end, periods[0].zone)
    notes = (LOSSES_SUBTRACT, *([NET_OF_RECOVERED] if display == "net" else []), *scope.notes(whole, periods))
    labels = (*scope.labels(whole, basis), ("display", display))
    return Table("bridge", "NRR bridge", titles, tuple(rows), labels, notes)
