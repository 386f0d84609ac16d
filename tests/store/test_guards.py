"""What the database itself refuses, on both engines: the last line behind every rule in code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from billing.actions import Kind
from billing.case import ENDED, TRANSITIONS, State
from tests.billing.stories import DAY0, failed
from tests.store.conftest import SELF
from tests.store.rows import CASE, add_action, add_attempt, add_inbox
from worker import store
from worker import tables as t
from worker.db import Database
from worker.schema import metadata

LIVE_ATTEMPTS = ("sending", "processing", "unknown")
OVER = ("succeeded", "failed", "cancelled")


def refused(db: Database, act: Callable[[Connection], Any], words: str = "") -> None:
    with pytest.raises(DBAPIError) as error, db.begin() as connection:
        act(connection)
    assert words in str(error.value)


@pytest.mark.parametrize("second", LIVE_ATTEMPTS)
def test_an_invoice_has_one_live_attempt(db: Database, second: str) -> None:
    with db.begin() as connection:
        add_attempt(connection, 1, "unknown")
        add_attempt(connection, 1, second, "in_2")
    with pytest.raises(IntegrityError), db.begin() as connection:
        add_attempt(connection, 2, second)


def test_an_invoice_is_charged_with_success_once(db: Database) -> None:
    with db.begin() as connection:
        add_attempt(connection, 1, "failed")
        add_attempt(connection, 2, "succeeded")
        add_attempt(connection, 3, "sending")
    with pytest.raises(IntegrityError), db.begin() as connection:
        connection.execute(update(t.attempt).where(t.attempt.c.n == 3).values(state="succeeded"))


def test_an_attempt_number_and_a_key_are_used_once(db: Database) -> None:
    with db.begin() as connection:
        add_attempt(connection, 1, "failed")
    for n, key in ((1, "another"), (2, "dn1_in_1_1")):
        with pytest.raises(IntegrityError), db.begin() as connection:
            add_attempt(connection, n, "failed", idem_key=key)


@pytest.mark.parametrize("end", OVER)
def test_an_ended_attempt_keeps_its_end(db: Database, end: str) -> None:
    with db.begin() as connection:
        add_attempt(connection, 1, end)
        connection.execute(update(t.attempt).values(because="said again", state=end))
    for other in {*OVER, *LIVE_ATTEMPTS} - {end}:
        change = update(t.attempt).values(state=other)
        refused(db, partial(Connection.execute, statement=change), "keeps its end")


def test_a_key_never_changes_and_a_token_never_falls(db: Database) -> None:
    with db.begin() as connection:
        add_attempt(connection, 1, "sending", token=3)
        connection.execute(update(t.attempt).values(token=4))
    refused(db, lambda c: c.execute(update(t.attempt).values(idem_key="dn1_other")), "key never changes")
    refused(db, lambda c: c.execute(update(t.attempt).values(token=3)), "token never falls")


@pytest.mark.parametrize("second", ["waiting", "claimed", "sending", "stuck"])
def test_an_invoice_has_one_live_retry(db: Database, second: str) -> None:
    with db.begin() as connection:
        add_action(connection, "retry:in_1:1", Kind.RETRY)
        connection.execute(update(t.action).values(state=second))
        add_action(connection, "notice:in_1:payment_failed", Kind.NOTICE)
        add_action(connection, "retry:in_2:1", Kind.RETRY, invoice="in_2")
    with pytest.raises(IntegrityError), db.begin() as connection:
        add_action(connection, "retry:in_1:2", Kind.RETRY)


@pytest.mark.parametrize("end", sorted(ENDED))
def test_an_ended_case_moves_only_as_the_table_of_the_rules_allows(db: Database, end: State) -> None:
    with db.begin() as connection:
        store.save_cases(connection, [CASE], DAY0)
        connection.execute(update(t.recovery_case).values(state=end))
    for new in State:
        turn = update(t.recovery_case).values(state=new)
        if new is end or new in TRANSITIONS[end]:
            with db.engine.connect() as connection:
                connection.execute(turn)
                connection.rollback()
        else:
            refused(db, partial(Connection.execute, statement=turn), "case")


def a_row_of(db: Connection, table: str) -> None:
    if table == "fact":
        store.keep(db, SELF, [failed(0)], DAY0)
    elif table == "audit":
        db.execute(insert(t.audit), {**SELF.key, "at": DAY0, "actor": "a", "what": "b", "object": "c", "because": "d"})
    else:
        entry = {"key": "k", "customer": "cus_1", "because": "b", "effective_at": DAY0, "recorded_at": DAY0}
        db.execute(insert(t.entry), {**SELF.key, "id": 1, "posted_period": "2026-03", **entry})
        db.execute(insert(t.posting), {"entry": 1, "line": 0, "name": "good", "minor": 1, "unit": "usd/mo"})


def test_the_books_and_the_audit_only_grow(db: Database) -> None:
    with db.begin() as connection:
        for name in ("fact", "posting", "audit"):
            a_row_of(connection, name)
    for table in (t.fact, t.posting, t.entry, t.audit):
        change = update(table).values({"name" if table is t.posting else "account": "other"})
        refused(db, partial(Connection.execute, statement=change), "append-only")
        refused(db, partial(Connection.execute, statement=delete(table)), "append-only")
        if not db.sqlite:
            refused(db, partial(Connection.execute, statement=text(f"TRUNCATE {table.name} CASCADE")), "append-only")


@pytest.mark.parametrize("name", ["fact", "entry", "posting", "audit"])
def test_replacing_a_row_in_sqlite_is_no_way_around(sqlite_url: str, name: str) -> None:
    db = Database(sqlite_url)
    columns = ", ".join(f'"{each.name}"' for each in metadata.tables[name].columns)
    replaced = f"INSERT OR REPLACE INTO {name} ({columns}) SELECT {columns} FROM {name}"  # noqa: S608 - our own names
    with db.begin() as connection:
        a_row_of(connection, name)
    try:
        refused(db, lambda c: c.execute(text(replaced)), "append-only")
    finally:
        db.close()


def test_an_event_is_stored_once_for_each_account_and_mode(db: Database) -> None:
    with db.begin() as connection:
        add_inbox(connection, "evt_1")
        add_inbox(connection, "evt_1", account="acct_2")
        add_inbox(connection, "evt_1", livemode=True)
    with pytest.raises(IntegrityError), db.begin() as connection:
        add_inbox(connection, "evt_1")


@pytest.mark.parametrize("state", ["new", ""])
def test_a_state_that_nobody_knows_is_refused(db: Database, state: str) -> None:
    refused(db, lambda c: add_inbox(c, "evt_1", state=state))
    refused(db, lambda c: add_attempt(c, 1, state))


def test_a_fact_is_kept_once_however_often_it_is_told(db: Database) -> None:
    with db.begin() as connection:
        store.keep(connection, SELF, [failed(0), failed(0)], DAY0)
        store.keep(connection, SELF, [failed(0)], DAY0)
        assert len(store.facts_of(connection, SELF, ["cus_1"])["cus_1"]) == 1
