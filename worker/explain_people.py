"""What people did to a case, and the tasks it gave them, as lines of its story."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection

from worker import queue
from worker.store import Owner

WRITTEN = ("queue note", "queue offer")  # the note itself is shown
Line = tuple[datetime, str, str, str]  # when, who, what, because


def lines(db: Connection, owner: Owner, invoice: str) -> Iterator[Line]:
    """Tasks opened and closed, notes, and what the audit has, in no order."""
    for task in queue.tasks_of(db, owner, invoice):
        reasons = "; ".join(why.because for why in task.reasons)
        yield task.opened_at, "people", f"a task was opened, priority {task.priority}", reasons
        if task.closed_at:
            yield task.closed_at, "people", f"the task was closed by {task.closed_by}", task.because or ""
    for note in queue.notes_of(db, owner, invoice):
        yield note.at, "people", f"{note.actor} wrote: {note.words}", ""
    for deed in queue.deeds_of(db, owner, invoice):
        if deed.what in WRITTEN:
            continue
        yield deed.at, "people", f"{deed.actor}: {deed.what.removeprefix('queue ')}", deed.because


def standing(db: Connection, owner: Owner, invoice: str) -> str | None:
    """The open task in one sentence."""
    task = queue.open_task(db, owner, invoice)
    if task is None:
        return None
    reasons = ", ".join(why.reason.replace("_", " ") for why in task.reasons)
    return f"A person is needed ({reasons}): {task.owner or 'nobody'} has it, due {task.due_at:%Y-%m-%d %H:%M} UTC."
