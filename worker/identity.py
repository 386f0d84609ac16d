"""Which Stripe customers are one account: stated by a person or a file, kept as rows that are never changed.

The newest statement about a customer holds. Everybody whose account changes is put on the bookkeeper's list, and the
difference is appended like any other correction.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from sqlalchemy import Connection, func, insert, select

from billing.ledger.identity import identities, members
from worker import booklock, store
from worker import tables as t
from worker.app import App
from worker.store import Owner

COLUMNS = ("customer", "same_as")


class NotReadable(ValueError):
    """A file of identities cannot be used; the message names file, line and column. Nothing of it was kept."""


def known(db: Connection, owner: Owner, last: int | None = None) -> dict[str, str]:
    """By Stripe customer: under whose id its account is booked. Those who stand alone are left out.

    `last` leaves out what was stated after that row.
    """
    row = t.identity
    wanted = select(row.c.customer, row.c.same_as).where(owner.of(row))
    if last is not None:
        wanted = wanted.where(row.c.id <= last)
    return identities((each.customer, each.same_as) for each in db.execute(wanted.order_by(row.c.id)))


def last_row(db: Connection, owner: Owner) -> int:
    return int(db.scalar(select(func.max(t.identity.c.id)).where(owner.of(t.identity))) or 0)


def state(app: App, owner: Owner, statements: Sequence[tuple[str, str]], by: str) -> int:
    """Keep statements (customer, same as) and have the books follow; how many customers changed their account.

    Raises billing.ledger.identity.Circular, and keeps nothing then.
    """
    now = app.now()
    with app.db.begin() as db:
        booklock.hold(db)
        before = known(db, owner)
        rows = select(t.identity.c.customer, t.identity.c.same_as).where(owner.of(t.identity)).order_by(t.identity.c.id)
        told = [(row.customer, row.same_as) for row in db.execute(rows)]
        after = identities([*told, *statements])
        changed = {each for each in before.keys() | after.keys() if before.get(each, each) != after.get(each, each)}
        if not changed:
            return 0
        db.execute(
            insert(t.identity),
            [
                {**owner.key, "customer": customer, "same_as": same_as, "by": by, "recorded_at": now}
                for customer, same_as in statements
            ],
        )
        store.book_again(db, owner, dict.fromkeys(sorted(_with_their_accounts(changed, before, after)), now))
    return len(changed)


def _with_their_accounts(changed: Iterable[str], *maps: dict[str, str]) -> set[str]:
    found = set(changed)
    for each in maps:
        together = members(each)
        for customer in changed:
            account = each.get(customer, customer)
            found |= {account} | together.get(account, frozenset())
    return found


def read(file: Path) -> list[tuple[str, str]]:
    """A CSV file with the columns `customer` and `same_as`. Raises NotReadable."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as wrong:
        raise NotReadable(f"{file}: {wrong}") from wrong
    rows = csv.reader(text.splitlines())
    head = [name.strip().lower() for name in next(rows, [])]
    for column in COLUMNS:
        if column not in head:
            raise NotReadable(f"{file}, line 1: the column {column} is missing")
    statements = []
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        values = {name: cell.strip() for name, cell in zip(head, row, strict=False)}
        for column in COLUMNS:
            if not values.get(column):
                raise NotReadable(f"{file}, line {rows.line_num}, column {column}: it is empty")
        statements.append((values["customer"], values["same_as"]))
    return statements
