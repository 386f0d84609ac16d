"""Where a figure stands among published ones: source by source, each by its own band edges and its own kind of figure.

Sources are never averaged: the same company is below the median of one and above that of another (metrics definitions,
1.3 and 10). The figures are data (`config/benchmarks.toml`); any list of `Benchmark` will do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from billing.report.table import Cell, Column, Kind, Table

UNDATED = "undated"
NAMES = {  # what people read for the codes of the rows
    "article-000": "article 000 of 2026",
    "article-001": "article 001 of 2026",
    "article-002": "article 002 of 2026",
    "article-003": "article 003 of 2026",
    "article-004": "article 004 of 2026",
    "article": "the article itself",
    "acv": "contract value",
    "arr_stage": "ARR stage",
    "gtm": "way of selling",
    "pricing": "pricing model",
    "nrr": "Net revenue retention (NRR)",
    "grr": "Gross revenue retention (GRR)",
    "nrr_grr_gap": "NRR less GRR, in points",
    "logo_churn_monthly": "Customers lost in a month",
    "top10_share_of_arr": "Share of the ten largest accounts",
    "involuntary_leak_pct_of_arr": "Lost to failed payments in a year, of ARR",
    "involuntary_share_of_churn": "Failed payments' share of churn",
    "involuntary_recovery_rate": "Recovered of failed payments",
}


class Position(StrEnum):
    """Where a value stands in one row of one source."""

    BELOW_LOW = "below_low"  # of a row with a median: not even the low figure
    BELOW_MEDIAN = "below_median"
    AT_OR_ABOVE_MEDIAN = "at_or_above_median"
    BELOW_RANGE = "below_range"
    IN_RANGE = "in_range"
    ABOVE_RANGE = "above_range"
    BELOW_LEVEL = "below_level"  # of a row with one figure only: a quartile, a best in class, a limit
    AT_OR_ABOVE_LEVEL = "at_or_above_level"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One published figure; percentages as numbers, contract values in whole units a year, `acv_max` excluded.

    A band "over 100K" begins at 100000.01, so that exactly 100K stays where its source has it.
    """

    source: str
    cited: str
    metric: str  # nrr, grr, nrr_grr_gap, logo_churn_monthly ...
    dimension: str  # acv, pricing, arr_stage, gtm, funding, overall ...
    segment: str
    acv_min: Fraction | None = None
    acv_max: Fraction | None = None
    low: Fraction | None = None
    median: Fraction | None = None
    high: Fraction | None = None
    unit: str = "percent"
    note: str = ""
    year: str = UNDATED  # of the figure, where the source gives one

    def holds(self, acv: Fraction) -> bool:
        """Whether a contract value lies in this row's band."""
        return (self.acv_min is None or self.acv_min <= acv) and (self.acv_max is None or acv < self.acv_max)

    @property
    def figure(self) -> str:
        """What kind of figure the source gives."""
        if self.median is not None:
            return "median" if self.low is None and self.high is None else "median in a range"
        return "range" if self.low is not None and self.high is not None else "level"


def position(value: Fraction, against: Benchmark) -> Position:
    """The verdict of one row; ends of a range belong to it. Raises ValueError for a row without any figure."""
    low, median, high = against.low, against.median, against.high
    if median is not None:
        if value >= median:
            return Position.AT_OR_ABOVE_MEDIAN
        return Position.BELOW_LOW if low is not None and value < low else Position.BELOW_MEDIAN
    if low is not None and high is not None:
        if value < low:
            return Position.BELOW_RANGE
        return Position.ABOVE_RANGE if value > high else Position.IN_RANGE
    level = high if low is None else low
    if level is None:
        raise ValueError(f"{against.source}, {against.segment}: neither median nor range nor level")
    return Position.AT_OR_ABOVE_LEVEL if value >= level else Position.BELOW_LEVEL


def matching(
    rows: Iterable[Benchmark],
    metric: str,
    dimension: str,
    acv: Fraction | None = None,
    segment: str | None = None,
    source: str | None = None,
) -> list[Benchmark]:
    """The rows of a metric and dimension in which a company stands: by contract value, or by the segment's name."""
    return [
        row
        for row in rows
        if (row.metric, row.dimension) == (metric, dimension)
        and source in (None, row.source)
        and segment in (None, row.segment)
        and (acv is None or row.dimension != "acv" or row.holds(acv))
    ]


@dataclass(frozen=True, slots=True)
class Standing:
    """One question: how does `value` (percent) of a metric compare in one dimension?"""

    metric: str
    dimension: str
    value: Fraction
    acv: Fraction | None = None  # of an average customer, in whole units a year
    segment: str | None = None
    source: str | None = None  # only this source's rows; all of them when None
    who: str = "the company"  # whose value it is


_TEXT = {
    Position.BELOW_LOW: "below low",
    Position.BELOW_MEDIAN: "below median",
    Position.AT_OR_ABOVE_MEDIAN: "at or above median",
    Position.BELOW_RANGE: "below range",
    Position.IN_RANGE: "in range",
    Position.ABOVE_RANGE: "above range",
    Position.BELOW_LEVEL: "below the figure",
    Position.AT_OR_ABOVE_LEVEL: "at or above the figure",
}
_COLUMNS = (
    Column("metric", "Metric", Kind.CODE),
    Column("dimension", "Dimension", Kind.CODE),
    Column("source", "Found in", Kind.CODE),
    Column("cited", "Source", Kind.CODE),
    Column("year", "Year", Kind.TEXT),
    Column("segment", "Segment", Kind.TEXT),
    Column("figure", "Kind of figure", Kind.TEXT),
    Column("low", "Low", Kind.RATIO),
    Column("median", "Median", Kind.RATIO),
    Column("high", "High", Kind.RATIO),
    Column("who", "Of whom", Kind.TEXT),
    Column("value", "We", Kind.RATIO),
    Column("position", "Position", Kind.TEXT),
    Column("note", "Note", Kind.TEXT),
)
COMPARABLE = "NRR and GRR of the sources are annual: only trailing-twelve-month figures are set beside them."
APART = "Sources differ in method, sample and band edges; each stands for itself and none is averaged with another."


def benchmark_table(
    asked: Sequence[Standing], rows: Sequence[Benchmark], labels: tuple[tuple[str, str], ...] = ()
) -> Table:
    """One row per question and published figure, in the order of the questions."""
    found: list[tuple[Cell, ...]] = []
    for each in asked:
        for row in matching(rows, each.metric, each.dimension, each.acv, each.segment, each.source):
            verdict = _TEXT[position(each.value, row)]
            figures = (_share(row.low), _share(row.median), _share(row.high))
            texts = (each.metric, each.dimension, row.source, row.cited, row.year, row.segment, row.figure)
            found.append((*texts, *figures, each.who, each.value / 100, verdict, row.note))
    return Table("benchmark", "Where do we stand", _COLUMNS, tuple(found), labels, (COMPARABLE, APART))


def _share(percent: Fraction | None) -> Fraction | None:
    return None if percent is None else percent / 100
