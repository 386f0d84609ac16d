"""One report as a value: what every renderer (terminal, JSON, CSV, spreadsheet, Parquet, page) is given.

A cell is an `Amount`, a `Fraction` (a ratio), a date or instant, a whole number, a text, or None for "not known".
Renderers decide how it looks; nothing in a report is a formatted number.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from fractions import Fraction

from billing.money import Amount

Cell = Amount | Fraction | datetime | date | int | str | bool | None


class Kind(StrEnum):
    """What the cells of a column are."""

    TEXT = "text"
    MONEY = "money"  # Amount
    RATIO = "ratio"  # Fraction, shown in percent
    POINTS = "points"  # Fraction, the difference of two ratios, shown in percentage points
    COUNT = "count"
    DATE = "date"  # a day, or a month by its first day
    INSTANT = "instant"
    FLAG = "flag"
    CODE = "code"  # a word of our vocabulary for programs; people read it in words
    CURRENCY = "currency"  # lower-case ISO codes for programs, several joined by `+`; people read capitals


@dataclass(frozen=True, slots=True)
class Column:
    name: str  # a stable snake_case key, the same in JSON, CSV and Parquet
    title: str  # what people read
    kind: Kind


@dataclass(frozen=True, slots=True)
class Table:
    """One report. `labels` say period, basis, currency basis, policy and as-known date; `notes` are sentences."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    labels: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.name}: a row has {len(row)} cells for {len(self.columns)} columns")
