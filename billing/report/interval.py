"""How sure a share, or the difference of two shares, is: 95 % intervals that hold for small numbers too.

Wilson's score interval (1927) for one share, Newcombe's hybrid score interval (Statistics in Medicine 17, 1998, method
10) for a difference. A statistics library would give the same; these are a dozen lines of arithmetic.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

Z = 1.959963984540054  # of the normal distribution at 97.5 %


class Share(NamedTuple):
    """`hits` of `of`."""

    hits: int
    of: int

    @property
    def rate(self) -> float:
        return self.hits / self.of if self.of else 0.0


class Interval(NamedTuple):
    low: float
    high: float


def wilson(share: Share) -> Interval:
    """Between 0 and 1; of nothing observed everything is possible."""
    if share.of == 0:
        return Interval(0.0, 1.0)
    n, p, z2 = share.of, share.rate, Z * Z
    middle, half = p + z2 / (2 * n), Z * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Interval(max(0.0, (middle - half) / (1 + z2 / n)), min(1.0, (middle + half) / (1 + z2 / n)))


def newcombe(one: Share, other: Share) -> Interval:
    """Of `one.rate - other.rate`, between -1 and 1."""
    a, b, d = wilson(one), wilson(other), one.rate - other.rate
    low = d - sqrt((one.rate - a.low) ** 2 + (b.high - other.rate) ** 2)
    high = d + sqrt((a.high - one.rate) ** 2 + (other.rate - b.low) ** 2)
    return Interval(max(-1.0, low), min(1.0, high))
