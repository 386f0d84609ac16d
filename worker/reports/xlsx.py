"""A workbook for any table: one sheet for each, real numbers and dates with formats, and a sheet that says what it is.

Text is always written as text, so that nothing from outside becomes a formula. Money is a number in whole currency
units: a spreadsheet shows fifteen digits of it exactly, which no company's recurring revenue exceeds.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, BinaryIO

from billing.money import Amount, exponent
from billing.report.table import Cell, Kind, Table
from worker.reports import cells

MOST_ROWS = 1_048_575  # of a sheet, below its heading
WIDEST = 60  # of a column of text
PAGE = 14  # columns that stay readable on one page
ON_PAPER = 255  # letters that a header or footer holds
TEXTS = (Kind.TEXT, Kind.CODE, Kind.CURRENCY)
WIDTHS = {
    Kind.MONEY: 15,
    Kind.RATIO: 11,
    Kind.POINTS: 14,
    Kind.COUNT: 11,
    Kind.DATE: 12,
    Kind.INSTANT: 19,
    Kind.FLAG: 8,
}
ALIGN = {kind: "left" if kind in (*TEXTS, Kind.DATE, Kind.INSTANT) else "right" for kind in Kind}
POINTS = '0.00 "points"'
MADE = datetime(2000, 1, 1)  # noqa: DTZ001  # the same figures give the same file; the labels say as known at when


class TooLong(ValueError):
    """A table has more rows than a sheet can hold; the message says how many."""


class Workbook:
    """One .xlsx file being written; `close` completes it."""

    def __init__(self, out: BinaryIO) -> None:
        import xlsxwriter

        self._book = xlsxwriter.Workbook(
            out, {"in_memory": True, "strings_to_formulas": False, "remove_timezone": True}
        )
        self._book.set_properties({"created": MADE})
        self._formats: dict[str, Any] = {}
        self._names: set[str] = set()

    def sheet(self, name: str) -> tuple[Any, str]:
        """(sheet, its name): made fit and unique, as Excel has at most 31 characters and no `[]:*?/\\`."""
        wanted = re.sub(r"[\[\]:*?/\\']", " ", name).strip()[:31] or "Sheet"
        number = 1
        chosen = wanted
        while chosen.lower() in self._names:
            number += 1
            chosen = f"{wanted[: 30 - len(str(number))]} {number}"
        self._names.add(chosen.lower())
        return self._book.add_worksheet(chosen), chosen

    def on_paper(self, sheet: Any, title: str, labels: Iterable[tuple[str, str]], heads: int, columns: int) -> None:
        """How the sheet prints: few pages wide, on each of them its headings and what the figures are."""
        said = "  ·  ".join(f"{name}: {cells.label(value)}" for name, value in labels if value)
        sheet.set_landscape()
        sheet.set_paper(9)  # A4
        sheet.fit_to_pages(-(-columns // PAGE), 0)
        sheet.repeat_rows(heads)
        sheet.repeat_columns(0)
        sheet.set_margins(left=0.4, right=0.4, top=0.8, bottom=0.8)
        sheet.set_header("&L&B" + _on_paper(title, ON_PAPER - 4))
        sheet.set_footer(f"&L&8{_on_paper(said, ON_PAPER - 24)}&R&8&P / &N")

    def format(self, pattern: str = "", *, bold: bool = False, wrap: bool = False, align: str = "") -> Any:
        """A cell format, made once."""
        key = f"{pattern}|{bold}|{wrap}|{align}"
        if key not in self._formats:
            wanted = ({"num_format": pattern} if pattern else {}) | ({"align": align} if align else {})
            self._formats[key] = self._book.add_format({**wanted, "bold": bold, "text_wrap": wrap, "valign": "top"})
        return self._formats[key]

    def money(self, unit: str, *, bold: bool = False) -> Any:
        places = exponent(unit.partition("/")[0])
        return self.format("#,##0" + ("." + "0" * places if places else ""), bold=bold)

    def close(self) -> None:
        self._book.close()


def _on_paper(text: str, most: int) -> str:
    """In a header `&` begins a command, and more letters than it holds would be refused."""
    kept = cells.visible(text)
    while len(kept.replace("&", "&&")) > most:
        kept = kept[:-1]
    return kept.replace("&", "&&")


def write(tables: Sequence[Table], out: BinaryIO) -> None:
    """One sheet for each table and one about them all. Raises TooLong."""
    book = Workbook(out)
    for table in tables:
        _table(book, table)
    about(book, [(table.title, table.labels, table.notes) for table in tables])
    book.close()


def about(book: Workbook, tables: Iterable[tuple[str, Iterable[tuple[str, str]], Iterable[str]]]) -> None:
    """The sheet of labels and notes, without which no figure should travel."""
    sheet, _ = book.sheet("About")
    sheet.set_column(0, 0, 28)
    sheet.set_column(1, 1, 90)
    row = 0
    for title, labels, notes in tables:
        sheet.write_string(row, 0, title, book.format(bold=True))
        lines = [*labels, *(("note", note) for note in notes)]
        for number, (name, value) in enumerate(lines, start=row + 1):
            sheet.write_string(number, 0, name, book.format())
            sheet.write_string(number, 1, cells.label(value), book.format(wrap=True))
        row += len(lines) + 2


def _table(book: Workbook, table: Table) -> None:
    if len(table.rows) > MOST_ROWS:
        raise TooLong(f"{table.name} has {len(table.rows):,} rows, a sheet holds {MOST_ROWS:,}: choose csv or parquet")
    sheet, _ = book.sheet(table.name)
    lines = 1
    for at, (column, title) in enumerate(zip(table.columns, cells.headings(table), strict=True)):
        wide = _wide(table, at, column.kind)
        sheet.write_string(0, at, title, book.format(bold=True, wrap=True, align=ALIGN[column.kind]))
        sheet.set_column(at, at, wide)
        lines = max(lines, len(textwrap.wrap(title, wide - 2)))
    sheet.set_row(0, 15 * lines)
    sheet.freeze_panes(1, 0)
    book.on_paper(sheet, table.title, table.labels, 0, len(table.columns))
    for number, row in enumerate(table.rows, start=1):
        for at, (cell, column) in enumerate(zip(row, table.columns, strict=True)):
            _cell(book, sheet, (number, at), cell, column.kind)
    if table.rows:
        sheet.autofilter(0, 0, len(table.rows), len(table.columns) - 1)


def _wide(table: Table, at: int, kind: Kind) -> int:
    """Letters that a column shows: of text as much as there is, within reason; of figures enough for each of them."""
    longest = max((len(cells.shown(row[at], kind)) for row in table.rows), default=0) + 2
    return min(max(longest, 10), WIDEST) if kind in TEXTS else max(WIDTHS[kind], longest)


def _cell(book: Workbook, sheet: Any, place: tuple[int, int], cell: Cell, kind: Kind) -> None:
    match cell:
        case None:
            return
        case bool():
            sheet.write_boolean(*place, cell, book.format())
        case Amount():
            sheet.write_number(*place, Decimal(cells.decimal(cell)), book.money(cell.unit))
        case Fraction() if kind is Kind.POINTS:
            sheet.write_number(*place, float(cell * 100), book.format(POINTS))
        case Fraction():
            sheet.write_number(*place, float(cell), book.format("0.00%"))
        case datetime():
            sheet.write_datetime(*place, cell.astimezone(UTC), book.format("yyyy-mm-dd hh:mm:ss", align="left"))
        case date():
            sheet.write_datetime(*place, cell, book.format("yyyy-mm-dd", align="left"))
        case int():
            sheet.write_number(*place, cell, book.format("#,##0" if kind is Kind.COUNT else "0"))
        case _:
            sheet.write_string(*place, cells.in_words(cell, kind), book.format(wrap=False))
