"""A table for people in a terminal: ruled and bold there, aligned plain text in a file or a pipe.

No figure is ever cut or broken. Where a terminal is too narrow, headings and texts wrap between words; what is still
too wide is laid in parts one under another, each with the first column again, or as one block for each row when the
first column does not tell rows apart. Plain text is as wide as it has to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from shutil import get_terminal_size
from typing import TYPE_CHECKING, TextIO

from billing.report import render
from billing.report.table import Cell, Column, Kind, Table
from worker.reports import cells

if TYPE_CHECKING:
    from rich.console import Console

WIDE, FEW = 10, 6
LEFT = frozenset({Kind.TEXT, Kind.DATE, Kind.INSTANT, Kind.FLAG, Kind.CODE, Kind.CURRENCY})
SIGNS = {name: sign for name, sign, _ in render.LINES}
PROSE = 12  # letters that a text needs before it may wrap
GUTTER = 3  # what rich puts between two columns
MOST_PARTS = 4  # beyond, a reader has lost the row


def write(tables: Iterable[Table], out: TextIO, *, styled: bool) -> None:
    """The tables one under another; `styled` for a terminal. A few rows of many columns are laid on their side."""
    for number, each in enumerate(tables):
        table = upright(each) if len(each.columns) > WIDE and 0 < len(each.rows) <= FEW else each
        out.write("\n\n" if number else "")
        if styled:
            _styled(table, out)
        else:
            out.write(plain(table))


def upright(table: Table) -> Table:
    """Columns become rows: how a person reads one bridge, with its signs. The first column names what each row was."""
    heads = [cells.shown(row[0], table.columns[0].kind) for row in table.rows]
    columns = [Column("line", table.columns[0].title, Kind.TEXT)]
    columns += [Column(f"row_{at}", head, Kind.COUNT) for at, head in enumerate(heads)]
    names = {column.name for column in table.columns}
    signed = {"start", "end"} <= names
    rows = [
        (_signed(column, title) if signed else title, *(cells.shown(row[at], column.kind) for row in table.rows))
        for at, (column, title) in enumerate(zip(table.columns, cells.headings(table), strict=True))
        if at
    ]
    return replace(table, columns=tuple(columns), rows=tuple(rows))


def _signed(column: Column, title: str) -> str:
    """`- Downgrade (USD)` as the line of a bridge that it is."""
    return f"{SIGNS.get(column.name) or ' '} {title}"


def plain(table: Table) -> str:
    """Title, aligned columns, labels and notes, ending with a line end."""
    heads = cells.headings(table)
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
    labels = [f"{cells.visible(name):<{wide}}  {cells.label(value)}" for name, value in table.labels]
    return [part for block in (labels, list(map(cells.visible, table.notes))) if block for part in ("", *block)]


def _shown(table: Table, row: Iterable[Cell]) -> list[str]:
    return [cells.shown(cell, column.kind) for cell, column in zip(row, table.columns, strict=True)]


# ---------------------------------------------------------------- in a terminal


@dataclass(frozen=True, slots=True)
class _Laid:
    """One column as it will be drawn: its words, and the letters that it cannot do without."""

    column: Column
    head: str
    body: Sequence[str]

    @property
    def least(self) -> int:
        """Wide enough for the longest figure; a text may wrap between its words."""
        words = max((len(word) for word in self.head.split()), default=1)
        if self.column.kind is not Kind.TEXT:
            return max([words, *map(len, self.body)])
        longest = max((len(word) for text in self.body for word in text.split()), default=1)
        return max(words, longest, min(PROSE, max(map(len, self.body), default=1)))


def _styled(table: Table, out: TextIO) -> None:
    from rich.console import Console
    from rich.text import Text

    width = get_terminal_size().columns
    console = Console(file=out, force_terminal=True, width=width, highlight=False)
    body = [_shown(table, row) for row in table.rows]
    laid = [
        _Laid(column, head, [row[at] for row in body])
        for at, (column, head) in enumerate(zip(table.columns, cells.headings(table), strict=True))
    ]
    parts = _parts(laid, width)
    if len(parts) > 1 and (len(parts) > MOST_PARTS or len(set(laid[0].body)) < len(body)):
        _blocks(console, cells.visible(table.title), laid)
    else:
        for number, part in enumerate(parts, start=1):
            of = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
            _ruled(console, cells.visible(table.title) + of, part, width)
    if not body:
        console.print("(no rows)")
    console.print(Text("\n".join(_below(table)), style="dim"))


def _ruled(console: Console, title: str, part: Sequence[_Laid], width: int) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Ruled
    from rich.text import Text

    ruled = Ruled(title=Text(title, style="bold"), title_justify="left", box=SIMPLE_HEAD)
    for each in part:
        ruled.add_column(
            Text(each.head),
            justify="left" if each.column.kind in LEFT else "right",
            min_width=min(each.least, width - GUTTER),
            overflow="fold",
        )
    for row in zip(*(each.body for each in part), strict=True):
        ruled.add_row(*map(Text, row))
    console.print(ruled)


def _blocks(console: Console, title: str, laid: Sequence[_Laid]) -> None:
    """Every row on its side."""
    from rich.table import Table as Ruled
    from rich.text import Text

    console.print(Text(title, style="bold"))
    for row in zip(*(each.body for each in laid), strict=True):
        block = Ruled(box=None, show_header=False, padding=(0, GUTTER - 1, 0, 0))
        for each, text in zip(laid, row, strict=True):
            block.add_row(Text(each.head, style="dim"), Text(text, overflow="fold"))
        console.print()
        console.print(block)


def _parts(laid: Sequence[_Laid], width: int) -> list[list[_Laid]]:
    """The columns in as many parts as the width makes necessary, each led by the first column."""
    if not laid:
        return []
    first, parts = laid[0], [[laid[0]]]
    for each in laid[1:]:
        if sum(one.least + GUTTER for one in (*parts[-1], each)) > width and len(parts[-1]) > 1:
            parts.append([first])
        parts[-1].append(each)
    return parts
