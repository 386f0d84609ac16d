"""The bookkeeper: folds what is known of a customer and appends what the books lack.

Nothing is ever updated. A fact that came late makes the fold say something else, and the difference is appended as
reversals and new entries. What falls due without an event (a past-due limit, a coupon's end) puts the customer on the
list for that time. Crash anywhere: the customer is still on the list, and folding again appends only what is missing.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Connection, Row, delete, select

from billing.events import Event
from billing.ledger.book import book
from billing.ledger.entry import Entry, corrections, entries_of
from billing.ledger.facts import KINDS, Fact, facts_of
from billing.ledger.identity import Identities, members, renamed
from billing.ledger.interpret import ledger_events
from billing.ledger.movement import Book
from billing.ledger.policy import DEFAULT, LedgerPolicy
from billing.ledger.vocabulary import LedgerEvent
from worker import booklock, closed, entries, identity, rollups, store
from worker import tables as t
from worker.app import App
from worker.closed import Horizon
from worker.store import Owner
from worker.values import event_from_json

BATCH = 200
PAGE = 100  # accounts that are read and folded together


def keep(app: App, tell: Callable[[int], None] = lambda kept: None) -> int:
    """Book everything that was learnt and not yet booked; how many customers that concerned, told after each batch."""
    kept = 0
    while not app.stopping.is_set() and (number := _keep_some(app)):
        kept += number
        tell(kept)
    return kept


def _keep_some(app: App) -> int:
    with _collector_resting(), app.db.begin() as db:
        booklock.share(db)
        return keep_batch(app, db, app.now())


@contextmanager
def _collector_resting() -> Iterator[None]:
    """A batch is a hundred thousand small values without cycles: looking for cycles took a third of the time."""
    was_at_work = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_at_work:
            gc.enable()


def keep_batch(app: App, db: Connection, now: datetime, alone: bool = False) -> int:
    """Book the longest-waiting customers in this transaction; how many were on the list.

    `alone` is for a caller who holds the books (`booklock.hold`): no other bookkeeper is at work, and the customers'
    own locks, which their events may hold while waiting for the caller, are left out.
    """
    due = select(t.to_book).where(t.to_book.c.due_at <= now).order_by(t.to_book.c.due_at)
    waiting = db.execute(due.limit(BATCH)).all()
    for owner, listed in _by_owner(waiting).items():
        known = identity.known(db, owner)
        if not alone:
            # Customers before rows, as everywhere: whoever adds a fact holds the customer and then wants the row.
            store.lock(db, owner, _concerned(known, listed))
        taken = delete(t.to_book).where(owner.of(t.to_book), t.to_book.c.customer.in_(listed))
        customers = [row.customer for row in db.execute(taken.returning(t.to_book.c.customer))]
        facts = store.facts_of(db, owner, _concerned(known, customers), KINDS)
        folded = _fold(facts, known, now, app.settings.ledger_policy)
        first_open = closed.first_open(db, owner)
        before = entries.booked(db, owner, folded)
        lacking = [entry for who, made in folded.items() for entry in corrections(before[who], entries_of(made))]
        entries.append(db, owner, lacking, now, app.settings.reporting_timezone, first_open)
        rollups.update(db, owner, folded, app.settings.reporting_timezone)
        store.book_again(db, owner, {who: made.next_due for who, made in folded.items() if made.next_due})
    return len(waiting)


def booked(db: Connection, owner: Owner, customer: str) -> dict[str, Entry]:
    """All entries ever of one customer, by key."""
    return entries.booked(db, owner, [customer]).get(customer, {})


def _by_owner(rows: Sequence[Row[Any]]) -> dict[Owner, list[str]]:
    """In one order everywhere, so that two bookkeepers never wait for each other's sums."""
    found: dict[Owner, list[str]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.account, row.livemode)):
        found[Owner(row.account, row.livemode)].append(row.customer)
    return found


def _concerned(known: Identities, customers: Iterable[str]) -> list[str]:
    """These customers, and all who are one account with any of them."""
    together = members(known)
    concerned = set(customers)
    for customer in customers:
        concerned |= together.get(known.get(customer, customer), frozenset())
    return sorted(concerned)


def _fold(
    facts: Mapping[str, Sequence[tuple[Event, datetime]]], known: Identities, until: datetime, policy: LedgerPolicy
) -> dict[str, Book]:
    """The books of these customers; of one that is booked under another name an empty one."""
    told: dict[str, list[LedgerEvent]] = {customer: [] for customer in facts}
    for customer, learnt in facts.items():
        told[known.get(customer, customer)] += _read(learnt)
    return {customer: book(renamed(events, known), policy, until) for customer, events in told.items()}


def fold(facts: Iterable[tuple[Event, datetime]], until: datetime) -> Book:
    """What the facts of one customer, each with the time we learnt it, come to in the books."""
    return book(_read(facts), DEFAULT, until)


def _read(facts: Iterable[tuple[Event, datetime]]) -> list[LedgerEvent]:
    return ledger_events([fact for event, recorded_at in facts for fact in facts_of(event, recorded_at)])


# ---------------------------------------------------------------- all customers at once


def one_by_one(
    db: Connection, owner: Owner, until: datetime, policy: LedgerPolicy, horizon: Horizon | None = None
) -> Iterator[tuple[str, Book]]:
    """The book of one account after the other, by name: by all that is known, or by what was known then.

    A page of accounts is read, then folded, then the next one is read: however many there are, the transaction is
    never idle for longer than a page takes, and PostgreSQL does not end it.
    """
    known = identity.known(db, owner, horizon.identity if horizon else None)
    last = horizon.fact if horizon else None
    accounts = iter(_accounts(db, owner, known, last).items())
    while page := dict(islice(accounts, PAGE)):
        told: dict[str, list[LedgerEvent]] = defaultdict(list)
        for facts in facts_by_customer(db, owner, last, [each for customers in page.values() for each in customers]):
            if facts:
                told[known.get(facts[0].customer, facts[0].customer)] += renamed(ledger_events(facts), known)
        for account in page:
            if account in told:
                yield account, book(told.pop(account), policy, until)


def _accounts(db: Connection, owner: Owner, known: Identities, last: int | None) -> dict[str, list[str]]:
    """By name: the Stripe customers with facts, up to a row, that are booked under it."""
    fact, found = t.fact, dict[str, list[str]]()
    names = select(fact.c.customer).where(owner.of(fact), fact.c.customer.is_not(None)).distinct()
    for customer in sorted(db.scalars(names if last is None else names.where(fact.c.id <= last))):
        found.setdefault(known.get(customer, customer), []).append(customer)
    return dict(sorted(found.items()))


def facts_by_customer(
    db: Connection, owner: Owner, last: int | None = None, among: Sequence[str] | None = None
) -> Iterator[list[Fact]]:
    """The facts of one Stripe customer after the other, up to a row; of everybody, or among some."""
    fact = t.fact
    wanted = select(fact.c.customer, fact.c.body, fact.c.recorded_at).where(
        owner.of(fact), fact.c.customer.is_not(None), fact.c.kind.in_(sorted(KINDS))
    )
    if last is not None:
        wanted = wanted.where(fact.c.id <= last)
    if among is not None:
        wanted = wanted.where(fact.c.customer.in_(among))
    rows = db.execute(wanted.order_by(fact.c.customer, fact.c.id).execution_options(yield_per=1_000))
    for _, of_one in groupby(rows, key=lambda row: row.customer):
        yield [fact for row in of_one for fact in facts_of(event_from_json(row.body), row.recorded_at)]
