"""From the database to what a report is made of: one account's facts folded once, checked against the postings.

Roll-ups can serve the same tables where a company has too many customers to fold in one go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from sqlalchemy import Connection, select

from billing.events import Event
from billing.ledger.identity import renamed
from billing.ledger.interpret import ledger_events
from billing.ledger.movement import Book
from billing.ledger.vocabulary import LedgerEvent
from billing.report.bridge import Basis, Bridge, bridges
from billing.report.currency import Rates
from billing.report.movements import Posted
from billing.report.period import Period
from billing.report.profile import Profile, profiles_of
from billing.report.scope import Scope
from worker import books, closing, identity, report
from worker import tables as t
from worker.app import App
from worker.report import BooksDisagree
from worker.store import Owner
from worker.values import event_from_json

WHO = ("SubscriptionSeen", "PaymentMethodSeen")  # the facts that say what kind of customer somebody is
PAID = ("SubscriptionSeen", "InvoicePaid")  # and what was billed


@dataclass(frozen=True)
class Source:
    """One account's book and what is known of its customers."""

    owner: Owner
    book: Book
    app: App

    @property
    def name(self) -> str:
        return f"{self.owner.account}, {'live' if self.owner.livemode else 'test'} mode"

    @property
    def currencies(self) -> list[str]:
        """Lower-case ISO codes of all recurring revenue, in their order."""
        return sorted({movement.amount.currency for movement in self.book.movements})

    @cached_property
    def profiles(self) -> dict[str, tuple[Profile, ...]]:
        with self.app.db.read() as db:
            return profiles_of(_events(db, self.owner, WHO))

    def events(self) -> list[LedgerEvent]:
        """What the ledger was told, customer by customer under the names of their accounts."""
        with self.app.db.read() as db:
            known = identity.known(db, self.owner)
            learnt = books.facts_by_customer(db, self.owner)
            return [event for facts in learnt for event in renamed(ledger_events(facts), known)]

    def seen(self) -> list[Event]:
        """What Stripe said of subscriptions and of paid invoices."""
        with self.app.db.read() as db:
            return list(_events(db, self.owner, PAID))

    def posted(self) -> dict[str, Posted]:
        """By movement: when the entry that stands for it was appended, and to which month it was posted."""
        entry, found = t.entry, {}
        with self.app.db.read() as db:
            rows = db.execute(
                select(entry.c.key, entry.c.recorded_at, entry.c.posted_period)
                .where(self.owner.of(entry), entry.c.reverses.is_(None))
                .order_by(entry.c.id)
            )
            for row in rows:  # `expansion:1f2e...#2`: the verb, the movement, how often it was booked
                movement = row.key.partition(":")[2].partition("#")[0]
                found[movement] = Posted(row.recorded_at, date.fromisoformat(f"{row.posted_period}-01"))
        return found

    def bridge(self, scope: Scope, period: Period, basis: Basis) -> Bridge:
        """With the prior-period adjustment where the month before was closed; amounts as booked have one, no others."""
        made = scope.bridge(period, basis)
        if scope.rates is not None:
            return made
        with self.app.db.read() as db:
            return closing.adjusted(db, self.owner, (made,))[0]

    def scope(self, code: str, zone: str, rates: Rates | None = None) -> Scope:
        """What the reports in one currency are made from."""
        return Scope.of(self.book, code, zone, rates, profiles=self.profiles)


def sources(app: App, periods: Sequence[Period], account: str | None = None) -> Iterator[Source]:
    """Each account with facts, its book agreeing with the postings at the close of every period.

    Raises LookupError for an account that nobody knows, BooksDisagree and NotBalanced.
    """
    for owner in report.owners(app, account):
        yield Source(owner, checked(app, owner, periods), app)


def checked(app: App, owner: Owner, periods: Sequence[Period]) -> Book:
    """The fold; made again when a worker wrote between the two readings, which a real mistake survives."""
    for last in (False, False, True):
        books.keep(app)
        with app.db.read() as db:
            folded = report.fold(db, owner, app.now())
        made = [one for period in periods for one in bridges(folded, period)]
        try:
            with app.db.read() as db:
                for each in made:
                    report.check_postings(db, owner, each)
            break
        except BooksDisagree:
            if last:
                raise
    return folded


def _events(db: Connection, owner: Owner, kinds: Sequence[str]) -> Iterator[Event]:
    rows = db.execution_options(yield_per=1_000).execute(
        select(t.fact.c.body).where(owner.of(t.fact), t.fact.c.kind.in_(kinds)).order_by(t.fact.c.id)
    )
    for row in rows:
        yield event_from_json(row.body)
