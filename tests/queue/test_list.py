"""The list: its order, its filters, its pages, and that none of it gets slower with the number of cases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, text

from billing.assist import Reason
from billing.case import RecoveryCase
from tests.billing.stories import DAY, DAY0, FUNDS, HOUR, case_after, failed, usd
from tests.store.conftest import SELF
from worker import queue, queue_review, store
from worker.app import App
from worker.assist_tables import task, task_reason
from worker.db import Database
from worker.queue import Filter
from worker.store import Owner

REASONS = list(Reason)


def add(db: Connection, number: int, owner: Owner = SELF, **more: Any) -> None:
    fill(db, [number], owner, **more)


def fill(db: Connection, numbers: Any, owner: Owner = SELF, **more: Any) -> None:
    """Open tasks of every urgency, due time, MRR, person and reason."""
    rows = [
        {
            **owner.key,
            "id": n,
            "invoice": f"in_{n}",
            "customer": f"cus_{n}",
            "state": "open",
            "priority": 1 + n % 3,
            "assigned_to": (None, "ann", "ben")[n % 3],
            "due_at": DAY0 + timedelta(minutes=n * 7 % 9973),
            "amount": 1000,
            "currency": "usd",
            "mrr": n,
            "opened_at": DAY0,
            **more,
        }
        for n in numbers
    ]
    db.execute(insert(task), rows)
    given = [
        {
            **owner.key,
            "task": row["id"],
            "invoice": row["invoice"],
            "reason": REASONS[row["id"] % len(REASONS)].value,
            "since": DAY0,
            "because": "because",
            "by_person": False,
        }
        for row in rows
    ]
    db.execute(insert(task_reason), given)


def ids(db: Connection, wanted: Filter = Filter(), most: int = 50) -> list[int]:
    return [each.id for each in queue.page(db, SELF, wanted, most=most).tasks]


def test_the_most_urgent_comes_first_then_what_is_due_first(db: Database) -> None:
    with db.begin() as open_db:
        add(open_db, 1, priority=2, due_at=DAY0)
        add(open_db, 2, priority=1, due_at=DAY0 + DAY)
        add(open_db, 3, priority=1, due_at=DAY0)
        add(open_db, 4, priority=1, due_at=DAY0)
        add(open_db, 5, state="done", priority=1)
        add(open_db, 6, Owner("self", True), priority=1)
        add(open_db, 7, Owner("acct_other", False), priority=1)
        assert ids(open_db) == [3, 4, 2, 1]


def test_each_filter_leaves_what_was_asked_for(db: Database) -> None:
    with db.begin() as open_db:
        fill(open_db, range(1, 23))
        assert ids(open_db, Filter(reason=REASONS[3])) == [3, 14]
        assert {n % 3 for n in ids(open_db, Filter(owner="ann"))} == {1}
        assert {n % 3 for n in ids(open_db, Filter(owner="nobody"))} == {0}
        assert set(ids(open_db, Filter(min_mrr=21, currency="usd"))) == {21, 22}
        assert ids(open_db, Filter(currency="eur")) == []
        assert set(ids(open_db, Filter(due_before=DAY0 + timedelta(minutes=15)))) == {1, 2}
        both = Filter(reason=REASONS[3], owner="nobody")
        assert ids(open_db, both) == [3]


def test_the_pages_together_are_the_list(db: Database) -> None:
    with db.begin() as open_db:
        fill(open_db, range(1, 98), due_at=DAY0)
        found, after = [], None
        while True:
            page = queue.page(open_db, SELF, Filter(), after, 10)
            found += [each.id for each in page.tasks]
            if (after := page.after) is None:
                break
        assert found == ids(open_db, most=200)
        assert len(found) == 97


@pytest.mark.parametrize("key", ["", "x", "1/2", "1/2026-01-01/2", "1/2026-01-01T00:00:00+00:00/x", "-1/a/2", "1//1"])
def test_a_key_that_is_none_is_refused(db: Database, key: str) -> None:
    with db.read() as open_db, pytest.raises(ValueError):  # noqa: PT011
        queue.page(open_db, SELF, Filter(), key)


def test_the_counts_are_those_of_the_lists(db: Database) -> None:
    with db.begin() as open_db:
        fill(open_db, range(1, 23))
        add(open_db, 30, state="done")
        now = DAY0 + timedelta(minutes=70)
        counts = queue.counts(open_db, SELF, now)
        assert (counts.waiting, counts.overdue, counts.nobodys) == (22, 10, 7)
        assert counts.reasons == {
            reason.value: len(ids(open_db, Filter(reason=reason))) + (reason is REASONS[30 % len(REASONS)])
            for reason in REASONS
        }


@contextmanager
def counted(app: App) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    sent: list[str] = []

    def remember(*arguments: Any) -> None:
        sent.append(str(arguments[2]))

    event.listen(app.db.engine, "before_cursor_execute", remember)
    try:
        yield sent
    finally:
        event.remove(app.db.engine, "before_cursor_execute", remember)


def broke(number: int) -> RecoveryCase:
    case = case_after(failed(decline=FUNDS))
    return replace(case, invoice=f"in_{number}", customer=f"cus_{number}", promised_until=DAY0 - HOUR, amount=usd(1000))


def test_many_cases_are_looked_at_with_as_many_queries_as_one(app: App) -> None:
    numbers = []
    for many in (1, 60):
        cases = [broke(n) for n in range(many)]
        with app.db.begin() as db, counted(app) as sent:
            queue_review.review(app, db, SELF, cases)
        reads = [statement for statement in sent if statement.startswith("SELECT")]
        numbers.append(len(reads))
    assert numbers[0] == numbers[1] <= 8


def test_fifty_thousand_open_tasks_are_walked_along_an_index(db: Database) -> None:
    with db.begin() as open_db:
        for start in range(1, 50_001, 10_000):
            fill(open_db, range(start, start + 10_000))
    with db.begin() as open_db:
        if open_db.dialect.name == "postgresql":
            open_db.execute(text("ANALYZE task, task_reason"))
        plain = plan(open_db, Filter())
        owned = plan(open_db, Filter(owner="ann"))
        page = queue.page(open_db, SELF, Filter(), "2/2026-03-02T12:00:00+00:00/7", 50)
        assert len(page.tasks) == 50
        assert len(ids(open_db, Filter(reason=Reason.STUCK, min_mrr=49_000))) == 50
    assert "ix_task_listed" in plain
    assert "ix_task_assigned" in owned
    for said in (plain, owned):
        assert "SORT" not in said.upper().replace("SORT KEY", "SORT")
        assert "TEMP B-TREE" not in said.upper()


def plan(db: Connection, wanted: Filter) -> str:
    """How the engine walks one page."""
    found: list[str] = []

    def explained(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT task.id") and not found:
            verb = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
            found.append("")
            cursor.execute(verb + statement, parameters)
            found[0] = "\n".join(" ".join(map(str, row)) for row in cursor.fetchall())

    event.listen(db, "before_cursor_execute", explained)
    try:
        queue.page(db, SELF, wanted)
    finally:
        event.remove(db, "before_cursor_execute", explained)
    return found[0]


def test_the_store_is_not_asked_for_cases_by_a_page(app: App) -> None:
    with app.db.begin() as db:
        fill(db, range(1, 51))
        store.save_cases(db, [broke(n) for n in range(3)], DAY0)
    with app.db.read() as db, counted(app) as sent:
        queue.page(db, SELF, Filter())
    assert len(sent) == 2
