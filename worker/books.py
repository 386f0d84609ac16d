"""The bookkeeper: folds what is known of a customer and appends what the books lack.

Nothing is ever updated. A fact that came late makes the fold say something else, and the difference is appended as
reversals and new entries. What falls due without an event (a past-due limit, a coupon's end) puts the customer on the
list for that time. Crash anywhere: the customer is still on the list, and folding again appends only what is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, delete, insert, select

from billing.events import Event
from billing.ledger.book import book
from billing.ledger.entry import Entry, Posting, corrections, entries_of
from billing.ledger.facts import facts_of
from billing.ledger.interpret import ledger_events
from billing.ledger.movement import Book
from billing.ledger.policy import DEFAULT
from billing.money import Amount
from worker import store
from worker import tables as t
from worker.app import App
from worker.store import Owner

BATCH = 50


def keep(app: App) -> int:
    """Book everything that was learnt and not yet booked; how many customers that concerned."""
    kept = 0
    while not app.stopping.is_set() and (number := _keep_some(app)):
        kept += number
    return kept


def _keep_some(app: App) -> int:
    now = app.now()
    with app.db.begin() as db:
        due = select(t.to_book).where(t.to_book.c.due_at <= now).order_by(t.to_book.c.due_at)
        waiting = db.execute(due.limit(BATCH).with_for_update(skip_locked=True)).all()
        for owner, customers in _by_owner(waiting).items():
            store.lock(db, owner, customers)
            db.execute(delete(t.to_book).where(owner.of(t.to_book), t.to_book.c.customer.in_(customers)))
            again = {}
            for customer, facts in store.facts_of(db, owner, customers).items():
                folded = fold(facts, now)
                lacking = corrections(_booked(db, owner, customer), entries_of(folded))
                _append(db, owner, lacking, now, app.settings.reporting_timezone)
                if folded.next_due:
                    again[customer] = folded.next_due
            store.book_again(db, owner, again)
    return len(waiting)


def _by_owner(rows: Sequence[Row[Any]]) -> dict[Owner, list[str]]:
    found: dict[Owner, list[str]] = defaultdict(list)
    for row in rows:
        found[Owner(row.account, row.livemode)].append(row.customer)
    return found


def fold(facts: Iterable[tuple[Event, datetime]], until: datetime) -> Book:
    """What the facts of one customer, each with the time we learnt it, come to in the books."""
    learnt = [fact for event, recorded_at in facts for fact in facts_of(event, recorded_at)]
    return book(ledger_events(learnt), DEFAULT, until)


def _booked(db: Connection, owner: Owner, customer: str) -> dict[str, Entry]:
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


def _append(db: Connection, owner: Owner, entries: Sequence[Entry], now: datetime, zone: str) -> None:
    """Add entries, each posted to the month it belongs to; nothing is closed yet, so that is its own month."""
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
            "posted_period": entry.effective_at.astimezone(ZoneInfo(zone)).strftime("%Y-%m"),
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
