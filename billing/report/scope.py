"""What a report is about: whose histories, in which currency and zone, by which policy, known up to when.

Every table is made from one `Scope` and a period, so that all of them name the same conditions. This one reads
histories, customer by customer, whether they are held or folded while they are read; `worker/rollup_rows.py` has one
that reads stored months instead and gives the same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

from billing.ledger.movement import Book, Movement
from billing.ledger.policy import DEFAULT, LedgerPolicy
from billing.ledger.vocabulary import Confidence
from billing.money import MONTHLY, Amount
from billing.report import ageing
from billing.report.ageing import Aged
from billing.report.bridge import ROW_OF, Basis, Bridge, added
from billing.report.currency import Currency, Rates
from billing.report.period import Period
from billing.report.profile import UNKNOWN, Profile, at
from billing.report.rows import History, Part, Row, add, histories, part

FACTS = "the facts, folded for this report"
Labels = tuple[tuple[str, str], ...]
Profiles = Callable[[str, datetime], Profile]  # what kind of customer it was just before an instant
Closings = Mapping[tuple[date, str], Mapping[str, int]]  # by end and zone of a closed month: minor units by unit


@dataclass(slots=True)
class Known:
    """What the books hold at all: since when, in which currencies, and when movements were only assumed."""

    since: datetime | None = None
    codes: set[str] = field(default_factory=set)
    assumed: dict[datetime, int] = field(default_factory=dict)

    def learn(self, movements: Iterable[Movement]) -> None:
        for each in movements:
            self.since = min(self.since or each.effective_at, each.effective_at)
            self.codes.add(each.amount.currency)
            if each.confidence is Confidence.ASSUMED:
                self.assumed[each.effective_at] = self.assumed.get(each.effective_at, 0) + 1


@dataclass(frozen=True, slots=True)
class Scope:
    """`code` is the reporting currency; without `rates` only revenue already in it is reported.

    `book` is only up to when the ledger was folded where histories are not held.
    """

    book: Book
    histories: Mapping[str, History]  # in the order of names; held, or folded while they are read
    code: str
    zone: str = "UTC"
    rates: Rates | None = None
    policy: LedgerPolicy = DEFAULT
    profiles: Profiles = lambda customer, before: UNKNOWN
    known: Known = field(default_factory=Known)
    closings: Closings = field(default_factory=dict)
    origin: str = FACTS

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
        """Everything of a book that is held."""
        known = Known()
        known.learn(book.movements)
        seen = profiles or {}

        def profile(customer: str, before: datetime) -> Profile:
            return at(seen.get(customer, ()), before) or UNKNOWN

        return cls(book, dict(sorted(histories(book).items())), code, zone, rates, policy, profile, known)

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
        return self.known.since

    @property
    def today(self) -> date:
        """The local day up to which the ledger knew."""
        return self._day(self.as_known)

    @property
    def unit(self) -> str:
        return self.code + MONTHLY

    def amount(self, minor: int) -> Amount:
        """A month's revenue in the reporting currency."""
        return Amount(minor, self.unit)

    # ---------------------------------------------------------------- figures

    def rows(self, period: Period, basis: Basis = Basis.NETTED) -> Iterator[Row]:
        """Each customer's part of the bridge."""
        row_of, currency = ROW_OF[basis], self.currency(period)
        for customer, history in self.histories.items():
            yield row_of(customer, history, period, currency)

    def parts(self, period: Period, basis: Basis = Basis.NETTED) -> Iterator[Part]:
        """The same of everybody who has something to say in the period, with what segments need beside it."""
        row_of, currency = ROW_OF[basis], self.currency(period)
        for customer, history in self.histories.items():
            found = part(row_of(customer, history, period, currency), history, period, currency)
            if found is not None:
                yield found

    def bridge(self, period: Period, basis: Basis = Basis.NETTED) -> Bridge:
        return self.bridges((period,), basis)[0]

    def bridges(self, periods: Sequence[Period], basis: Basis = Basis.NETTED) -> list[Bridge]:
        """One for each period, with the prior-period adjustment where a closed month ended as it opens."""
        row_of = ROW_OF[basis]
        asked = [(period, self.currency(period), Row("")) for period in periods]
        for customer, history in self.histories.items():
            for period, currency, total in asked:
                add(total, row_of(customer, history, period, currency))
        return [self.beside_closed(self.added([total], period, basis)) for period, _, total in asked]

    def aged(self, until: Period, count: int) -> list[Aged]:
        """Every cohort of the last `count` periods of `until`'s length, at every age up to `until`."""
        return ageing.aged(self.histories.values(), until, count, self.currency(until))

    def added(self, rows: Iterable[Row], period: Period, basis: Basis = Basis.NETTED) -> Bridge:
        """The checked bridge of some of the customers."""
        return added(rows, period, self.currency(period), self.as_known, basis, self.policy.name)

    def beside_closed(self, made: Bridge) -> Bridge:
        """Amounts as booked stand beside the closing that was printed; converted ones never were."""
        closing = self.closings.get((made.period.start, made.period.zone)) if self.rates is None else None
        return made if closing is None else made.after_close(closing.get(made.unit, 0))

    def profile(self, customer: str, before: datetime) -> Profile:
        """What kind of customer it was just before an instant, else when first seen."""
        return self.profiles(customer, before)

    def account(self, customer: str, before: datetime) -> str:
        """The account that a customer belongs to; by default it is one of its own."""
        return self.profile(customer, before).account or customer

    # ---------------------------------------------------------------- what stands beside the figures

    def labels(self, period: Period | None = None, basis: Basis | None = None) -> Labels:
        """What every print of a figure carries."""
        shown = [("period", str(period))] if period else []
        shown.append(("time zone", self.zone))
        shown.append(("unit", f"{self.code.upper()} a month"))
        if basis:
            shown.append(("basis", str(basis)))
        native = f"native {self.code.upper()}"
        shown.append(("currency basis", native if self.rates is None else "constant currency, opening rates"))
        shown.append(("policy", self.policy.name))
        return (*shown, ("as known at", self.as_known.isoformat()), ("made from", self.origin))

    def notes(self, period: Period, rated: Sequence[Period] = ()) -> tuple[str, ...]:
        """That the period has not ended; since when the figures can be trusted, when that is after the period's
        beginning; what is left out; and, of the periods whose rates are used (`rated`, else the period), which rates
        were carried."""
        if self.since is None:
            return ("The books are empty: nothing can be said about this period.",)
        found = [each for each in (self.runs(period), self.begins(period)) if each]
        found += self.doubts(period)
        others = sorted(self.known.codes - {self.code}) if self.rates is None else []
        if others:
            left = ", ".join(code.upper() for code in others)
            found.append(f"Revenue in {left} is not in this report: no rates were given.")
        return (*found, *self._carried(rated or (period,)))

    def runs(self, period: Period) -> str | None:
        """Up to when the figures are, of a period that has not ended."""
        if self.as_known >= period.closes:
            return None
        return f"This period is not ended yet: as of {self.as_known:%Y-%m-%d %H:%M} UTC."

    def begins(self, period: Period) -> str | None:
        """Since when the figures can be trusted, when that is after the period's beginning."""
        since = self.begins_after(period.opens)
        if since is None:
            return None
        return f"The books begin on {self._day(since)}; figures of a time before it cannot be trusted."

    def begins_after(self, instant: datetime) -> datetime | None:
        """The first instant that the books know of, when it is a later one."""
        return self.since if self.since and self.since > instant else None

    def doubts(self, period: Period) -> list[str]:
        """What the facts did not say for certain."""
        unsure = sum(number for instant, number in self.known.assumed.items() if period.holds(instant))
        said = f"{unsure} movements of this period are assumed from history, not told by Stripe's events."
        return [said] if unsure else []

    def _carried(self, periods: Sequence[Period]) -> list[str]:
        days: dict[tuple[date, str], date] = {}
        for period in periods:
            for day, code, since in self.currency(period).carried:
                if code in self.known.codes:
                    days[day, code] = since
        carried = ", ".join(f"{code.upper()} for {day} from {since}" for (day, code), since in sorted(days.items()))
        return [f"Rates carried over days that have none: {carried}."] if carried else []

    def _day(self, instant: datetime) -> date:
        return instant.astimezone(ZoneInfo(self.zone)).date()
