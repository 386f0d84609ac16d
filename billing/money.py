"""Amounts: whole minor units with the unit they are counted in.

Two kinds of unit exist. `usd` is cash; `usd/mo` is recurring revenue, so a ledger can book both and never
mix them. No floating point and no exchange of units happens here.
"""

from __future__ import annotations

from dataclasses import dataclass

# Stripe's own list, not CLDR's: the two disagree on AFN, ISK, RSD and others (docs.stripe.com/currencies).
ZERO_DECIMAL = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf".split())
THREE_DECIMAL = frozenset("bhd jod kwd omr tnd".split())
MONTHLY = "/mo"


def exponent(currency: str) -> int:
    """How many decimal places Stripe's minor unit of a lower-case ISO currency has: 0, 2 or 3."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


class UnitMismatch(ValueError):
    """Two amounts in different units were added or compared."""


@dataclass(frozen=True, slots=True)
class Amount:
    """`minor` whole minor units of `unit`; the unit is a lower-case ISO code, with `/mo` for monthly revenue."""

    minor: int
    unit: str

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.minor + self._same(other), self.unit)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.minor - self._same(other), self.unit)

    def __neg__(self) -> Amount:
        return Amount(-self.minor, self.unit)

    def __lt__(self, other: Amount) -> bool:
        return self.minor < self._same(other)

    def __bool__(self) -> bool:
        return self.minor != 0

    def _same(self, other: Amount) -> int:
        if other.unit != self.unit:
            raise UnitMismatch(f"{self.unit} and {other.unit} cannot be combined")
        return other.minor

    @property
    def currency(self) -> str:
        """The ISO code without the period."""
        return self.unit.removesuffix(MONTHLY)

    def __str__(self) -> str:
        places = exponent(self.currency)
        sign, digits = ("-" if self.minor < 0 else ""), str(abs(self.minor)).rjust(places + 1, "0")
        number = digits if places == 0 else f"{digits[:-places]}.{digits[-places:]}"
        return f"{sign}{number} {self.currency.upper()}{MONTHLY if self.unit.endswith(MONTHLY) else ''}"
