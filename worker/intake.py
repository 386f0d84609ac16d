"""The gathering writer: many requests that wait at the same time share one insert and one commit.

A durable commit costs a disk flush however many rows it carries. One thread takes everything that waits, writes it,
and answers everybody after the commit; nobody is made to wait for company, so a single sender is as fast as with an
insert of its own. Nothing is remembered here: whoever was not answered was not stored, and Stripe comes again.

A pool of connections with one transaction per request would replace this, at an eighth of the rate.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from operator import attrgetter
from typing import Any, cast

import psycopg
import structlog
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, StatementError

from worker import metrics
from worker.app import Bell
from worker.db import Database
from worker.tables import inbox

MOST_ROWS = 256
"""Rows of one insert: beyond this the answer of the first gets slower and the rate does not grow."""
ROOM = 2_048
"""Rows that may wait; more than this is answered 503 at once."""
WRITERS = 2
"""Connections that commit in turn: while one waits for the disk, the next batch is on its way."""
PATIENCE = 1.5
"""Seconds until a row that could not be written is given up: Stripe is told within 2 s (reliability.md T04)."""

log = structlog.get_logger("reprieve.intake")


@dataclass(frozen=True, slots=True)
class Received:
    """One verified event as it goes into `inbox`. `body` is the signed bytes; `created_at` is by Stripe."""

    account: str
    livemode: bool
    event_id: str
    type: str
    api_version: str | None
    created_at: datetime | None
    received_at: datetime
    body: bytes
    state: str = "received"
    because: str | None = None


class Answer(Enum):
    """What became of a row."""

    STORED = auto()  # committed, now or by an earlier delivery
    AWAY = auto()  # the database did not take it, or not in time
    FULL = auto()  # too many wait already
    UNSTORABLE = auto()  # the database refuses this very row


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    row: Received
    future: asyncio.Future[Answer]
    until: float  # monotonic seconds

    def answer(self, answer: Answer) -> None:
        if not self.future.done():
            self.future.set_result(answer)


class Writer:
    """Stores rows from any number of event loops, on a thread of its own. Several processes may each have one."""

    def __init__(self, db: Database, bell: Bell) -> None:
        self._targets = [_Sqlite(db)] if db.sqlite else [_Postgres(db) for _ in range(WRITERS)]
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._open = False
        self._away = False
        self._ringer = _Ringer(bell)
        self._threads = [
            threading.Thread(target=self._run, args=(target,), name="intake-writer", daemon=True)
            for target in self._targets
        ]

    def start(self) -> None:
        self._open = True
        self._ringer.start()
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Take nothing more, write what waits, then end; returns after `seconds` at the latest."""
        self._open = False
        self._waiting.put(None)
        for thread in self._threads:
            thread.join(seconds)
        self._ringer.stop()

    @property
    def alive(self) -> bool:
        return self._open and all(thread.is_alive() for thread in self._threads)

    async def store(self, row: Received) -> Answer:
        """Return after the commit that holds the row, or with the reason why there was none."""
        if not self.alive:
            return Answer.AWAY
        if self._waiting.qsize() >= ROOM:
            return Answer.FULL
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.put(_Waiting(row, future, time.monotonic() + PATIENCE))
        try:
            async with asyncio.timeout(PATIENCE):
                return await future
        except TimeoutError:
            return Answer.AWAY

    def _run(self, target: _Sqlite | _Postgres) -> None:
        while batch := self._take():
            self._store(target, batch)
        self._waiting.put(None)  # for the next thread
        target.close()

    def _take(self) -> list[_Waiting]:
        """Whatever waits now, at least one row; nothing when the writer is to end."""
        batch: list[_Waiting] = []
        while (item := self._waiting.get()) is not None:
            batch.append(item)
            if len(batch) == MOST_ROWS or self._waiting.empty():
                return batch
        if batch:
            self._waiting.put(None)
        return batch

    def _store(self, target: _Sqlite | _Postgres, batch: Sequence[_Waiting]) -> None:
        now = time.monotonic()
        batch = [waiting for waiting in batch if waiting.until > now]  # the others were told 503 and will come again
        # Two processes that insert the same ids in one order cannot wait for each other in a circle.
        batch = sorted(batch, key=lambda waiting: _key(waiting.row))
        try:
            answers = self._write(target, [waiting.row for waiting in batch])
        except Exception:
            log.exception("intake_failed", rows=len(batch))
            answers = [Answer.AWAY] * len(batch)
        metrics.INTAKE_BATCH.observe(len(batch))
        for loop in {waiting.future.get_loop() for waiting in batch}:
            mine = [(w, a) for w, a in zip(batch, answers, strict=True) if w.future.get_loop() is loop]
            with suppress(RuntimeError):  # the loop has ended, and nobody waits
                loop.call_soon_threadsafe(_answer_all, mine)
        if Answer.STORED in answers:
            self._ringer.ring()

    def _write(self, target: _Sqlite | _Postgres, rows: list[Received]) -> list[Answer]:
        """Everything in one commit; row by row when one of them cannot be stored."""
        if not rows:
            return []
        try:
            target.write(rows)
        except _BadRow:
            if len(rows) == 1:
                log.warning("event_cannot_be_stored", type=rows[0].type)
                return [Answer.UNSTORABLE]
            return [self._write(target, [row])[0] for row in rows]
        except _Away as away:
            self._note(True, because=str(away))
            return [Answer.AWAY] * len(rows)
        self._note(False)
        return [Answer.STORED] * len(rows)

    def _note(self, away: bool, **particulars: str) -> None:
        """Say once that the database went away, and once that it came back."""
        if away != self._away:
            log.warning("intake_database_away" if away else "intake_database_back", **particulars)
        self._away = away


