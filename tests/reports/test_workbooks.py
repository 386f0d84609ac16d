"""Spreadsheets, opened again with another library: formats, and formulas that come to the ledger's figures."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction
from typing import Any

import openpyxl
import pytest

from billing.money import Amount
from billing.report.bridge import Basis, Bridge
from billing.report.currency import Rates
from billing.report.period import Period
from billing.report.render import RATIOS
from billing.report.rows import Row
from billing.report.scope import Scope
from billing.report.table import Column, Kind, Table
from tests.reports.formulas import Sheet
from tests.reports.tables import HOSTILE, book, scope, table, texts
from worker.reports import bridge_workbook, xlsx
from worker.reports.bridge_workbook import Traced

FEBRUARY = Period.month("2026-02")


def opened(content: bytes, **how: Any) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(content), **how)


def as_xlsx(*tables: Any) -> openpyxl.Workbook:
    out = io.BytesIO()
    xlsx.write(tables, out)
    return opened(out.getvalue())


def test_cells_are_numbers_and_dates_with_formats() -> None:
    sheet = as_xlsx(table())["sample"]
    row = [sheet.cell(2, column) for column in range(1, 8)]
    assert [cell.value for cell in row[:4]] == ["Ann", -1234.5, pytest.approx(31 / 30), 1200]
    assert [str(cell.value) for cell in row[4:]] == ["2026-03-01 00:00:00", "2026-03-04 12:30:00", "True"]
    assert [cell.number_format for cell in row[1:6]] == [
        "#,##0.00",
        "0.00%",
        "#,##0",
        "yyyy-mm-dd",
        "yyyy-mm-dd hh:mm:ss",
    ]
    assert sheet["B1"].value == "MRR (USD)"
    assert sheet.freeze_panes == "A2"


def test_points_are_no_percent_and_codes_are_words() -> None:
    columns = (
        Column("gap", "Gap", Kind.POINTS),
        Column("source", "Source", Kind.CODE),
        Column("currency", "Currency", Kind.CURRENCY),
    )
    sheet = as_xlsx(Table("t", "T", columns, ((Fraction(385, 10_000), "our_retry", "usd"),)))["t"]
    assert [sheet.cell(2, column).value for column in (1, 2, 3)] == [pytest.approx(3.85), "our retry", "USD"]
    assert sheet["A2"].number_format == '0.00 "points"'


@pytest.mark.parametrize("text", [text for text in HOSTILE if text])
def test_text_never_becomes_a_formula(text: str) -> None:
    cell = as_xlsx(texts(text))["texts"]["A2"]
    assert cell.data_type == "s"
    assert cell.value in (text, text.replace("\r", "\n"), text.replace("\r", "_x000D_"))


def test_the_labels_and_notes_stand_on_a_sheet_of_their_own() -> None:
    rows = list(as_xlsx(table())["About"].iter_rows(values_only=True))
    assert ("policy", "default") in rows
    assert ("note", "One note.") in rows


def test_the_same_figures_give_the_same_file() -> None:
    one, two = io.BytesIO(), io.BytesIO()
    xlsx.write([table()], one)
    xlsx.write([table()], two)
    assert one.getvalue() == two.getvalue()


def test_a_table_longer_than_a_sheet_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx, "MOST_ROWS", 1)
    with pytest.raises(xlsx.TooLong, match="csv or parquet"):
        as_xlsx(table())


def test_every_printed_page_says_what_the_figures_are() -> None:
    made = table()
    labels = (("account", "R&D"), ("as known at", "2026-03-02T10:11:12.345678+00:00"), ("long", "x" * 300))
    sheet: Any = as_xlsx(replace(made, labels=labels))["sample"]
    assert sheet.page_setup.orientation == "landscape"
    assert sheet.sheet_properties.pageSetUpPr.fitToPage
    assert sheet.print_title_rows == "$1:$1"
    assert "A sample" in str(sheet.oddHeader.left.text)
    assert str(sheet.oddFooter.left.text).startswith("account: R&&D  ·  as known at: 2026-03-02 10:11:12 UTC")


def test_a_heading_is_as_high_as_its_words_need_and_stands_over_its_figures() -> None:
    column = Column("a", "A heading of so many words that it takes four lines", Kind.MONEY)
    sheet = as_xlsx(Table("t", "T", (column,), ((Amount(1, "usd"),),)))["t"]
    assert sheet.row_dimensions[1].height >= 45
    assert sheet["A1"].alignment.horizontal == "right"


# ---------------------------------------------------------------- the bridge


def workbook(chosen: Scope, basis: Basis = Basis.NETTED, display: str = "gross", closed: int | None = None) -> Any:
    rows = list(chosen.rows(FEBRUARY, basis))
    made = chosen.added(rows, FEBRUARY, basis)
    made = made if closed is None else made.after_close(closed)
    out = io.BytesIO()
    bridge_workbook.write([Traced(made, rows, "self")], out, display)
    return made, out.getvalue()


def by_name(sheet: Any, column: str) -> dict[str, str]:
    """Cell of each line of the bridge, by what stands beside it."""
    return {row[1].value: f"{column}{row[0].row}" for row in sheet.iter_rows(min_row=4) if row[1].value}


LINES = {
    "opening MRR": "start",
    "expansion": "expansion",
    "downgrade": "downgrade",
    "voluntary churn": "voluntary_churn",
    "gross involuntary churn": "gross_involuntary_churn",
    "new business": "new_business",
    "currency": "fx",
    "closing MRR": "end",
    "at risk at the close": "at_risk",
}


@pytest.mark.parametrize("basis", list(Basis))
@pytest.mark.parametrize("rates", [None, "1.10"])
def test_every_formula_of_the_bridge_comes_to_the_ledgers_figure(basis: Basis, rates: str | None) -> None:
    days = [(FEBRUARY.start, "eur", Fraction(rates)), (FEBRUARY.end, "eur", Fraction("1.20"))] if rates else None
    chosen = Scope.of(book(), "usd", rates=Rates.of("usd", days) if days else None)
    made, content = workbook(chosen, basis)
    read = opened(content)
    sheet = Sheet(read, "Bridge USD 2026-02-01")
    minor, units = (by_name(read[sheet.name], column) for column in "DC")
    for name, field in LINES.items():
        assert sheet.value(minor[name]) == getattr(made, field), name
        assert sheet.value(units[name]) == pytest.approx(getattr(made, field) / 100)
    assert sheet.value(minor["left over of the customers' closing levels"]) == 0
    ratios = dict(RATIOS)
    assert made.gap is not None
    for name, value in ((ratios["nrr"], made.nrr), (ratios["grr"], made.grr), (ratios["gap"], made.gap * 100)):
        assert value is not None
        assert sheet.value(units[name]) == pytest.approx(float(value))
    if rates:
        assert made.fx == 800  # 80.00 EUR, worth ten cents more


def test_what_a_reader_sees_before_recalculation_is_the_same() -> None:
    made, content = workbook(scope())
    shown = opened(content, data_only=True)["Bridge USD 2026-02-01"]
    assert {name: shown[cell].value for name, cell in by_name(shown, "D").items() if name in LINES} == {
        name: getattr(made, field) for name, field in LINES.items()
    }


def test_a_changed_customer_moves_the_bridge_and_shows_what_is_left_over() -> None:
    made, content = workbook(scope())
    read = opened(content)
    customers: Any = read["Customers USD 2026-02-01"]
    heads = [cell.value for cell in customers[1]]
    row = next(row for row in customers.iter_rows(min_row=2) if row[0].value == "bob")
    row[heads.index("downgrade")].value += 1_000
    sheet = Sheet(read, "Bridge USD 2026-02-01")
    minor = by_name(read[sheet.name], "D")
    assert sheet.value(minor["closing MRR"]) == made.end - 1_000
    assert sheet.value(minor["left over of the customers' closing levels"]) == 2_000  # of the close and of the base
    assert Sheet(read, customers.title).value(row[heads.index("left over")].coordinate) == -1_000


def test_each_customer_adds_up_to_nothing_left_over() -> None:
    _, content = workbook(scope())
    read = opened(content)
    customers = read["Customers USD 2026-02-01"]
    sheet, last = Sheet(read, customers.title), customers.max_column
    assert [sheet.value(customers.cell(row, last).coordinate) for row in range(2, customers.max_row + 1)] == [0] * 6


def test_net_display_takes_the_recovered_off_and_closes_the_same() -> None:
    made, content = workbook(scope(), display="net")
    read = opened(content)
    sheet = Sheet(read, "Bridge USD 2026-02-01")
    minor = by_name(read[sheet.name], "D")
    assert sheet.value(minor["involuntary churn, net of recovered"]) == made.net().gross_involuntary_churn == 0
    assert sheet.value(minor["closing MRR"]) == made.end


def test_a_closed_month_before_shows_the_prior_period_adjustment() -> None:
    made, content = workbook(scope(), closed=50_000)
    read = opened(content)
    sheet = Sheet(read, "Bridge USD 2026-02-01")
    minor = by_name(read[sheet.name], "D")
    assert sheet.value(minor["prior-period adjustment"]) == made.prior_period == made.start - 50_000
    assert sheet.value(minor["closing MRR"]) == made.end


def test_every_line_of_the_bridge_says_what_it_means() -> None:
    _, content = workbook(scope())
    sheet = opened(content)["Bridge USD 2026-02-01"]
    by_line = {row[1].value: row[4].value for row in sheet.iter_rows(min_row=4, max_row=15) if row[0].value}
    assert len(by_line) >= 9
    assert all(by_line.values())
    assert sheet.print_title_rows == "$3:$3"


def test_without_an_opening_base_the_ratios_are_undefined() -> None:
    rows: list[Row] = []
    empty: Bridge = scope().added(rows, FEBRUARY)
    out = io.BytesIO()
    bridge_workbook.write([Traced(empty, rows, "self")], out)
    read = opened(out.getvalue())
    sheet = Sheet(read, "Bridge USD 2026-02-01")
    assert sheet.value(by_name(read[sheet.name], "C")[dict(RATIOS)["nrr"]]) == "undefined"
