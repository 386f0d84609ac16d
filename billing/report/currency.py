"""How a report turns native amounts into the one currency it is printed in (D20).

One rate per currency at the opening for every movement, so that currency never looks like expansion or churn; the
difference to the closing rates is its own line. No rate is ever guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from billing.ledger.mrr import half_up
from billing.money import exponent


class NoRate(LookupError):
    """A currency has no exchange rate on a date on which the report needs one; the message names both."""


@dataclass(frozen=True, slots=True)
class Currency:
    """Reports in `code`. Without rates only amounts already in `code` are reported; others are left out, never added.

    `opening` and `closing` map lower-case ISO codes to what one whole unit of that currency is worth in `code`.
    """

    code: str
    opening: Mapping[str, Fraction] | None = field(default=None)
    closing: Mapping[str, Fraction] | None = field(default=None)

    def includes(self, currency: str) -> bool:
        return currency == self.code or self.opening is not None

    def at_opening(self, minor: int, currency: str) -> int:
        return minor if currency == self.code else half_up(minor * self.opening_rate(currency))

    def at_closing(self, minor: int, currency: str) -> int:
        rates = self.opening if self.closing is None else self.closing
        return minor if currency == self.code else half_up(minor * self._rate(currency, rates, "closing"))

    def opening_rate(self, currency: str) -> Fraction:
        """Minor units of the report's currency for one minor unit of another; raises NoRate."""
        return self._rate(currency, self.opening, "opening")

    def _rate(self, currency: str, rates: Mapping[str, Fraction] | None, when: str) -> Fraction:
        if currency == self.code:
            return Fraction(1)
        rate = (rates or {}).get(currency)
        if rate is None:
            raise NoRate(f"no {when} rate from {currency.upper()} to {self.code.upper()}")
        return rate * Fraction(10) ** (exponent(self.code) - exponent(currency))

    @property
    def basis(self) -> str:
        return "constant currency, opening rates" if self.opening is not None else f"native {self.code.upper()}"
