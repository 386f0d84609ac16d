"""Bands of contract value, and stages of a company by its revenue; whose edges they are changes the verdict.

Band edges differ between sources (metrics definitions, 1.3), so they are values: an operator may bring others.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from billing.money import exponent

Edge = tuple[str, Fraction]  # the band's name, and the least yearly value in whole units that belongs to it


class NotBands(ValueError):
    """Bands must begin at zero and ascend."""


@dataclass(frozen=True, slots=True)
class Bands:
    """Each band reaches up to the next one's edge. "Over 100K" begins at 100000.01."""

    name: str
    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        lows = [low for _, low in self.edges]
        if not lows or lows[0] != 0 or any(low >= following for low, following in itertools.pairwise(lows)):
            raise NotBands(f"{self.name}: bands must begin at zero and ascend")

    def of(self, monthly: int, currency: str) -> str:
        """The band of a customer with so many minor units a month."""
        return self.of_yearly(yearly(monthly, currency))

    def of_yearly(self, value: Fraction) -> str:
        return [name for name, low in self.edges if low <= max(value, Fraction(0))][-1]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.edges)


def yearly(monthly: int, currency: str) -> Fraction:
    """Twelve months of it, in whole units of the currency."""
    return Fraction(12 * monthly, 10 ** exponent(currency))


def parse(text: str) -> Bands:
    """A preset by its name, or bands of one's own: `Small:0, Middle:20000, Large:150000`, edges in whole units a year.

    Raises NotBands.
    """
    if text.strip() in PRESETS:
        return PRESETS[text.strip()]
    edges: list[Edge] = []
    for part in text.split(","):
        name, colon, low = (each.strip() for each in part.rpartition(":"))
        try:
            edges.append((name, Fraction(low)))
        except (ValueError, ZeroDivisionError):
            colon = ""
        if not (name and colon):
            presets = ", ".join(PRESETS)
            raise NotBands(
                f"{part.strip()!r} is no band: write {presets}, or name:edge pairs such as Small:0, Large:50000"
            )
    if len({name for name, _ in edges}) < len(edges):
        raise NotBands("two bands have one name")
    return Bands("own", tuple(edges))


def bands(name: str, rows: Sequence[tuple[str, str | int]]) -> Bands:
    return Bands(name, tuple((band, Fraction(low)) for band, low in rows))


ARTICLE_001 = bands(
    "article-001",
    [("SMB (<25K ACV)", 0), ("Mid-market (25K-100K ACV)", 25_000), ("Enterprise (>100K ACV)", "100000.01")],
)
ARTICLE_002 = bands(
    "article-002", [("SMB (<10K ACV)", 0), ("Mid-market (10K-100K ACV)", 10_000), ("Enterprise (100K+ ACV)", 100_000)]
)
ARTICLE_003 = bands(
    "article-003",
    [("SMB (<15K ACV)", 0), ("Mid-market (15K-100K ACV)", 15_000), ("Enterprise (>100K ACV)", "100000.01")],
)
STAGES = bands(
    "article-001 stages",
    [("0-5M ARR", 0), ("5-25M ARR", 5_000_000), ("25-100M ARR", 25_000_000), ("100M+ ARR", 100_000_000)],
)
PRESETS: Mapping[str, Bands] = {each.name: each for each in (ARTICLE_001, ARTICLE_002, ARTICLE_003)}
