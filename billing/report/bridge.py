"""The bridge from opening to closing recurring revenue, with recovered involuntary churn as a line of its own.

Two blocks (metrics definitions, section 4): what became of the opening base, then new business, returns and currency.
A bridge that does not add up to the cent cannot be made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from fractions import Fraction

from billing.ledger.movement import Book
from billing.ledger.mrr import half_up
from billing.money import MONTHLY
from billing.report import rows
from billing.report.currency import Currency
from billing.report.period import Period
from billing.report.rows import History, Row


class Basis(StrEnum):
    NETTED = "netted"  # per customer, from point to point: what investors ask for
    ACTIVITY = "activity"  # every movement as posted: adds up over time


class NotBalanced(ArithmeticError):
    """Opening and lines do not give the closing; the message has the numbers."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """Whole minor units of `unit`. Losses are positive and subtracted. `as_known` is what the ledger knew then."""

    period: Period
    basis: Basis
    unit: str
    currency_basis: str
    policy: str
    as_known: datetime
    start: int
    expansion: int
    downgrade: int
    restructuring: int
    voluntary_churn: int
    gross_involuntary_churn: int
    recovered_involuntary_churn: int
    recovered_late: int  # activity only
    new_business: int
    reactivation: int
    fx: int
    end: int
    retained: int
    kept: int
    late_recovery: int
    recovered_live: int
    at_risk: int
    at_risk_base: int
    at_risk_cases: int
    at_risk_since: datetime | None
    logos_start: int
    logos_lost: int
    closed_start: int | None = None  # what the closed period before it had ended with, when that was printed

    def check(self) -> Bridge:
        """The bridge itself, or NotBalanced (invariants 1, 2, 4 and 9)."""
        base = self.start + self.expansion - self.losses + self.recovered_involuntary_churn
        arrived = self.recovered_late + self.new_business + self.reactivation
        end = base + arrived + self.fx
        if end != self.end:
            raise NotBalanced(f"{self.period}: lines give {end}, the closing is {self.end} {self.unit}")
        if self.basis is Basis.NETTED and base != self.retained:
            raise NotBalanced(f"{self.period}: the base gives {base}, its customers hold {self.retained} {self.unit}")
        if not 0 <= self.recovered_involuntary_churn <= self.gross_involuntary_churn:
            recovered, gross = self.recovered_involuntary_churn, self.gross_involuntary_churn
            raise NotBalanced(f"{self.period}: recovered {recovered} of {gross} {self.unit}")
        return self

    @property
    def losses(self) -> int:
        return self.downgrade + self.restructuring + self.voluntary_churn + self.gross_involuntary_churn

    @property
    def nrr(self) -> Fraction | None:
        """Net revenue retention in constant currency; None without an opening base."""
        return self._of_start(self.retained)

    @property
    def grr(self) -> Fraction | None:
        """Gross revenue retention: each customer of the base at most with the opening level."""
        return self._of_start(self.kept)

    @property
    def gap(self) -> Fraction | None:
        """NRR less GRR, as a ratio."""
        return self._of_start(self.retained - self.kept)

    @property
    def logo_retention(self) -> Fraction | None:
        """Customers of the base who are still there; not a measure of revenue."""
        return Fraction(self.logos_start - self.logos_lost, self.logos_start) if self.logos_start else None

    @property
    def nrr_if_at_risk_lost(self) -> Fraction | None:
        return self._of_start(self.retained - self.at_risk_base)

    @property
    def nrr_without_recovery(self) -> Fraction | None:
        """As if what was recovered and is still counted at the close were not there."""
        return self._of_start(self.retained - self.recovered_live)

    def _of_start(self, minor: int) -> Fraction | None:
        return Fraction(minor, self.start) if self.start else None

    @property
    def prior_period(self) -> int:
        """What became known of earlier periods after they were closed: restated opening less closed closing."""
        return 0 if self.closed_start is None else self.start - self.closed_start

    def after_close(self, closed_end: int) -> Bridge:
        """The same bridge beside the closing that was printed for the period before; ratios stay on the restated."""
        return replace(self, closed_start=closed_end)

    def net(self) -> Bridge:
        """The same bridge with recoveries taken off the gross loss instead of beside it."""
        gross = self.gross_involuntary_churn - self.recovered_involuntary_churn
        return replace(self, gross_involuntary_churn=gross, recovered_involuntary_churn=0)


ROW_OF: Mapping[Basis, Callable[[str, History, Period, Currency], Row]] = {
    Basis.NETTED: rows.netted,
    Basis.ACTIVITY: rows.activity,
}


def bridge(
    book: Book,
    period: Period,
    currency: Currency,
    basis: Basis = Basis.NETTED,
    policy: str = "default",
    customers: Iterable[str] | None = None,
) -> Bridge:
    """One checked bridge in one currency, of all customers or of those named."""
    by_customer = rows.histories(book)
    chosen = sorted(by_customer) if customers is None else sorted(set(customers) & by_customer.keys())
    found = rows_of({customer: by_customer[customer] for customer in chosen}, period, currency, basis)
    return added(found, period, currency, book.until, basis, policy)


def rows_of(
    by_customer: Mapping[str, History], period: Period, currency: Currency, basis: Basis = Basis.NETTED
) -> list[Row]:
    """Each customer's part of a bridge, in the order given."""
    row_of = ROW_OF[basis]
    return [row_of(customer, history, period, currency) for customer, history in by_customer.items()]


def added(
    parts: Iterable[Row],
    period: Period,
    currency: Currency,
    as_known: datetime,
    basis: Basis = Basis.NETTED,
    policy: str = "default",
) -> Bridge:
    """The checked bridge of some customers' rows."""
    total = rows.totals(parts)
    return Bridge(
        period=period,
        basis=basis,
        unit=currency.code + MONTHLY,
        currency_basis=currency.basis,
        policy=policy,
        as_known=as_known,
        **{name: getattr(total, name) for name in Row.__slots__ if name != "customer"},
    ).check()


def nrr_as_reported(parts: Iterable[Row]) -> Fraction | None:
    """The base at closing rates over the base at opening rates: a memo (D20), because currency is no retention."""
    base = [row for row in parts if row.start]
    start = sum(row.start for row in base)
    return Fraction(sum(row.end for row in base), start) if start else None


def bridges(book: Book, period: Period, basis: Basis = Basis.NETTED, policy: str = "default") -> tuple[Bridge, ...]:
    """One bridge per currency that the book holds: without rates no currency is added to another."""
    codes = sorted({movement.amount.currency for movement in book.movements})
    return tuple(bridge(book, period, Currency(code), basis, policy) for code in codes)


def percent(ratio: Fraction | None) -> str | None:
    """Two decimals, half up, without the sign; None stays None."""
    if ratio is None:
        return None
    hundredths = half_up(ratio * 10_000)
    return f"{hundredths // 100}.{hundredths % 100:02d}"
