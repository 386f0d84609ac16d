"""Keeps the roll-ups: each customer's months, written in the transaction that books what the customer did.

They hold nothing that the facts do not say, so they can be made again at any time: `rebuild` puts every customer on
the bookkeeper's list, and whoever keeps the books next folds them all and writes what differs. Reports go on meanwhile,
and ask `ready` whether to read these rows or to fold the facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, bindparam, delete, exists, func, literal, select, text, union

from billing.ledger.movement import Book
from billing.report.rollup import Month, RolledUp, roll_up
from billing.report.rollup_recovery import Restored
from worker import booklock, bulk, rollup_totals, store
from worker import tables as t
from worker.app import App
from worker.store import Owner


class Changed(NamedTuple):
    """The months that were written, those that were there before and are no more, and how many recoveries differed."""

    gained: list[Month]
    lost: list[Month]
    recoveries: int

    @property
    def rows(self) -> int:
        return len(self.gained) + len(self.lost) + self.recoveries


def ready(db: Connection, owner: Owner, zone: str) -> bool:
    """Whether the roll-ups are of this zone and of every customer; if not, a report folds the facts.

    Not while they are made anew, after a change of the reporting zone, or before anything was booked.
    """
    state, waiting = t.ledger_rollup, t.to_book
    before = waiting.c.due_at <= state.c.listed_at  # without an instant this is unknown
    unbooked = exists().where(waiting.c.account == state.c.account, waiting.c.livemode == state.c.livemode, before)
    whole = select(state.c.zone).where(owner.of(state), state.c.listed_at.is_not(None), ~unbooked)
    return db.scalar(whole) == zone


def update(db: Connection, owner: Owner, books: Mapping[str, Book], zone: str) -> int:
    """Make the months of these customers say what their books say; how many rows had to change.

    A customer with an empty book loses its rows. The caller holds the customers' locks, and has little left to do: what
    is written last here, the sums over all customers, others wait for.
    """
    if not books:
        return 0
    rolled = RolledUp([], [])
    for customer in sorted(books):
        found = roll_up(books[customer], zone)
        rolled.months.extend(found.months)
        rolled.restored.extend(found.restored)
    names = {*books, *(row.customer for row in rolled.months)}
    changed = write(db, owner, rolled, lambda table: table.c.customer.in_(names))
    _note_zone(db, owner, zone, max(each.until for each in books.values()))
    rollup_totals.change(db, owner, changed.gained, changed.lost)
    return changed.rows


def _note_zone(db: Connection, owner: Owner, zone: str, now: datetime) -> None:
    """Remember the zone of the first rows; rows of a second zone mean that nothing is whole until all are made anew."""
    state = t.ledger_rollup
    known = db.execute(select(state).where(owner.of(state))).first()
    if known is None:
        db.execute(store.insert(db, state).on_conflict_do_nothing(), {**owner.key, "zone": zone, "listed_at": now})
    elif known.zone != zone:
        listed_at = known.listed_at if not known.zone else None
        db.execute(state.update().where(owner.of(state)).values(zone=zone, listed_at=listed_at))


def rebuild(app: App) -> int:
    """Put every customer of whom there are facts or rows on the bookkeeper's list; how many are on it.

    The sums are made anew at once, from the months as they stand, and follow them from there.
    """
    now = app.now()
    with app.db.begin() as db:
        booklock.hold(db)
        if db.dialect.name == "postgresql":
            db.execute(text("SET LOCAL statement_timeout = 0"))
        for owner in _owners(db):
            rollup_totals.renew(db, owner)
            put = store.insert(db, t.ledger_rollup)
            again = put.on_conflict_do_update(
                index_elements=list(owner.key), set_={"zone": put.excluded.zone, "listed_at": put.excluded.listed_at}
            )
            db.execute(again, {**owner.key, "zone": app.settings.reporting_timezone, "listed_at": now})
        db.execute(_everyone_by(db, now))
        return int(db.scalar(select(func.count()).where(t.to_book.c.due_at <= now)) or 0)


def _owners(db: Connection) -> Iterator[Owner]:
    mine = [select(table.c.account, table.c.livemode) for table in (t.fact, t.ledger_month, t.ledger_rollup)]
    for row in db.execute(union(*mine)).all():
        yield Owner(row.account, row.livemode)


def _everyone_by(db: Connection, now: datetime) -> Any:
    known = [select(table.c.account, table.c.livemode, table.c.customer) for table in (t.fact, t.ledger_month)]
    everyone = union(*known).subquery()
    due = literal(now, t.to_book.c.due_at.type)
    listed = store.insert(db, t.to_book).from_select(
        ["account", "livemode", "customer", "due_at"],
        select(*everyone.columns, due).where(everyone.c.customer.is_not(None)).order_by(*everyone.columns),
    )
    return listed.on_conflict_do_update(
        index_elements=["account", "livemode", "customer"],
        set_={"due_at": listed.excluded.due_at},
        where=t.to_book.c.due_at > listed.excluded.due_at,
    )


# ---------------------------------------------------------------- rows


def write(db: Connection, owner: Owner, rolled: RolledUp, of: Callable[[Table], ColumnElement[bool]]) -> Changed:
    """Make the rows for which `of(table)` holds these ones, touching only those that differ. Leaves the sums alone."""
    gained, lost = _write(db, owner, t.ledger_month, Month._fields, rolled.months, of(t.ledger_month))
    new, old = _write(db, owner, t.ledger_recovery, Restored._fields, rolled.restored, of(t.ledger_recovery))
    return Changed(gained, list(map(Month._make, lost)), len(new) + len(old))


def _write(
    db: Connection, owner: Owner, table: Table, names: Sequence[str], wanted: Sequence[Any], of: ColumnElement[bool]
) -> tuple[list[Any], set[Any]]:
    """What was missing and is written now, and what was stored and is no more."""
    rows = db.execute(select(*(table.c[name] for name in names)).where(owner.of(table), of))
    stored: set[Any] = set(map(tuple, rows))  # compared by the million: a plain tuple is ten times as fast as a row
    wrong, missing = stored.difference(wanted), [row for row in wanted if row not in stored]
    if wrong:
        key = [column.name for column in table.primary_key if column.name in names]
        places = [(f"was_{name}", names.index(name)) for name in key]
        gone = delete(table).where(owner.of(table), *(table.c[name] == bindparam(f"was_{name}") for name in key))
        db.execute(gone, [{name: row[at] for name, at in places} for row in wrong])
    bulk.insert(db, table, [{**owner.key, **dict(zip(names, row, strict=True))} for row in missing])
    return missing, wrong
