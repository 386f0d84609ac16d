"""How a report turns native amounts into the one currency it is printed in (D20).

One rate per currency at the opening for every movement, so that currency never looks like expansion or churn; the
difference to the closing rates is its own line. No rate is ever guessed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction

from billing.ledger.mrr import half_up
from billing.money import exponent
from billing.report.period import Period

CARRY_DAYS = 7


class NoRate(LookupError):
    """A currency has no exchange rate on a date on which the report needs one; the message names both, the file, and
    the latest date that it has."""


@dataclass(frozen=True, slots=True)
class Currency:
    """Reports in `code`. Without rates only amounts already in `code` are reported; others are left out, never added.

    `opening` and `closing` map lower-case ISO codes to what one whole unit of that currency is worth in `code`.
    """

    code: str
    opening: Mapping[str, Fraction] | None = field(default=None)
    closing: Mapping[str, Fraction] | None = field(default=None)
    opens: date | None = None  # the days of the rates, for the words of NoRate
    closes: date | None = None
    carried: tuple[tuple[date, str, date], ...] = ()  # (day, currency, the earlier day whose rate it took)
    table: Rates | None = None  # where the rates are from, for the words of NoRate

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
            day = self.opens if when == "opening" else self.closes
            on = f" for {day}" if day else ""
            told = self.table.told_of(currency) if self.table else ""
            raise NoRate(f"no {when} rate from {currency.upper()} to {self.code.upper()}{on}{told}")
        return rate * Fraction(10) ** (exponent(self.code) - exponent(currency))

    @property
    def basis(self) -> str:
        return "constant currency, opening rates" if self.opening is not None else f"native {self.code.upper()}"


@dataclass(frozen=True, slots=True)
class Rates:
    """A table of exchange rates into `code`, whoever read it: by currency, the days in order and their rates.

    A day without a rate of its own (weekends, holidays) takes the latest of the `carry_days` before it, none older, as
    is accepted practice; every report says for which days. With 0 each day needs a rate of its own.
    """

    code: str
    days: Mapping[str, tuple[date, ...]]
    worth: Mapping[str, tuple[Fraction, ...]]  # of one whole unit, in whole units of `code`
    carry_days: int = CARRY_DAYS
    name: str = ""  # of the file

    @classmethod
    def of(
        cls, code: str, rows: Iterable[tuple[date, str, Fraction]], carry_days: int = CARRY_DAYS, name: str = ""
    ) -> Rates:
        """From (day, currency, what one unit of it is worth in `code`); a later row for the same day replaces."""
        table: dict[str, dict[date, Fraction]] = defaultdict(dict)
        for day, currency, rate in rows:
            table[currency.lower()][day] = rate
        listed = {currency: sorted(by_day.items()) for currency, by_day in table.items()}
        return cls(
            code.lower(),
            {currency: tuple(day for day, _ in pairs) for currency, pairs in listed.items()},
            {currency: tuple(rate for _, rate in pairs) for currency, pairs in listed.items()},
            carry_days,
            name,
        )

    def on(self, day: date) -> dict[str, Fraction]:
        """The rates that hold on a day; a currency without one is left out, and `Currency` raises NoRate for it."""
        return {currency: self.worth[currency][at] for currency, at in self._places(day)}

    def carried(self, day: date) -> list[tuple[date, str, date]]:
        """(day, currency, day of the rate) of every currency whose rate on a day is that of an earlier one."""
        told = [(day, currency, self.days[currency][at]) for currency, at in self._places(day)]
        return [each for each in told if each[2] != day]

    def told_of(self, currency: str) -> str:
        """Where a rate was looked for, and the latest day that has one."""
        days = self.days.get(currency)
        has = f"the latest it has is of {days[-1]}" if days else f"it has none for {currency.upper()}"
        return f" in {self.name or 'the rates given'}: {has}"

    def _places(self, day: date) -> Iterator[tuple[str, int]]:
        for currency, days in self.days.items():
            at = bisect_right(days, day) - 1
            if at >= 0 and day - days[at] <= timedelta(days=self.carry_days):
                yield currency, at

    def currency(self, period: Period, today: date) -> Currency:
        """Opening rates of the period's first day, closing rates of the next period's; of today while it still runs."""
        opens, closes = period.start, min(period.end, today)
        carried = (*self.carried(opens), *self.carried(closes))
        return Currency(self.code, self.on(opens), self.on(closes), opens, closes, carried, self)
