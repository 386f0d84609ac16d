"""A workbook for any table: one sheet for each, real numbers and dates with formats, and a sheet that says what it is.

Text is always written as text, so that nothing from outside becomes a formula. Money is a number in whole currency
units: a spreadsheet shows fifteen digits of it exactly, which no company's recurring revenue exceeds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, BinaryIO

from billing.money import Amount, exponent
from billing.report.table import Cell, Kind, Table
from worker.reports import cells

MOST_ROWS = 1_048_575  # of a sheet, below its heading
WIDTHS = {Kind.TEXT: 26, Kind.MONEY: 15, Kind.RATIO: 11, Kind.COUNT: 11, Kind.DATE: 12, Kind.INSTANT: 19, Kind.FLAG: 8}
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

    def format(self, pattern: str = "", *, bold: bool = False, wrap: bool = False) -> Any:
        """A cell format, made once."""
        key = f"{pattern}|{bold}|{wrap}"
        if key not in self._formats:
            wanted = {"num_format": pattern} if pattern else {}
            self._formats[key] = self._book.add_format({**wanted, "bold": bold, "text_wrap": wrap, "valign": "top"})
        return self._formats[key]

    def money(self, unit: str, *, bold: bool = False) -> Any:
        places = exponent(unit.partition("/")[0])
        return self.format("#,##0" + ("." + "0" * places if places else ""), bold=bold)

    def close(self) -> None:
        self._book.close()


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
            sheet.write_string(number, 1, value, book.format(wrap=True))
        row += len(lines) + 2


def _table(book: Workbook, table: Table) -> None:
    if len(table.rows) > MOST_ROWS:
        raise TooLong(f"{table.name} has {len(table.rows):,} rows, a sheet holds {MOST_ROWS:,}: choose csv or parquet")
    sheet, _ = book.sheet(table.name)
    units = cells.units(table)
    for at, column in enumerate(table.columns):
        money = f" ({units[0].partition('/')[0].upper()})" if column.kind is Kind.MONEY and len(units) == 1 else ""
        sheet.write_string(0, at, column.title + money, book.format(bold=True, wrap=True))
        sheet.set_column(at, at, WIDTHS[column.kind])
    sheet.freeze_panes(1, 0)
    for number, row in enumerate(table.rows, start=1):
        for at, (cell, column) in enumerate(zip(row, table.columns, strict=True)):
            _cell(book, sheet, (number, at), cell, column.kind)
    if table.rows:
        sheet.autofilter(0, 0, len(table.rows), len(table.columns) - 1)


def _cell(book: Workbook, sheet: Any, place: tuple[int, int], cell: Cell, kind: Kind) -> None:
    match cell:
        case None:
            return
        case bool():
            sheet.write_boolean(*place, cell, book.format())
        case Amount():
            sheet.write_number(*place, Decimal(cells.decimal(cell)), book.money(cell.unit))
        case Fraction():
            sheet.write_number(*place, float(cell), book.format("0.00%"))
        case datetime():
            sheet.write_datetime(*place, cell.astimezone(UTC), book.format("yyyy-mm-dd hh:mm:ss"))
        case date():
            sheet.write_datetime(*place, cell, book.format("yyyy-mm-dd"))
        case int():
            sheet.write_number(*place, cell, book.format("#,##0" if kind is Kind.COUNT else "0"))
        case _:
            sheet.write_string(*place, cell, book.format(wrap=False))
