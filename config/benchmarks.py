"""The published figures to compare with, read from `benchmarks.toml` beside this file; an operator may edit it.

Figures are their sources' own and are not comparable across sources. A mistake in the file is an error at reading.
"""

from __future__ import annotations

import tomllib
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from billing.report.benchmark import Benchmark

FILE = Path(__file__).with_name("benchmarks.toml")
NUMBERS = frozenset({"acv_min", "acv_max", "low", "median", "high"})


class BenchmarksUnreadable(ValueError):
    """The file of published figures is no list of rows; the message names file and row."""


@cache
def benchmarks(file: Path = FILE) -> tuple[Benchmark, ...]:
    """All rows, in the order of the file. Raises BenchmarksUnreadable."""
    try:
        with file.open("rb") as opened:
            rows = tomllib.load(opened, parse_float=Fraction)["benchmark"]
    except (tomllib.TOMLDecodeError, KeyError) as wrong:
        raise BenchmarksUnreadable(f"{file.name}: {wrong}") from wrong
    return tuple(_row(number, row, file.name) for number, row in enumerate(rows, start=1))


def _row(number: int, row: dict[str, Any], name: str) -> Benchmark:
    try:
        values: dict[str, Any] = {key: Fraction(value) if key in NUMBERS else str(value) for key, value in row.items()}
        read = Benchmark(**values)
    except (TypeError, ValueError) as wrong:
        raise BenchmarksUnreadable(f"{name}, row {number}: {wrong}") from wrong
    if read.low is None and read.median is None and read.high is None:
        raise BenchmarksUnreadable(f"{name}, row {number}: neither low, median nor high")
    return read