_key = attrgetter("account", "livemode", "event_id")


def _answer_all(answers: Sequence[tuple[_Waiting, Answer]]) -> None:
    for waiting, answer in answers:
        waiting.answer(answer)


class _Ringer:
    """Rings the bell from a thread of its own: a bell that hangs delays neither an answer nor a commit."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._wake = threading.Event()
        self._wanted = False
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="intake-bell", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ring(self) -> None:
        self._wanted = True
        self._wake.set()

    def stop(self) -> None:
        self._ending = True
        self._wake.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        ending = False
        while not ending:
            self._wake.wait()
            self._wake.clear()
            ending, wanted, self._wanted = self._ending, self._wanted, False
            if wanted:
                try:
                    self._bell.ring("inbox")
                except Exception:
                    metrics.BELLS.labels("inbox", "failed").inc()


class _BadRow(Exception):
    """The database refuses the data, not the connection."""


class _Away(Exception):
    """Nothing was written, for a reason that lies with the database."""


class _Sqlite:
    """One transaction with the process's other writers kept out, by `Database.begin`."""

    _INSERT = sqlite.insert(inbox).on_conflict_do_nothing()

    def __init__(self, db: Database) -> None:
        self._db = db

    def write(self, rows: list[Received]) -> None:
        """Commit all rows, skipping those that are there; raise _BadRow or _Away and commit none."""
        try:
            with self._db.begin() as connection:
                connection.execute(self._INSERT, [_values(row) for row in rows])
        except DBAPIError as error:
            if type(error).__name__ in ("DataError", "IntegrityError"):
                raise _BadRow from error
            raise _Away(repr(error.orig)) from error
        except StatementError as error:
            raise _BadRow from error

    def close(self) -> None:
        pass


def _values(row: Received) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in Received.__slots__},
        "tries": 0,
        "due_at": row.received_at,
        "finished_at": row.received_at if row.state == "ignored" else None,
    }


class _Postgres:
    """One statement in one round trip, on a connection kept for it.

    Arrays sent in binary form cost 6 us a row, against 13 us with pipelined single inserts and 23 us through
    SQLAlchemy's executemany, so this is the one place that talks to the driver itself.
    """

    _TYPES = ("text", "bool", "text", "text", "text", "timestamptz", "timestamptz", "bytea", "text", "text")
    _COLUMNS = ", ".join(Received.__slots__)
    _INSERT = (
        f"INSERT INTO inbox ({_COLUMNS}, tries, due_at, finished_at)"  # noqa: S608 - names of our own columns
        f" SELECT {_COLUMNS}, 0, received_at, CASE state WHEN 'ignored' THEN received_at END"
        f" FROM unnest({', '.join(f'%b::{kind}[]' for kind in _TYPES)}) AS new ({_COLUMNS})"
        " ON CONFLICT DO NOTHING"
    )

    def __init__(self, db: Database) -> None:
        self._engine = db.engine
        self._connection: psycopg.Connection[Any] | None = None

    def write(self, rows: list[Received]) -> None:
        """Commit all rows, skipping those that are there; raise _BadRow or _Away and commit none."""
        columns = [[getattr(row, name) for row in rows] for name in Received.__slots__]
        kept = self._connection is not None
        try:
            self._insert(columns)
        except _Away:
            if not kept:
                raise
            self._insert(columns)  # the connection may have died while nothing came; the same insert does no harm

    def _insert(self, columns: list[list[Any]]) -> None:
        try:
            self._connected().execute(self._INSERT, columns)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise _BadRow from error
        except Exception as error:
            self.close()
            raise _Away(repr(error)) from error

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            pooled = self._engine.raw_connection()
            connection: psycopg.Connection[Any] = cast(Any, pooled.driver_connection)
            pooled.detach()
            connection.autocommit = True
            self._connection = connection
        return self._connection

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()
