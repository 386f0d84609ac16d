"""Comma-separated values for spreadsheets and programs: UTF-8, ISO dates, CRLF as RFC 4180 has it.

Every money column stands as a decimal in its place; at the end of the row follow its whole minor units and its unit, so
that nothing has to be parsed or guessed. Behind them, the same in every row of a table, what the figures are: period,
zone, currency, policy, and up to when everything was known; a row that was copied out still says so. Text that a
spreadsheet would take for a formula gets an apostrophe.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import TextIO

from billing.money import Amount
from billing.report.table import Cell, Kind, Table
from worker.reports import cells

ABOUT = ("report_from", "report_until", "report_zone", "report_currency", "report_policy", "report_as_known")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def write(tables: Sequence[Table], out: TextIO) -> None:
    """Tables with the same columns as one; `out` must not translate line ends."""
    writer, columns = csv.writer(out), tables[0].columns
    money = [at for at, column in enumerate(columns) if column.kind is Kind.MONEY]
    names = [column.name for column in columns]
    writer.writerow([*names, *(f"{names[at]}_{part}" for at in money for part in ("minor", "unit")), *ABOUT])
    for table in tables:
        about = list(map(neutral, _about(dict(table.labels))))
        for row in table.rows:
            writer.writerow([*map(neutral, row), *(part for at in money for part in _parts(row[at])), *about])


def _about(labels: Mapping[str, str]) -> tuple[str, ...]:
    """What the labels say, one value for each column of ABOUT; the last day of a period is excluded."""
    first, _, rest = labels.get("period", "").partition(" to ")
    said = (labels.get(name, "") for name in ("time zone", "unit", "policy", "as known at"))
    zone, unit, policy, known = said
    return first, rest.partition(" ")[0], zone, unit.partition(" ")[0], policy, known


def _parts(cell: Cell) -> tuple[str, str]:
    return (str(cell.minor), cell.unit) if isinstance(cell, Amount) else ("", "")


def neutral(cell: Cell) -> str:
    """The cell as text; a text that starts like a formula is made one that does not."""
    text = cells.exact(cell)
    return f"'{text}" if isinstance(cell, str) and text.startswith(FORMULA) else text
