"""The bookkeeper: folds what is known of a customer and appends what the books lack.

Nothing is ever updated. A fact that came late makes the fold say something else, and the difference is appended as
reversals and new entries. What falls due without an event (a past-due limit, a coupon's end) puts the customer on the
list for that time. Crash anywhere: the customer is still on the list, and folding again appends only what is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, delete, insert, select

from billing.events import Event
from billing.ledger.book import book
from billing.ledger.entry import Entry, Posting, corrections, entries_of
from billing.ledger.facts import Fact, facts_of
from billing.ledger.identity import Identities, members, renamed
from billing.ledger.interpret import ledger_events
from billing.ledger.movement import Book
from billing.ledger.policy import DEFAULT, LedgerPolicy
from billing.ledger.vocabulary import LedgerEvent
from billing.money import Amount
from worker import booklock, closed, identity, rollups, store
from worker import tables as t
from worker.app import App
from worker.closed import Horizon
from worker.store import Owner
from worker.values import event_from_json

BATCH = 50


def keep(app: App) -> int:
    """Book everything that was learnt and not yet booked; how many customers that concerned."""
    kept = 0
    while not app.stopping.is_set() and (number := _keep_some(app)):
        kept += number
    return kept


def _keep_some(app: App) -> int:
    with app.db.begin() as db:
        booklock.share(db)
        return keep_batch(app, db, app.now())


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
        folded = _fold(store.facts_of(db, owner, _concerned(known, customers)), known, now)
        first_open = closed.first_open(db, owner)
        for customer, made in folded.items():
            lacking = corrections(booked(db, owner, customer), entries_of(made))
            _append(db, owner, lacking, now, app.settings.reporting_timezone, first_open)
        rollups.update(db, owner, folded, app.settings.reporting_timezone)
        store.book_again(db, owner, {who: made.next_due for who, made in folded.items() if made.next_due})
    return len(waiting)


def _by_owner(rows: Sequence[Row[Any]]) -> dict[Owner, list[str]]:
    found: dict[Owner, list[str]] = defaultdict(list)
    for row in rows:
        found[Owner(row.account, row.livemode)].append(row.customer)
    return found


def _concerned(known: Identities, customers: Iterable[str]) -> list[str]:
    """These customers, and all who are one account with any of them."""
    together = members(known)
    concerned = set(customers)
    for customer in customers:
        concerned |= together.get(known.get(customer, customer), frozenset())
    return sorted(concerned)


def _fold(facts: Mapping[str, Sequence[tuple[Event, datetime]]], known: Identities, until: datetime) -> dict[str, Book]:
    """The books of these customers; of one that is booked under another name an empty one."""
    told: dict[str, list[LedgerEvent]] = {customer: [] for customer in facts}
    for customer, learnt in facts.items():
        told[known.get(customer, customer)] += _read(learnt)
    return {customer: book(renamed(events, known), DEFAULT, until) for customer, events in told.items()}


def fold(facts: Iterable[tuple[Event, datetime]], until: datetime) -> Book:
    """What the facts of one customer, each with the time we learnt it, come to in the books."""
    return book(_read(facts), DEFAULT, until)


def _read(facts: Iterable[tuple[Event, datetime]]) -> list[LedgerEvent]:
    return ledger_events([fact for event, recorded_at in facts for fact in facts_of(event, recorded_at)])


# ---------------------------------------------------------------- all customers at once


def whole(
    db: Connection, owner: Owner, until: datetime, horizon: Horizon | None = None, policy: LedgerPolicy = DEFAULT
) -> Book:
    """Every customer's facts as one book: all that is known, or what was known then."""
    known = identity.known(db, owner, horizon.identity if horizon else None)
    learnt = facts_by_customer(db, owner, horizon.fact if horizon else None)
    return book((event for facts in learnt for event in renamed(ledger_events(facts), known)), policy, until)


def one_by_one(db: Connection, owner: Owner, until: datetime) -> Iterator[tuple[str, Book]]:
    """The book of one account after the other, by name; those of several Stripe customers at the end."""
    known = identity.known(db, owner)
    several = members(known)
    shared: dict[str, list[LedgerEvent]] = defaultdict(list)
    for facts in facts_by_customer(db, owner):
        events = renamed(ledger_events(facts), known)
        account = known.get(facts[0].customer, facts[0].customer) if facts else ""
        if account in several:
            shared[account] += events
        elif facts:
            yield account, book(events, DEFAULT, until)
    for account in sorted(shared):
        yield account, book(shared[account], DEFAULT, until)


def facts_by_customer(db: Connection, owner: Owner, last: int | None = None) -> Iterator[list[Fact]]:
    """The facts of one Stripe customer after the other, up to a row."""
    fact = t.fact
    wanted = select(fact.c.customer, fact.c.body, fact.c.recorded_at).where(
        owner.of(fact), fact.c.customer.is_not(None)
    )
    if last is not None:
        wanted = wanted.where(fact.c.id <= last)
    rows = db.execution_options(yield_per=1_000).execute(wanted.order_by(fact.c.customer, fact.c.id))
    for _, of_one in groupby(rows, key=lambda row: row.customer):
        yield [fact for row in of_one for fact in facts_of(event_from_json(row.body), row.recorded_at)]


# ---------------------------------------------------------------- entries


def booked(db: Connection, owner: Owner, customer: str) -> dict[str, Entry]:
    rows = db.execute(select(t.entry).where(owner.of(t.entry), t.entry.c.customer == customer)).all()
    lines = db.execute(
        select(t.posting).where(t.posting.c.entry.in_([row.id for row in rows])).order_by(t.posting.c.line)
    )
    postings: dict[int, list[Posting]] = defaultdict(list)
    for line in lines:
        postings[line.entry].append(Posting(line.name, Amount(line.minor, line.unit)))
    return {
        row.key: Entry(
            key=row.key,
            effective_at=row.effective_at,
            because=row.because,
            postings=tuple(postings[row.id]),
            customer=row.customer,
            subscription=row.subscription or "",
            invoice=row.invoice,
            case=row.case,
            reverses=row.reverses,
        )
        for row in rows
    }


def _append(db: Connection, owner: Owner, entries: Sequence[Entry], now: datetime, zone: str, first_open: str) -> None:
    """Add entries, each posted to the month it belongs to, or to the first open one when that is closed."""
    for entry in entries:
        row = {
            **owner.key,
            "key": entry.key,
            "customer": entry.customer,
            "subscription": entry.subscription,
            "invoice": entry.invoice,
            "case": entry.case,
            "because": entry.because,
            "effective_at": entry.effective_at,
            "recorded_at": now,
            "posted_period": max(entry.effective_at.astimezone(ZoneInfo(zone)).strftime("%Y-%m"), first_open),
            "reverses": entry.reverses,
        }
        number = db.execute(insert(t.entry).returning(t.entry.c.id), row).scalar_one()
        db.execute(
            insert(t.posting),
            [
                {
                    "entry": number,
                    "line": line,
                    "name": each.account,
                    "minor": each.amount.minor,
                    "unit": each.amount.unit,
                }
                for line, each in enumerate(entry.postings)
            ],
        )
