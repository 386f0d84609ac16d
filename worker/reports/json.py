"""JSON for programs: money as whole minor units with the decimal beside it, ratios as decimal strings, never floats."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from fractions import Fraction
from typing import Any, TextIO

from billing.money import Amount
from billing.report.table import Cell, Kind, Table
from worker.reports import cells


def write(tables: Iterable[Table], out: TextIO) -> None:
    """A list of tables; each row is an object under the columns' names, written as soon as it is made."""
    out.write("[")
    for number, table in enumerate(tables):
        out.write(",\n" if number else "\n")
        about = json.dumps(_about(table), indent=2, ensure_ascii=False)
        out.write(about.removesuffix("\n}") + ',\n  "rows": [')
        for at, row in enumerate(table.rows):
            cells_of = {each.name: _cell(cell, each.kind) for each, cell in zip(table.columns, row, strict=True)}
            out.write((",\n    " if at else "\n    ") + json.dumps(cells_of, ensure_ascii=False))
        out.write("]\n}")
    out.write("\n]\n")


def _about(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "title": table.title,
        "labels": dict(table.labels),
        "columns": [{"name": each.name, "title": each.title, "kind": str(each.kind)} for each in table.columns],
        "notes": list(table.notes),
    }


def _cell(cell: Cell, kind: Kind) -> Any:
    match cell:
        case Amount():
            return {"minor": cell.minor, "decimal": cells.decimal(cell), "unit": cell.unit}
        case Fraction():
            return {"ratio": cells.ratio(cell), "points" if kind is Kind.POINTS else "percent": cells.in_percent(cell)}
        case date():
            return cells.exact(cell)
        case _:
            return cell
