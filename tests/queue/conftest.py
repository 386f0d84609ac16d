"""A world in which a renewal has failed, and words for what people do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import declines
from tests.store.conftest import app as app
from tests.store.conftest import clock as clock
from tests.store.conftest import db as db
from tests.world import DAY, SELF, START, World, world
from worker import assist_tables, queue, queue_acts
from worker import tables as t
from worker.queue import Filter, Task
from worker.queue_acts import Done, Refused

FUNDS = declines("insufficient_funds")
RICH, POOR = 90_000, 2_000  # minor units a month: over the limit that needs a person, and below


@dataclass
class Story:
    """Somebody's renewal failed on 1 February. It is the second; the first message is due in an hour."""

    w: World
    sub: Any
    invoice: str

    def act(self, act: str, actor: str = "ann", /, **wishes: Any) -> Done:
        return queue_acts.act(self.w.app, SELF, act, self.invoice, actor, wishes)

    def refused(self, act: str, actor: str = "ann", /, **wishes: Any) -> str:
        """The code of the refusal. What was refused left nothing behind."""
        before = self.everything()
        try:
            done = self.act(act, actor, **wishes)
        except Refused as error:
            assert self.everything() == before
            return error.code
        raise AssertionError(f"not refused: {done}")

    def everything(self) -> list[Any]:
        tables = (
            t.recovery_case,
            t.action,
            t.audit,
            t.fact,
            assist_tables.task,
            assist_tables.task_note,
            assist_tables.task_reason,
        )
        return [self.w.rows(table) for table in tables]

    def task(self) -> Task | None:
        with self.w.app.db.read() as db:
            return queue.open_task(db, SELF, self.invoice)

    def reasons(self) -> list[str]:
        found = self.task()
        return [why.reason for why in found.reasons] if found else []

    def tasks(self) -> list[Task]:
        with self.w.app.db.read() as db:
            return queue.tasks_of(db, SELF, self.invoice)

    def listed(self, **wanted: Any) -> list[str]:
        with self.w.app.db.read() as db:
            return [task.invoice for task in queue.page(db, SELF, Filter(**wanted)).tasks]

    def audited(self) -> list[tuple[str, str]]:
        return [(row.actor, row.what) for row in self.w.rows(t.audit)]


@contextmanager
def failing(
    database_url: str, folder: Path, amount: int = POOR, behaviour: Any = FUNDS, **settings: Any
) -> Iterator[Story]:
    with world(database_url, folder, **settings) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=amount, email="ann@example.com", name="Ann Lee")
        w.sb.issuer.set(sub.payment_method, behaviour)
        w.pass_time(START + 32 * DAY, step=DAY)
        yield Story(w, sub, str(w.sb.latest_invoice(sub.subscription)["id"]))
