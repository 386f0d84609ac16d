"""Retention ratios from plain sums, and from what customers had at two instants; every report takes them from here.

Articles and vendors write the formulas in several ways (metrics definitions, 1.1); these are ours. A ratio without an
opening base is None: neither 0 nor 100.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

GAP_WARNING = Fraction(30, 100)  # beyond it growth of few hides losses of many
SHARE_WARNING = Fraction(30, 100)  # of the ten largest customers in the opening base


def ratio(part: int, whole: int) -> Fraction | None:
    return Fraction(part, whole) if whole else None


@dataclass(frozen=True, slots=True)
class Sums:
    """The lines of a bridge in any one unit; losses are positive and subtracted."""

    start: int
    expansion: int = 0
    downgrade: int = 0
    restructuring: int = 0
    voluntary_churn: int = 0
    gross_involuntary_churn: int = 0
    recovered_involuntary_churn: int = 0
    new_business: int = 0
    reactivation: int = 0
    fx: int = 0

    @property
    def lost(self) -> int:
        """What the base lost for good: recoveries are taken off, whichever way they are displayed."""
        ended = self.downgrade + self.restructuring + self.voluntary_churn
        return ended + self.gross_involuntary_churn - self.recovered_involuntary_churn

    @property
    def retained(self) -> int:
        return self.start + self.expansion - self.lost

    @property
    def end(self) -> int:
        return self.retained + self.new_business + self.reactivation + self.fx

    @property
    def nrr(self) -> Fraction | None:
        return ratio(self.retained, self.start)

    @property
    def grr(self) -> Fraction | None:
        return ratio(min(self.start, self.start - self.lost), self.start)

    @property
    def gap(self) -> Fraction | None:
        return ratio(self.retained - min(self.start, self.start - self.lost), self.start)


@dataclass(frozen=True, slots=True)
class Ends:
    """The opening base at two instants: sums of a month's revenue, and customers."""

    start: int = 0
    end: int = 0
    kept: int = 0  # each customer at most with the opening level
    logos_start: int = 0
    logos_end: int = 0

    @property
    def nrr(self) -> Fraction | None:
        return ratio(self.end, self.start)

    @property
    def grr(self) -> Fraction | None:
        """Capped for each customer; a cap on the totals would hide losses behind the growth of others."""
        return ratio(self.kept, self.start)

    @property
    def grr_of_totals(self) -> Fraction | None:
        """The cap on the totals, which some systems print as GRR; shown to explain a difference, never as ours."""
        return ratio(min(self.start, self.end), self.start)

    @property
    def gap(self) -> Fraction | None:
        return ratio(self.end - self.kept, self.start)

    @property
    def logo_retention(self) -> Fraction | None:
        return ratio(self.logos_end, self.logos_start)


def ends(levels: Iterable[tuple[int, int]]) -> Ends:
    """From each customer's (opening, closing) level; customers without an opening level are outside the base."""
    base = [(start, end) for start, end in levels if start > 0]
    return Ends(
        start=sum(start for start, _ in base),
        end=sum(end for _, end in base),
        kept=sum(min(start, end) for start, end in base),
        logos_start=len(base),
        logos_end=sum(end > 0 for _, end in base),
    )


def compounded(start: int, per_period: Fraction, periods: int) -> Fraction:
    """What a start becomes after so many periods of the same retention; exact."""
    return start * per_period**periods


def warns(gap: Fraction | None) -> bool:
    """Whether NRR and GRR lie so far apart that concentration has to be looked at."""
    return gap is not None and gap > GAP_WARNING
