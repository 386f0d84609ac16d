"""What a report is about: whose histories, in which currency and zone, by which policy, known up to when.

Every table is made from one `Scope` and a period, so that all of them name the same conditions and share one fold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

from billing.ledger.movement import Book
from billing.ledger.policy import DEFAULT, LedgerPolicy
from billing.ledger.vocabulary import Confidence
from billing.money import MONTHLY, Amount
from billing.report.bridge import Basis, Bridge, added, rows_of
from billing.report.currency import Currency, Rates
from billing.report.period import Period
from billing.report.profile import UNKNOWN, Profile, at
from billing.report.rows import History, Row, histories

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """`code` is the reporting currency; without `rates` only revenue already in it is reported."""

    book: Book
    histories: Mapping[str, History]  # the same by customer, in their order
    code: str
    zone: str = "UTC"
    rates: Rates | None = None
    policy: LedgerPolicy = DEFAULT
    profiles: Mapping[str, tuple[Profile, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        book: Book,
        code: str,
        zone: str = "UTC",
        rates: Rates | None = None,
        policy: LedgerPolicy = DEFAULT,
        profiles: Mapping[str, tuple[Profile, ...]] | None = None,
    ) -> Scope:
        return cls(book, dict(sorted(histories(book).items())), code, zone, rates, policy, profiles or {})

    @property
    def as_known(self) -> datetime:
        """The last instant that the ledger was folded to."""
        return self.book.until

    def currency(self, period: Period) -> Currency:
        """Native, or with the rates of the period's first day and of the day after its last."""
        if self.rates is None:
            return Currency(self.code)
        return self.rates.currency(period, self.today)

    @property
    def since(self) -> datetime | None:
        """The first instant that the books know of; None when they are empty."""
        return min((move.effective_at for move in self.book.movements), default=None)

    @property
    def today(self) -> date:
        """The local day up to which the ledger knew."""
        return self.as_known.astimezone(ZoneInfo(self.zone)).date()

    @property
    def unit(self) -> str:
        return self.code + MONTHLY

    def amount(self, minor: int) -> Amount:
        """A month's revenue in the reporting currency."""
        return Amount(minor, self.unit)

    def rows(self, period: Period, basis: Basis = Basis.NETTED) -> list[Row]:
        """Each customer's part of the bridge."""
        return rows_of(self.histories, period, self.currency(period), basis)

    def bridge(self, period: Period, basis: Basis = Basis.NETTED) -> Bridge:
        return self.added(self.rows(period, basis), period, basis)

    def added(self, rows: list[Row], period: Period, basis: Basis = Basis.NETTED) -> Bridge:
        """The checked bridge of some of the customers."""
        return added(rows, period, self.currency(period), self.as_known, basis, self.policy.name)

    def profile(self, customer: str, before: datetime) -> Profile:
        """What kind of customer it was just before an instant, else when first seen."""
        return at(self.profiles.get(customer, ()), before) or UNKNOWN

    def labels(self, period: Period | None = None, basis: Basis | None = None) -> Labels:
        """What every print of a figure carries."""
        shown = [("period", str(period))] if period else []
        shown.append(("unit", f"{self.code.upper()} a month"))
        if basis:
            shown.append(("basis", str(basis)))
        native = f"native {self.code.upper()}"
        shown.append(("currency basis", native if self.rates is None else "constant currency, opening rates"))
        return (*shown, ("policy", self.policy.name), ("as known at", self.as_known.isoformat()))

    def notes(self, period: Period) -> tuple[str, ...]:
        """Since when the figures can be trusted, when that is after the period's beginning; and what is left out."""
        found, since, told = [], self.since, self.book.movements
        if since is None:
            return ("The books are empty: nothing can be said about this period.",)
        if since > period.opens:
            day = since.astimezone(ZoneInfo(self.zone)).date()
            found.append(f"The books begin on {day}; figures of a time before it cannot be trusted.")
        unsure = sum(move.confidence is Confidence.ASSUMED for move in told if period.holds(move.effective_at))
        if unsure:
            found.append(f"{unsure} movements of this period are assumed from history, not told by Stripe's events.")
        others = sorted({move.amount.currency for move in told} - {self.code}) if self.rates is None else []
        if others:
            left = ", ".join(code.upper() for code in others)
            found.append(f"Revenue in {left} is not in this report: no rates were given.")
        return tuple(found)
