"""A terminal of any width: no figure is cut or broken, no line is wider than the screen, nothing is left out."""

from __future__ import annotations

import io
import re
from datetime import date
from fractions import Fraction

import pytest

from billing.money import Amount
from billing.report.period import Period
from billing.report.statement import bridge_table
from billing.report.table import Cell, Column, Kind, Table
from billing.report.trend import trend
from tests.reports.tables import scope
from worker.reports import cells, terminal

FEBRUARY = Period.month("2026-02")


def lines(table: Table, width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a terminal of that many columns shows, without its colours."""
    monkeypatch.setenv("COLUMNS", str(width))
    out = io.StringIO()
    terminal.write([table], out, styled=True)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()


def months(count: int = 8) -> Table:
    """Many columns of long figures, told apart by the first one."""
    money = [Column(f"c{at}", f"Some long heading {at}", Kind.MONEY) for at in range(9)]
    columns = (Column("month", "Month", Kind.DATE), *money)
    rows: list[tuple[Cell, ...]] = [
        (date(2026, number + 1, 1), *(Amount(123_456_789_00 + number * 10 + at, "usd/mo") for at in range(9)))
        for number in range(count)
    ]
    return Table("wide", "Wide", columns, tuple(rows), (("as known at", "2026-03-02T10:11:12.345678+00:00"),), ())


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_every_figure_stands_whole_in_one_line_of_the_screen(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    table = months()
    shown = lines(table, width, monkeypatch)
    assert max(map(len, shown)) <= width
    words = " ".join(shown).split()
    for row in table.rows:
        for cell in row[1:]:
            assert words.count(cells.shown(cell, Kind.MONEY)) == 1


def test_parts_begin_with_the_first_column_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = lines(months(), 80, monkeypatch)
    parts = [line for line in shown if line.startswith("Wide (")]
    assert len(parts) == 3
    assert sum("2026-01-01" in line for line in shown) == len(parts)


def test_rows_that_their_first_column_does_not_tell_apart_become_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    table = months()
    same = Table("same", "Same", table.columns, tuple((date(2026, 1, 1), *row[1:]) for row in table.rows))
    shown = lines(same, 80, monkeypatch)
    assert sum(line.startswith("Month ") for line in shown) == len(same.rows)
    assert max(map(len, shown)) <= 80


@pytest.mark.parametrize("width", [80, 160])
def test_a_trend_of_two_years_is_readable(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    table = trend(scope(), FEBRUARY, 24)
    shown = lines(table, width, monkeypatch)
    assert max(map(len, shown)) <= width
    assert any("2026-02-01" in line and "444.01" in line for line in shown)


def test_a_bridge_stands_upright_with_its_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [" ".join(line.split()) for line in lines(bridge_table(scope(), [FEBRUARY]), 80, monkeypatch)]
    for line in ("Opening MRR (USD) 527.77", "+ Expansion (USD) 25.00", "- Downgrade (USD) 49.99"):
        assert line in shown
    assert "+ Recovered involuntary churn (USD) 50.00" in shown
    assert "= Closing MRR (USD) 444.01" in shown


def test_an_instant_is_shown_to_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "as known at  2026-03-02 10:11:12 UTC" in lines(months(), 100, monkeypatch)


def test_each_column_of_money_names_its_own_currency() -> None:
    columns = (
        Column("a", "Level", Kind.MONEY),
        Column("b", "Cash", Kind.MONEY),
        Column("c", "Both", Kind.MONEY),
        Column("d", "None", Kind.MONEY),
        Column("e", "Share", Kind.RATIO),
    )
    euro, dollar = Amount(1, "eur"), Amount(1, "usd/mo")
    table = Table(
        "t", "T", columns, ((dollar, Amount(1, "usd"), euro, None, Fraction(1)), (None, None, dollar, None, None))
    )
    assert cells.headings(table) == ["Level (USD)", "Cash (USD)", "Both", "None", "Share"]


def test_nothing_to_show_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "(no rows)" in lines(Table("empty", "Empty", months().columns, ()), 80, monkeypatch)
