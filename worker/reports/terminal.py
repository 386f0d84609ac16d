"""A table for people in a terminal: ruled and bold there, aligned plain text in a file or a pipe.

Nothing is ever cut off: where a terminal is too narrow, cells wrap; plain text is as wide as it has to be.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from shutil import get_terminal_size
from typing import TextIO

from billing.report.table import Column, Kind, Table
from worker.reports import cells

WIDE, FEW = 10, 6
LEFT = frozenset({Kind.TEXT, Kind.DATE, Kind.INSTANT, Kind.FLAG})


def write(tables: Iterable[Table], out: TextIO, *, styled: bool) -> None:
    """The tables one under another; `styled` for a terminal. A few rows of many columns are laid on their side."""
    for number, each in enumerate(tables):
        table = upright(each) if len(each.columns) > WIDE and len(each.rows) <= FEW else each
        out.write("\n\n" if number else "")
        if styled:
            _styled(table, out)
        else:
            out.write(plain(table))


def upright(table: Table) -> Table:
    """Columns become rows: how a person reads one bridge. The first column names what each row was."""
    heads = [cells.shown(row[0], table.columns[0].kind) for row in table.rows]
    columns = [Column("line", table.columns[0].title, Kind.TEXT)]
    columns += [Column(f"row_{at}", head, Kind.COUNT) for at, head in enumerate(heads)]
    rows = [
        (heading(table, column), *(cells.shown(row[at], column.kind) for row in table.rows))
        for at, column in enumerate(table.columns)
        if at
    ]
    return replace(table, columns=tuple(columns), rows=tuple(rows))


def plain(table: Table) -> str:
    """Title, aligned columns, labels and notes, ending with a line end."""
    heads = [heading(table, column) for column in table.columns]
    body = [_shown(table, row) for row in table.rows]
    widths = [max(map(len, column)) for column in zip(heads, *body, strict=True)] if heads else []
    lines = [cells.visible(table.title), ""]
    lines += [_line(table, widths, row) for row in (heads, ["-" * width for width in widths], *body)]
    lines += ["", "(no rows)"] if not body else []
    return "\n".join([*lines, *_below(table)]) + "\n"


def _line(table: Table, widths: list[int], row: Iterable[str]) -> str:
    parts = zip(row, widths, table.columns, strict=True)
    return "  ".join(f"{text:{'<' if each.kind in LEFT else '>'}{width}}" for text, width, each in parts).rstrip()


def _below(table: Table) -> list[str]:
    wide = max((len(name) for name, _ in table.labels), default=0)
    labels = [f"{cells.visible(name):<{wide}}  {cells.visible(value)}" for name, value in table.labels]
    return [part for block in (labels, list(map(cells.visible, table.notes))) if block for part in ("", *block)]


def _shown(table: Table, row: Iterable[object]) -> list[str]:
    return [cells.shown(cell, column.kind) for cell, column in zip(row, table.columns, strict=True)]  # type: ignore[arg-type]


def heading(table: Table, column: Column) -> str:
    """The column's title; with the unit behind it when all of the table's money is in one."""
    found = cells.units(table)
    code = f" ({found[0].partition('/')[0].upper()})" if column.kind is Kind.MONEY and len(found) == 1 else ""
    return cells.visible(column.title) + code


def _styled(table: Table, out: TextIO) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as Ruled
    from rich.text import Text

    console = Console(file=out, force_terminal=True, width=get_terminal_size().columns, highlight=False)
    ruled = Ruled(title=Text(table.title, style="bold"), title_justify="left", box=SIMPLE_HEAD)
    for column in table.columns:
        ruled.add_column(
            Text(heading(table, column)), justify="left" if column.kind in LEFT else "right", overflow="fold"
        )
    for row in table.rows:
        ruled.add_row(*(Text(text) for text in _shown(table, row)))
    console.print(ruled)
    console.print(Text("\n".join(_below(table)), style="dim"))
