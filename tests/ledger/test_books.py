"""The bookkeeper's batch: a handful of statements for all its customers, whole or not at all. On both engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, select

from tests.ledger.conftest import SELF, Teller, day
from worker import books, bulk, entries
from worker import tables as t


def company(teller: Teller, customers: int) -> None:
    """Each begins in January, grows in February and leaves in March."""
    teller.clock.at = day("04-01")
    for n in range(customers):
        teller.begins(f"sub_{n:02}", "01-05")
        item = teller.subs[f"sub_{n:02}"].items[0]
        teller.becomes(f"sub_{n:02}", "02-05", items=(item.__class__(item.id, "price", "pro", "15000", 1, "month"),))
        teller.becomes(f"sub_{n:02}", "03-05", status="canceled", ended_at=day("03-05"))


def booked(teller: Teller) -> list[tuple[Any, ...]]:
    """Entries with their postings, in the order of their numbers."""
    entry, posting = t.entry, t.posting
    with teller.app.db.read() as db:
        columns = (entry.c.customer, entry.c.key, entry.c.posted_period, entry.c.recorded_at)
        lines = (posting.c.line, posting.c.name, posting.c.minor, posting.c.unit)
        joined = select(*columns, *lines).join(posting, posting.c.entry == entry.c.id)
        return [tuple(row) for row in db.execute(joined.order_by(entry.c.id, posting.c.line))]


class Stopped(Exception):
    """The process is gone before a statement."""


@contextmanager
def counted(teller: Teller, stop_before: int = 0) -> Iterator[list[str]]:
    """The statements that SQLAlchemy sends meanwhile; the one with this number is never sent."""
    sent: list[str] = []

    def before(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        sent.append(statement)
        if len(sent) == stop_before:
            raise Stopped

    event.listen(teller.app.db.engine, "before_cursor_execute", before)
    try:
        yield sent
    finally:
        event.remove(teller.app.db.engine, "before_cursor_execute", before)


def test_a_batch_takes_no_more_statements_for_more_customers(teller: Teller) -> None:
    company(teller, 2)
    with counted(teller) as for_two:
        teller.book()
    company(teller, 40)
    with counted(teller) as for_forty:
        teller.book()
    assert len(for_forty) <= len(for_two)


def test_entries_are_numbered_by_customer_and_time(teller: Teller) -> None:
    company(teller, 3)
    teller.book()
    made = booked(teller)
    assert [customer for customer, *_ in made] == [f"cus_{n:02}" for n in range(3) for _ in range(6)]
    assert [key.partition(":")[0] for _, key, *_ in made[:6:2]] == ["new", "expansion", "voluntary_churn"]
    assert [period for _, _, period, *_ in made[:6:2]] == ["2026-01", "2026-02", "2026-03"]


def test_stopped_before_any_statement_a_batch_is_booked_by_the_next_one(teller: Teller) -> None:
    company(teller, 3)
    stopped, done = 0, False
    while not done:
        stopped += 1
        with counted(teller, stop_before=stopped):
            try:
                teller.book()
                done = True
            except Stopped:
                assert len(booked(teller)) in (0, 18)  # all of it, when it stopped while looking for more
    assert stopped > 8
    made = booked(teller)
    assert len(made) == 3 * 3 * 2
    teller.book()
    assert booked(teller) == made


def test_stopped_between_entries_and_postings_nothing_is_booked(
    teller: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    company(teller, 2)
    whole = bulk.insert

    def entries_only(db: Any, table: Any, rows: Any) -> None:
        if table is t.posting:
            raise Stopped
        whole(db, table, rows)

    with monkeypatch.context() as patched:
        patched.setattr(bulk, "insert", entries_only)
        with pytest.raises(Stopped):
            teller.book()
    with teller.app.db.read() as db:
        assert db.execute(select(t.entry)).all() == []
    teller.book()
    assert len(booked(teller)) == 2 * 3 * 2


def test_a_late_fact_takes_back_what_was_booked_and_nothing_else(teller: Teller) -> None:
    company(teller, 2)
    teller.book()
    teller.becomes("sub_01", "03-01", status="canceled", ended_at=day("03-01"))
    teller.book()
    with teller.app.db.read() as db:
        found = {who: list(known.values()) for who, known in entries.booked(db, SELF, ["cus_00", "cus_01"]).items()}
        assert books.booked(db, SELF, "cus_01") == {each.key: each for each in found["cus_01"]}
    assert [each.reverses for each in found["cus_00"]] == [None] * 3
    assert [each for each in found["cus_01"] if each.reverses]
    assert all(len(each.postings) == 2 for known in found.values() for each in known)
