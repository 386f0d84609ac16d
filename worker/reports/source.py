"""From the database to what a report is made of: stored months where they say enough, else facts folded in a stream.

The roll-ups serve whole months in the reporting time zone with native amounts, when they may be believed. Odd dates,
another zone, rates and `from_facts` (the auditor's switch) fold the facts, and every print says which it was. Both
ways the closing figures must agree with the postings before anything is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from sqlalchemy import select

from billing.events import Event
from billing.ledger.book import book
from billing.ledger.movement import Book
from billing.ledger.policy import DEFAULT
from billing.ledger.vocabulary import LedgerEvent
from billing.report.bridge import Bridge, added
from billing.report.currency import Currency, Rates
from billing.report.movements import Account
from billing.report.period import Period
from billing.report.rows import Row, add, netted
from billing.report.scope import Closings, Known, Scope
from worker import books, closed, rollup_rows, rollups
from worker import tables as t
from worker.app import App
from worker.reports import profiles
from worker.reports.check import BooksDisagree, check_postings, owners
from worker.reports.stream import Stream
from worker.rollup_rows import Stored
from worker.store import Owner
from worker.values import event_from_json

PAID = ("SubscriptionSeen", "InvoicePaid")  # the facts of what was billed


@dataclass(frozen=True)
class Source:
    """One account's books up to an instant. `months` is what the roll-ups hold by currency, None when they are not
    asked."""

    app: App
    owner: Owner
    until: datetime
    known: Known
    months: Mapping[str, int] | None = None

    @property
    def name(self) -> str:
        return f"{self.owner.account}, {'live' if self.owner.livemode else 'test'} mode"

    @property
    def currencies(self) -> list[str]:
        """Lower-case ISO codes of all recurring revenue, in their order."""
        return sorted(self.known.codes)

    @cached_property
    def closings(self) -> Closings:
        """What months were closed with, by their end and zone."""
        with self.app.db.read() as db:
            return {(each.period.end, each.zone): each.closing for each in closed.all_of(db, self.owner)}

    @cached_property
    def profiles(self) -> profiles.Profiles:
        return profiles.Profiles(self.app, self.owner)

    def scope(self, code: str, zone: str, rates: Rates | None = None, among: Period | None = None) -> Scope:
        """What the reports in one currency are made from: stored months, or everybody's histories.

        Beside stored months stand the histories of those whom the period `among` concerns.
        """
        if self.months is None or rates is not None:
            return self.folded(code, zone, rates)
        return Stored(
            book=Book(self.until),
            histories=Stream(self.app, self.owner, self.until, among),
            code=code,
            zone=zone,
            profiles=self.profiles,
            known=self.known,
            closings=self.closings,
            origin=rollup_rows.ORIGIN,
            db=self.app.db,
            owner=self.owner,
            month=min(self.months.values()),
            told=self.profiles.told,
        )

    def folded(self, code: str, zone: str, rates: Rates | None = None, among: Period | None = None) -> Scope:
        """From histories folded while they are read: everybody's, or of those concerned by a period."""
        stream = Stream(self.app, self.owner, self.until, among)
        return Scope(
            Book(self.until),
            stream,
            code,
            zone,
            rates,
            profiles=stream.profile,
            known=self.known,
            closings=self.closings,
        )

    def held(self, code: str, zone: str, rates: Rates | None = None) -> Scope:
        """With the whole book in memory, for what is compared with Stripe subscription by subscription."""
        return Scope.of(book(self.events(), DEFAULT, self.until), code, zone, rates)

    def accounts(self, among: Period) -> Callable[[], Iterable[Account]]:
        """Those concerned by a period, with what the ledger was told and what was posted."""
        return lambda: Stream(self.app, self.owner, self.until, among).accounts(posted=True)

    def events(self) -> list[LedgerEvent]:
        """What the ledger was told, customer by customer under the names of their accounts."""
        return [event for each in Stream(self.app, self.owner, self.until).accounts() for event in each.told]

    def seen(self) -> Iterator[Event]:
        """What Stripe said of subscriptions and of paid invoices."""
        wanted = select(t.fact.c.body).where(self.owner.of(t.fact), t.fact.c.kind.in_(PAID)).order_by(t.fact.c.id)
        with self.app.db.read() as db:
            for row in db.execute(wanted.execution_options(yield_per=1_000)):
                yield event_from_json(row.body)


def sources(
    app: App, periods: Sequence[Period], account: str | None = None, *, from_facts: bool = False
) -> Iterator[Source]:
    """Each account with facts, agreeing with the postings at the close of every period.

    Raises LookupError for an account that nobody knows, BooksDisagree and NotBalanced.
    """
    for owner in owners(app, account):
        yield checked(app, owner, periods, from_facts=from_facts)


def checked(app: App, owner: Owner, periods: Sequence[Period], *, from_facts: bool = False) -> Source:
    """Read again when a worker wrote between the two readings, which a real mistake survives."""
    for last in (False, False, True):
        books.keep(app)
        source, made = _opened(app, owner, periods, from_facts)
        try:
            with app.db.read() as db:
                for each in made:
                    check_postings(db, owner, each)
            break
        except BooksDisagree:
            if last:
                raise
    return source


def _opened(app: App, owner: Owner, periods: Sequence[Period], from_facts: bool) -> tuple[Source, list[Bridge]]:
    """What is known of an account, and the bridges that must agree with the postings."""
    zone, now = app.settings.reporting_timezone, app.now()
    with app.db.read() as db:
        stored = not from_facts and all(of_whole_months(each, zone) for each in periods)
        stored = stored and rollups.ready(db, owner, zone)
        months = rollup_rows.months_known(db, owner) if stored else {}
    if not months:
        return _surveyed(app, owner, now, periods)
    first = min(months.values())
    opens = Period.month(f"{first // 100}-{first % 100:02}", zone).opens
    source = Source(app, owner, now, Known(opens, set(months)), months)
    ends = [each.trailing(1) for each in periods]
    return source, [made for code in sorted(months) for made in source.scope(code, zone).bridges(ends)]


def of_whole_months(period: Period, zone: str) -> bool:
    return (period.start.day, period.end.day, period.zone) == (1, 1, zone)


def _surveyed(app: App, owner: Owner, now: datetime, periods: Sequence[Period]) -> tuple[Source, list[Bridge]]:
    """All facts folded once in a stream: what the books hold, and the bridges of every currency."""
    known, totals = Known(), dict[tuple[Period, str], Row]()
    for each in Stream(app, owner, now).accounts():
        known.learn(each.history.movements)
        for code in sorted({movement.amount.currency for movement in each.history.movements}):
            for period in periods:
                total = totals.setdefault((period, code), Row(""))
                add(total, netted(each.customer, each.history, period, Currency(code)))
    made = [added([total], period, Currency(code), now) for (period, code), total in totals.items()]
    return Source(app, owner, now, known), made
