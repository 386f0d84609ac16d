"""Read the queue: one page of it, the counts, and everything about one case. Nothing here changes anything.

A page is a walk along an index in the order of the work, most urgent first, then by due time; the next page begins
after a key, so page one thousand costs what page one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select, text

from billing.assist import SENTENCES, Reason
from billing.money import MONTHLY, Amount
from worker.assist_tables import OPEN, task, task_note, task_reason
from worker.store import Owner
from worker.tables import audit

MOST = 200
NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Why:
    """One reason of a task."""

    reason: str
    since: datetime
    because: str


@dataclass(frozen=True, slots=True)
class Task:
    """A case that needs a person. `owner` is who took it or was given it; `mrr` None: not known."""

    id: int
    invoice: str
    customer: str | None
    state: str
    priority: int
    owner: str | None
    due_at: datetime
    due_by: str | None
    amount: Amount
    mrr: Amount | None
    opened_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    because: str | None
    reasons: tuple[Why, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody wrote to a case."""

    at: datetime
    actor: str
    words: str


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody did, as the audit has it."""

    at: datetime
    actor: str
    what: str
    because: str


@dataclass(frozen=True, slots=True)
class Filter:
    """What is wanted of the queue; None: whatever. `owner` may be `nobody`; `min_mrr` is in minor units a month."""

    reason: Reason | None = None
    owner: str | None = None
    due_before: datetime | None = None
    min_mrr: int | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """`after` is the key of the next page, None on the last."""

    tasks: tuple[Task, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks wait, how many of them are overdue, and how often each reason is given."""

    waiting: int
    overdue: int
    nobodys: int
    reasons: dict[str, int]


def page(db: Connection, owner: Owner, wanted: Filter, after: str | None = None, most: int = 50) -> Page:
    """The open tasks, most urgent first. Raises ValueError for a key that is none."""
    if not 1 <= most <= MOST:
        raise ValueError(f"a page has 1 to {MOST} tasks")
    query = select(task).where(owner.of(task), text(OPEN), *_conditions(owner, wanted))
    if after is not None:
        query = query.where(_behind(after))
    rows = list(db.execute(query.order_by(task.c.priority, task.c.due_at, task.c.id).limit(most + 1)))
    shown = rows[:most]
    last = f"{shown[-1].priority}/{shown[-1].due_at.isoformat()}/{shown[-1].id}" if len(rows) > most else None
    return Page(tuple(_tasks(db, shown)), last)


def counts(db: Connection, owner: Owner, now: datetime) -> Counts:
    """The whole queue in figures."""
    mine = and_(owner.of(task), text(OPEN))
    waiting = db.scalar(select(func.count()).select_from(task).where(mine)) or 0
    overdue = db.scalar(select(func.count()).select_from(task).where(mine, task.c.due_at <= now)) or 0
    nobodys = db.scalar(select(func.count()).select_from(task).where(mine, task.c.assigned_to.is_(None))) or 0
    reason = task_reason
    given = select(reason.c.reason, func.count()).where(owner.of(reason), text("ended_at is null"))
    found = {name: number for name, number in db.execute(given.group_by(reason.c.reason))}  # noqa: C416
    return Counts(waiting, overdue, nobodys, {each.value: found[each.value] for each in SENTENCES if each in found})


def said(counts: Counts) -> str:
    """The queue in one sentence; empty when nothing waits."""
    if not counts.waiting:
        return ""
    need = "1 case needs" if counts.waiting == 1 else f"{counts.waiting:,} cases need"
    overdue = f", {counts.overdue:,} overdue" if counts.overdue else ""
    return f"{need} a person{overdue}."


def tasks_of(db: Connection, owner: Owner, invoice: str) -> list[Task]:
    """Every task that the case ever had, the newest first."""
    mine = select(task).where(owner.of(task), task.c.invoice == invoice)
    return _tasks(db, list(db.execute(mine.order_by(task.c.id.desc()))))


def open_task(db: Connection, owner: Owner, invoice: str) -> Task | None:
    """The one open task of a case."""
    mine = select(task).where(owner.of(task), task.c.invoice == invoice, text(OPEN))
    return next(iter(_tasks(db, list(db.execute(mine)))), None)


def notes_of(db: Connection, owner: Owner, invoice: str) -> list[Note]:
    """What was written to the case, in order of time."""
    mine = select(task_note).where(owner.of(task_note), task_note.c.invoice == invoice).order_by(task_note.c.id)
    return [Note(row.at, row.actor, row.words) for row in db.execute(mine)]


def deeds_of(db: Connection, owner: Owner, invoice: str) -> list[Deed]:
    """What people did to the case, in order of time."""
    mine = select(audit).where(owner.of(audit), audit.c.object == invoice).order_by(audit.c.id)
    return [Deed(row.at, row.actor, row.what, row.because) for row in db.execute(mine)]


def _conditions(owner: Owner, wanted: Filter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.reason:
        given = select(task_reason.c.task).where(
            owner.of(task_reason), task_reason.c.reason == wanted.reason.value, task_reason.c.ended_at.is_(None)
        )
        found.append(task.c.id.in_(given))
    if wanted.owner == NOBODY:
        found.append(task.c.assigned_to.is_(None))
    elif wanted.owner:
        found.append(task.c.assigned_to == wanted.owner)
    if wanted.due_before:
        found.append(task.c.due_at < wanted.due_before)
    if wanted.min_mrr is not None:
        found.append(task.c.mrr >= wanted.min_mrr)
    if wanted.currency:
        found.append(task.c.currency == wanted.currency)
    return found


def _behind(after: str) -> ColumnElement[bool]:
    """SQL: the task stands behind this key. Raises ValueError."""
    urgency, _, rest = after.partition("/")
    at, _, number = rest.rpartition("/")
    due, priority, last = datetime.fromisoformat(at), int(urgency), int(number)
    if due.tzinfo is None or not 0 <= priority < 100 or not 0 <= last < 2**62:
        raise ValueError("this is no key of a page")
    same_time = and_(task.c.due_at == due, task.c.id > last)
    return and_(
        task.c.priority >= priority,
        or_(task.c.priority > priority, task.c.due_at > due, same_time),
    )


def _tasks(db: Connection, rows: list[Row[Any]]) -> list[Task]:
    """The tasks with their reasons; of a closed one those that it had."""
    if not rows:
        return []
    reason = task_reason
    query = select(reason).where(reason.c.task.in_([row.id for row in rows])).order_by(reason.c.id)
    given: dict[int, list[Row[Any]]] = {}
    for each in db.execute(query):
        given.setdefault(each.task, []).append(each)
    return [_task(row, given.get(row.id, [])) for row in rows]


def _task(row: Row[Any], given: list[Row[Any]]) -> Task:
    closed = row.state == "done"
    return Task(
        id=row.id,
        invoice=row.invoice,
        customer=row.customer,
        state=row.state,
        priority=row.priority,
        owner=row.assigned_to,
        due_at=row.due_at,
        due_by=row.due_by,
        amount=Amount(row.amount, row.currency),
        mrr=None if row.mrr is None else Amount(row.mrr, row.currency + MONTHLY),
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        closed_by=row.closed_by,
        because=row.because,
        reasons=tuple(Why(why.reason, why.since, why.because) for why in given if closed or why.ended_at is None),
    )
