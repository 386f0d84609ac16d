"""A table too long to hold: its rows are made while they are read, and made again for whoever reads them again.

What can be written row by row (CSV, Parquet) takes it as it is; everything else takes `held`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from billing.report.table import Cell, Table

Row = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that can be read any number of times; `make` begins anew."""

    make: Callable[[], Iterator[Row]]

    def __iter__(self) -> Iterator[Row]:
        return self.make()


@dataclass(frozen=True, slots=True)
class LongTable(Table):
    rows: Rows  # type: ignore[assignment]  # whoever iterates gets the same; only a length is not known

    def __post_init__(self) -> None:
        """Nothing is read to check it."""

    def held(self) -> Table:
        return Table(self.name, self.title, self.columns, tuple(self.rows), self.labels, self.notes)
