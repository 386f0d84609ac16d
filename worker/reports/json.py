"""JSON for programs: money as whole minor units with the decimal beside it, ratios as decimal strings, never floats."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from fractions import Fraction
from typing import Any, TextIO

from billing.money import Amount
from billing.report.table import Cell, Table
from worker.reports import cells


def write(tables: Iterable[Table], out: TextIO) -> None:
    """A list of tables; each row is an object under the columns' names."""
    json.dump([value(table) for table in tables], out, indent=2, ensure_ascii=False)
    out.write("\n")


def value(table: Table) -> dict[str, Any]:
    names = [column.name for column in table.columns]
    return {
        "name": table.name,
        "title": table.title,
        "labels": dict(table.labels),
        "columns": [{"name": each.name, "title": each.title, "kind": str(each.kind)} for each in table.columns],
        "rows": [dict(zip(names, map(_cell, row), strict=True)) for row in table.rows],
        "notes": list(table.notes),
    }


def _cell(cell: Cell) -> Any:
    match cell:
        case Amount():
            return {"minor": cell.minor, "decimal": cells.decimal(cell), "unit": cell.unit}
        case Fraction():
            return {"ratio": cells.ratio(cell), "percent": cells.in_percent(cell)}
        case date():
            return cells.exact(cell)
        case _:
            return cell
