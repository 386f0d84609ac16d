"""What is done by the hour, the day or the week: due rows of one table, so that of any number of workers one does it.

A worker that dies while it works is followed by another.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from worker import store
from worker.app import App
from worker.store import Owner
from worker.tables import schedule

WORK_LASTS = timedelta(minutes=30)  # whoever took a due row and said nothing for so long has died


@dataclass(frozen=True, slots=True)
class Done:
    """When a job is due next, and what came of it last."""

    due_at: datetime
    because: str | None
    done_at: datetime | None


def take(app: App, owner: Owner, name: str, every: timedelta) -> bool:
    """Whether this worker is the one; a row that is not there yet is due one period after it is first seen."""
    now = app.now()
    with app.db.begin() as db:
        first = {**owner.key, "name": name, "due_at": now + every}
        db.execute(store.insert(db, schedule).on_conflict_do_nothing(), [first])
        mine = update(schedule).where(owner.of(schedule), schedule.c.name == name, schedule.c.due_at <= now)
        return bool(db.execute(mine.values(due_at=now + WORK_LASTS)).rowcount)


def done(app: App, owner: Owner, name: str, wait: timedelta, because: str) -> None:
    """The job has ended, and is due again after `wait`."""
    now = app.now()
    row = {**owner.key, "name": name, "due_at": now + wait, "because": because, "done_at": now}
    with app.db.begin() as db:
        statement = store.insert(db, schedule)
        said = {column: statement.excluded[column] for column in ("due_at", "because", "done_at")}
        keys = ["account", "livemode", "name"]
        db.execute(statement.on_conflict_do_update(index_elements=keys, set_=said), [row])


def of(db: Connection, owner: Owner, name: str) -> Done | None:
    """How a job stands; None before anybody thought of it."""
    row = db.execute(select(schedule).where(owner.of(schedule), schedule.c.name == name)).first()
    return Done(row.due_at, row.because, row.done_at) if row else None
