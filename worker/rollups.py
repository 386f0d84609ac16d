"""Keeps the roll-ups: each customer's months, written in the transaction that books what the customer did.

They hold nothing that the facts do not say, so they can be made again at any time: `rebuild` puts every customer on
the bookkeeper's list, and whoever keeps the books next folds them all and writes what differs. Reports go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, bindparam, delete, func, literal, select

from billing.ledger.movement import Book
from billing.report.rollup import Month, Restored, RolledUp, roll_up
from worker import store
from worker import tables as t
from worker.app import App
from worker.store import Owner

COPIED = 500  # from so many rows on, PostgreSQL takes them as a stream


def update(db: Connection, owner: Owner, books: Mapping[str, Book], zone: str) -> int:
    """Make the months of these customers say what their books say; how many rows had to change.

    A customer with an empty book loses its rows. The caller holds the customers' locks.
    """
    rolled = RolledUp([], [])
    for customer in sorted(books):
        found = roll_up(books[customer], zone)
        rolled.months.extend(found.months)
        rolled.restored.extend(found.restored)
    names = {*books, *(row.customer for row in rolled.months)}
    return write(db, owner, rolled, lambda table: table.c.customer.in_(names))


def rebuild(app: App) -> int:
    """Put every customer that there are facts of on the bookkeeper's list; how many there are."""
    with app.db.begin() as db:
        fact = t.fact
        mine = (fact.c.account, fact.c.livemode, fact.c.customer)
        everyone = select(*mine, literal(app.now(), t.to_book.c.due_at.type)).where(fact.c.customer.is_not(None))
        listed = store.insert(db, t.to_book).from_select(
            ["account", "livemode", "customer", "due_at"], everyone.group_by(*mine)
        )
        sooner = listed.on_conflict_do_update(
            index_elements=["account", "livemode", "customer"],
            set_={"due_at": listed.excluded.due_at},
            where=t.to_book.c.due_at > listed.excluded.due_at,
        )
        db.execute(sooner)
        return int(db.scalar(select(func.count()).where(t.to_book.c.due_at <= app.now())) or 0)


def write(db: Connection, owner: Owner, rolled: RolledUp, of: Callable[[Table], ColumnElement[bool]]) -> int:
    """Make the rows for which `of(table)` holds these ones, touching only those that differ; how many did."""
    changed = _write(db, owner, t.ledger_month, Month._fields, rolled.months, of(t.ledger_month))
    return changed + _write(db, owner, t.ledger_recovery, Restored._fields, rolled.restored, of(t.ledger_recovery))


def _write(
    db: Connection,
    owner: Owner,
    table: Table,
    names: Sequence[str],
    wanted: Sequence[tuple[Any, ...]],
    of: ColumnElement[bool],
) -> int:
    columns = [table.c[name] for name in names]
    stored = {tuple(row) for row in db.execute(select(*columns).where(owner.of(table), of))}
    right = set(wanted)
    wrong, missing = stored - right, [row for row in wanted if row not in stored]
    key = [column.name for column in table.primary_key if column.name in names]
    places = [names.index(name) for name in key]
    stream = db.dialect.name == "postgresql" and len(missing) >= COPIED
    kept = set() if stream else {tuple(row[at] for at in places) for row in missing}  # these are overwritten
    stale = [where for row in wrong if (where := tuple(row[at] for at in places)) not in kept]
    if stale:
        gone = delete(table).where(owner.of(table), *(table.c[name] == bindparam(f"was_{name}") for name in key))
        db.execute(gone, [{f"was_{name}": part for name, part in zip(key, where, strict=True)} for where in stale])
    if stream:
        _stream(db, owner, table, names, missing)
    elif missing:
        put = store.insert(db, table)
        changes = {name: put.excluded[name] for name in names if name not in key}
        put = put.on_conflict_do_update(index_elements=[*owner.key, *key], set_=changes)
        db.execute(put, [{**owner.key, **dict(zip(names, row, strict=True))} for row in missing])
    return len(wrong) + len(missing)


def _stream(db: Connection, owner: Owner, table: Table, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    listed = ", ".join(["account", "livemode", *names])
    psycopg: Any = db.connection.driver_connection
    with psycopg.cursor() as cursor, cursor.copy(f"COPY {table.name} ({listed}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row((owner.account, owner.livemode, *row))
