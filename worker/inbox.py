"""Receive once: the rows that the webhook wrote, taken in batches and brought to an end.

A taken row is locked for as long as the transaction lasts, so a worker that dies leaves it as it was. An event that
cannot be handled is tried again with growing waits, then put aside for a person; it never blocks those behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from sqlalchemy import Connection, Row, bindparam, func, select, text, update

from worker.store import Owner
from worker.tables import inbox

MOST_TRIES = 5
FIRST_WAIT = timedelta(seconds=10)  # then 20, 40, 80: five tries within three minutes


@dataclass(frozen=True, slots=True)
class Kept:
    """One stored event as it waits: the raw body and, for a thin one, the object that was read for it."""

    id: int
    owner: Owner
    event_id: str
    tries: int
    body: bytes | None
    fetched: bytes | None

    def payload(self) -> dict[str, object]:
        """The signed body as JSON; raises ValueError if it was erased or is none."""
        if self.body is None:
            raise ValueError("the body was erased when its retention ended")
        found = orjson.loads(self.body)
        if not isinstance(found, dict):
            raise ValueError("the body is not an object")
        return found


@dataclass(frozen=True, slots=True)
class End:
    """What became of one event."""

    id: int
    state: str  # done, ignored, quarantined, fetching
    because: str


def take(db: Connection, now: datetime, most: int, only: int | None = None) -> list[Kept]:
    """Up to `most` waiting events, oldest first, locked until the transaction ends; others' are skipped."""
    columns = (
        inbox.c.id,
        inbox.c.account,
        inbox.c.livemode,
        inbox.c.event_id,
        inbox.c.tries,
        inbox.c.body,
        inbox.c.fetched,
    )
    # Written out, not bound: only so is the partial index used, in SQLite and in a prepared statement.
    wanted = select(*columns).where(text("inbox.state = 'received'"), inbox.c.due_at <= now)
    if only is not None:
        wanted = wanted.where(inbox.c.id == only)
    rows = db.execute(wanted.order_by(inbox.c.due_at, inbox.c.id).limit(most).with_for_update(skip_locked=True))
    return [Kept(r.id, Owner(r.account, r.livemode), r.event_id, r.tries, r.body, r.fetched) for r in rows]


def finish(db: Connection, ends: Sequence[End], now: datetime) -> None:
    if not ends:
        return
    rows = [{"row": end.id, "now_is": end.state, "why": end.because, "at": now} for end in ends]
    db.execute(
        update(inbox)
        .where(inbox.c.id == bindparam("row"))
        .values(state=bindparam("now_is"), because=bindparam("why"), finished_at=bindparam("at")),
        rows,
    )


def failed(db: Connection, id: int, because: str, now: datetime) -> str:
    """Count one more try; the event waits longer, or is put aside after the last. Returns its state."""
    tries = db.scalar(select(inbox.c.tries).where(inbox.c.id == id)) or 0
    state = "quarantined" if tries + 1 >= MOST_TRIES else "received"
    db.execute(
        update(inbox)
        .where(inbox.c.id == id, inbox.c.state == "received")
        .values(state=state, tries=tries + 1, because=because, due_at=now + FIRST_WAIT * 2**tries)
    )
    return state


def fetched(db: Connection, owner: Owner, event_id: str, body: bytes, now: datetime) -> None:
    """The object that a thin event names has been read: the event can be handled."""
    db.execute(
        update(inbox)
        .where(owner.of(inbox), inbox.c.event_id == event_id, inbox.c.state == "fetching")
        .values(state="received", fetched=body, due_at=now)
    )


def unfetched(db: Connection, owner: Owner, event_id: str, because: str, now: datetime) -> None:
    """The object cannot be read: the event waits for a person."""
    db.execute(
        update(inbox)
        .where(owner.of(inbox), inbox.c.event_id == event_id, inbox.c.state == "fetching")
        .values(state="quarantined", because=because, finished_at=now)
    )


def listing(db: Connection, state: str, most: int) -> list[Row[tuple[object, ...]]]:
    """The newest events in a state, for a person to read."""
    columns = (inbox.c.id, inbox.c.account, inbox.c.livemode, inbox.c.event_id, inbox.c.type, inbox.c.received_at)
    wanted = select(*columns, inbox.c.tries, inbox.c.because).where(inbox.c.state == state)
    return list(db.execute(wanted.order_by(inbox.c.id.desc()).limit(most)))


def one(db: Connection, event_id: str) -> list[Row[tuple[object, ...]]]:
    """Every row of one event id, over all accounts and modes."""
    return list(db.execute(select(inbox).where(inbox.c.event_id == event_id)))


def rerun(db: Connection, event_id: str | None, now: datetime) -> int:
    """Let one quarantined event, or all of them, be handled again. How many."""
    again = update(inbox).where(inbox.c.state == "quarantined")
    if event_id is not None:
        again = again.where(inbox.c.event_id == event_id)
    return db.execute(again.values(state="received", tries=0, due_at=now, finished_at=None)).rowcount


def counts(db: Connection) -> dict[str, int]:
    """How many events there are in each state."""
    rows = db.execute(select(inbox.c.state, func.count().label("events")).group_by(inbox.c.state))
    return {row.state: row.events for row in rows}
