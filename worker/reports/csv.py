"""Comma-separated values for spreadsheets and programs: UTF-8, ISO dates, CRLF as RFC 4180 has it.

Every money column stands as a decimal in its place; at the end of the row follow its whole minor units and its unit, so
that nothing has to be parsed or guessed. Text that a spreadsheet would take for a formula gets an apostrophe.
"""

from __future__ import annotations

import csv
from typing import TextIO

from billing.money import Amount
from billing.report.table import Cell, Kind, Table
from worker.reports import cells

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def write(table: Table, out: TextIO) -> None:
    """One table; `out` must not translate line ends."""
    writer = csv.writer(out)
    money = [at for at, column in enumerate(table.columns) if column.kind is Kind.MONEY]
    names = [column.name for column in table.columns]
    writer.writerow(names + [f"{names[at]}_{part}" for at in money for part in ("minor", "unit")])
    for row in table.rows:
        writer.writerow([*map(neutral, row), *(part for at in money for part in _parts(row[at]))])


def _parts(cell: Cell) -> tuple[str, str]:
    return (str(cell.minor), cell.unit) if isinstance(cell, Amount) else ("", "")


def neutral(cell: Cell) -> str:
    """The cell as text; a text that starts like a formula is made one that does not."""
    text = cells.exact(cell)
    return f"'{text}" if isinstance(cell, str) and text.startswith(FORMULA) else text
