"""Everybody's part of the books, folded customer by customer while it is read: nothing grows with their number.

Where a report needs only those to whom something happened in a period, only they are folded; the entries say who.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, select, union

from billing.ledger.book import book
from billing.ledger.facts import facts_of
from billing.ledger.identity import Identities, members, renamed
from billing.ledger.interpret import ledger_events
from billing.ledger.vocabulary import LedgerEvent
from billing.report.movements import Account, Posted
from billing.report.period import Period
from billing.report.profile import UNKNOWN, Profile, at
from billing.report.rows import History, histories
from worker import identity, rollups, store
from worker import tables as t
from worker.app import App
from worker.reports.profiles import Profiles
from worker.store import Owner

BATCH = 100  # accounts that are folded together


class Stream(Mapping[str, History]):
    """Histories by customer, in the order of names; `among` are those with something in that period, or at risk in it.

    Whoever iterates folds anew. `profile` answers at once for the customer who is just passing by.
    """

    def __init__(self, app: App, owner: Owner, until: datetime, among: Period | None = None) -> None:
        self._app, self._owner, self._until, self._among = app, owner, until, among
        self._policy = app.settings.ledger_policy
        self._others = Profiles(app, owner)
        self._passing: tuple[str, tuple[Profile, ...]] | None = None

    def __getitem__(self, customer: str) -> History:
        with self._app.db.read() as db:
            known = identity.known(db, self._owner)
            for each in self._fold(db, known, {customer: _of_account(customer, known)}):
                return each.history
        raise KeyError(customer)

    def __iter__(self) -> Iterator[str]:
        return (each.customer for each in self.accounts())

    def __len__(self) -> int:
        with self._app.db.read() as db:
            return len(self._wanted(db, identity.known(db, self._owner)))

    def items(self) -> ItemsView[str, History]:
        return _Items(self)

    def values(self) -> ValuesView[History]:
        return _Values(self)

    def accounts(self, posted: bool = False) -> Iterator[Account]:
        """With what the ledger was told of each, and what the books say of its movements when `posted`."""
        with self._app.db.read() as db:
            known = identity.known(db, self._owner)
            wanted = iter(self._wanted(db, known).items())
            while some := dict(islice(wanted, BATCH)):
                yield from self._fold(db, known, some, posted)

    def profile(self, customer: str, before: datetime) -> Profile:
        """What kind of customer it was just before an instant, else when first seen."""
        if self._passing is None or self._passing[0] != customer:
            return self._others(customer, before)
        return at(self._passing[1], before) or UNKNOWN

    def _wanted(self, db: Connection, known: Identities) -> dict[str, Sequence[str]]:
        """By account, in the order of names: the Stripe customers whose facts it is folded from."""
        among = self._among
        if among is not None and rollups.ready(db, self._owner, self._app.settings.reporting_timezone):
            return {customer: _of_account(customer, known) for customer in sorted(_concerned(db, self._owner, among))}
        fact, found = t.fact, dict[str, list[str]]()
        names = select(fact.c.customer).where(self._owner.of(fact), fact.c.customer.is_not(None)).distinct()
        for customer in sorted(db.scalars(names)):
            found.setdefault(known.get(customer, customer), []).append(customer)
        return dict(sorted(found.items()))

    def _fold(
        self, db: Connection, known: Identities, wanted: Mapping[str, Sequence[str]], posted: bool = False
    ) -> Iterator[Account]:
        told = store.facts_of(db, self._owner, sorted({each for customers in wanted.values() for each in customers}))
        booked = _posted(db, self._owner, list(wanted)) if posted else {}
        for customer, customers in wanted.items():
            learnt = [pair for each in customers for pair in told[each]]
            events: list[LedgerEvent] = renamed(
                ledger_events([fact for event, recorded_at in learnt for fact in facts_of(event, recorded_at)]), known
            )
            mine = histories(book(events, self._policy, self._until)).get(customer)
            if mine is not None:
                self._passing = (customer, self._others.of(customer, [event for event, _ in learnt]))
                yield Account(customer, mine, events, booked.get(customer, {}))
        self._passing = None


@dataclass(frozen=True, slots=True, eq=False)
class _Items(ItemsView[str, History]):
    stream: Stream

    def __iter__(self) -> Iterator[tuple[str, History]]:
        return ((each.customer, each.history) for each in self.stream.accounts())


@dataclass(frozen=True, slots=True, eq=False)
class _Values(ValuesView[History]):
    stream: Stream

    def __iter__(self) -> Iterator[History]:
        return (each.history for each in self.stream.accounts())


def _of_account(customer: str, known: Identities) -> list[str]:
    """Every Stripe customer that is booked under this name."""
    return sorted(members(known).get(customer, frozenset({customer}))) if known else [customer]


def _concerned(db: Connection, owner: Owner, period: Period) -> Iterable[str]:
    """Who has an entry in a period, or a case that was open in one of its months."""
    entry, month = t.entry, t.ledger_month
    first, last = (day.year * 100 + day.month for day in (period.start, period.end))
    moved = select(entry.c.customer).where(
        owner.of(entry), entry.c.effective_at >= period.opens, entry.c.effective_at < period.closes
    )
    risky = (month.c.at_risk_cases > 0) | (month.c.at_risk_cases_opening > 0)
    at_risk = select(month.c.customer).where(owner.of(month), risky, month.c.month <= last, month.c.until >= first)
    return db.scalars(union(moved, at_risk))


def _posted(db: Connection, owner: Owner, customers: Sequence[str]) -> dict[str, dict[str, Posted]]:
    """By customer and movement: when the entry that stands for it was appended, and to which month it was posted."""
    entry = t.entry
    found: dict[str, dict[str, Posted]] = {}
    rows: Any = db.execute(
        select(entry.c.customer, entry.c.key, entry.c.recorded_at, entry.c.posted_period)
        .where(owner.of(entry), entry.c.customer.in_(customers), entry.c.reverses.is_(None))
        .order_by(entry.c.id)
    )
    for row in rows:  # `expansion:1f2e...#2`: the verb, the movement, how often it was booked
        movement = row.key.partition(":")[2].partition("#")[0]
        month = date.fromisoformat(f"{row.posted_period}-01")
        found.setdefault(row.customer, {})[movement] = Posted(row.recorded_at, month)
    return found
