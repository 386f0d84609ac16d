"""Whether the books are right: every check that an auditor would ask for, each in one function of one list.

Entries must balance, reversals must reverse something once, the books must be what the facts come to, and closed months
must still be what they were closed with. Nothing is mended here: a finding is a sentence. Customers are read one after
the other, so memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, func, select

from billing.ledger.entry import Entry, Unbalanced, corrections, entries_of
from billing.ledger.identity import members
from billing.ledger.movement import Book
from billing.money import Amount
from billing.report.bridge import Bridge, NotBalanced, bridges
from billing.report.period import Period
from worker import books, closed, identity, report
from worker import tables as t
from worker.app import App
from worker.store import Owner

LOOKS = 3
Check = Callable[[App, Connection, Owner], Iterator[str]]


def findings(app: App, owner: Owner) -> list[str]:
    """Everything that is wrong with the books of one account, after they were brought up to date; empty is good.

    Looks again when a worker may have written between two readings, which a real mistake survives.
    """
    found: list[str] = []
    for _ in range(LOOKS):
        books.keep(app)
        with app.db.read() as db:
            found = [finding for check in CHECKS for finding in check(app, db, owner)]
        if not found:
            break
    return found


def counts(app: App, owner: Owner) -> tuple[int, int, int]:
    """Entries, customers with entries, and closed months of one account."""
    with app.db.read() as db:
        entries = select(func.count(), func.count(t.entry.c.customer.distinct())).where(owner.of(t.entry))
        row = db.execute(entries).one()
        return int(row[0]), int(row[1]), len(closed.all_of(db, owner))


def _balanced(app: App, db: Connection, owner: Owner) -> Iterator[str]:
    off = (
        select(t.entry.c.key, t.posting.c.unit, func.sum(t.posting.c.minor).label("minor"))
        .join(t.posting, t.posting.c.entry == t.entry.c.id)
        .where(owner.of(t.entry))
        .group_by(t.entry.c.key, t.posting.c.unit)
        .having(func.sum(t.posting.c.minor) != 0)
    )
    for row in db.execute(off):
        yield f"entry {row.key} is off by {Amount(int(row.minor), row.unit)}"
    bare = select(t.entry.c.key).where(owner.of(t.entry), t.entry.c.id.not_in(select(t.posting.c.entry)))
    for row in db.execute(bare):
        yield f"entry {row.key} has no postings"


def _reversals(app: App, db: Connection, owner: Owner) -> Iterator[str]:
    keys = select(t.entry.c.key).where(owner.of(t.entry))
    orphans = select(t.entry.c.key, t.entry.c.reverses).where(owner.of(t.entry), t.entry.c.reverses.not_in(keys))
    for row in db.execute(orphans):
        yield f"entry {row.key} reverses {row.reverses}, which is not in the books"
    twice = (
        select(t.entry.c.reverses)
        .where(owner.of(t.entry), t.entry.c.reverses.is_not(None))
        .group_by(t.entry.c.reverses)
        .having(func.count() > 1)
    )
    for row in db.execute(twice):
        yield f"entry {row.reverses} was reversed more than once"


def _as_the_facts_say(app: App, db: Connection, owner: Owner) -> Iterator[str]:
    """Who waits to be booked is left out: what the books lack of them is known."""
    now = app.now()
    for customer, made in books.one_by_one(db, owner, now, app.settings.ledger_policy):
        lacking = _lacking(db, owner, customer, entries_of(made))
        if lacking and not _waits(db, owner, customer, now):
            yield f"the books of {customer} lack {len(lacking)} entries of what its facts come to"
    for customer in _without_facts(db, owner):
        if _lacking(db, owner, customer, ()) and not _waits(db, owner, customer, now):
            yield f"the books of {customer} hold entries that no fact accounts for"


def _waits(db: Connection, owner: Owner, customer: str, now: datetime) -> bool:
    row = t.to_book
    mine = select(row.c.customer).where(owner.of(row), row.c.customer == customer, row.c.due_at <= now)
    return db.execute(mine.limit(1)).first() is not None


def _without_facts(db: Connection, owner: Owner) -> Iterator[str]:
    """Who has entries and, under this name, nothing to book: no facts, or facts that are booked as somebody else's."""
    known = identity.known(db, owner)
    told = {account: together for account, together in members(known).items() if _any_fact(db, owner, together)}
    yield from (customer for customer, account in sorted(known.items()) if customer != account)
    facts = select(t.fact.c.id).where(owner.of(t.fact), t.fact.c.customer == t.entry.c.customer)
    bare = select(t.entry.c.customer).where(owner.of(t.entry), ~facts.exists()).distinct()
    for row in db.execute(bare.order_by(t.entry.c.customer)):
        if row.customer not in known and row.customer not in told:
            yield row.customer


def _any_fact(db: Connection, owner: Owner, customers: Iterable[str]) -> bool:
    mine = select(t.fact.c.id).where(owner.of(t.fact), t.fact.c.customer.in_(sorted(customers)))
    return db.execute(mine.limit(1)).first() is not None


def _lacking(db: Connection, owner: Owner, customer: str, wanted: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """What to append; nothing for books with an entry that does not balance, which is a finding of its own."""
    try:
        return corrections(books.booked(db, owner, customer), wanted)
    except Unbalanced:
        return ()


def _closed_months(app: App, db: Connection, owner: Owner) -> Iterator[str]:
    for each in closed.all_of(db, owner):
        now_posted = closed.posted(db, owner, each.month)
        if now_posted != dict(each.closing):
            yield f"{each.month} was closed with {dict(each.closing)}, its entries come to {now_posted}"
        then = books.one_by_one(db, owner, each.closed_at, each.switches, each.horizon)
        found = _closings((made for _, made in then), each.period)
        again = {bridge.unit: bridge.end for bridge in found if bridge.end}
        if again != dict(each.closing):
            yield f"{each.month} was closed with {dict(each.closing)}, as then known it comes to {again}"


def _bridge(app: App, db: Connection, owner: Owner) -> Iterator[str]:
    try:
        made = (book for _, book in books.one_by_one(db, owner, app.now(), app.settings.ledger_policy))
        for each in _closings(made, report.period_of(app, "")):
            report.check_postings(db, owner, each)
    except (report.BooksDisagree, NotBalanced) as wrong:
        yield str(wrong)


def _closings(made: Iterable[Book], period: Period) -> list[Bridge]:
    """A bridge for each currency whose closing is the sum of all customers'; each customer's own bridge is checked."""
    found: dict[str, Bridge] = {}
    for each in made:
        for one in bridges(each, period):
            before = found.get(one.unit)
            found[one.unit] = replace(one, end=one.end + before.end) if before else one
    return list(found.values())


CHECKS: tuple[Check, ...] = (_balanced, _reversals, _as_the_facts_say, _closed_months, _bridge)
