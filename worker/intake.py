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
from contextlib import suppress
from datetime import datetime
from enum import Enum, auto
from itertools import chain, islice
from operator import itemgetter
from typing import Any, NamedTuple, cast

import psycopg
import structlog
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, StatementError

from worker import metrics
from worker.app import Bell
from worker.db import Database
from worker.tables import inbox

MOST_ROWS = 256
"""Rows after which an insert takes no more: the answer of the first gets slower and the rate does not grow."""
ROOM = 2_048
"""Rows that may wait; more than this is answered 503 at once."""
PATIENCE = 1.5
"""Seconds until a row that could not be written is given up: Stripe is told within 2 s (reliability.md T04)."""

log = structlog.get_logger("reprieve.intake")


class Received(NamedTuple):
    """One verified event as it goes into `inbox`. `body` is the signed bytes; `created_at` is by Stripe.

    A tuple, since a batch is turned into columns: that is one `zip`.
    """

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


class _Handful:
    """What came in one turn of an event loop: handed over together, with one deadline."""

    __slots__ = ("answers", "futures", "loop", "rows", "timer", "until")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.rows: list[Received] = []
        self.futures: list[asyncio.Future[Answer]] = []
        self.answers: list[Answer] = []
        self.until = time.monotonic() + PATIENCE
        self.timer = loop.call_later(PATIENCE, self.tell)

    def tell(self) -> None:
        """Answer everybody, on their own loop; before there are answers, that the database is away."""
        self.timer.cancel()
        for future, answer in zip(self.futures, self.answers or [Answer.AWAY] * len(self.rows), strict=True):
            if not future.done():
                future.set_result(answer)


class Writer:
    """Stores rows from one event loop, on a thread of its own. Several processes may each have one."""

    def __init__(self, db: Database, bell: Bell) -> None:
        self._target = _Sqlite(db) if db.sqlite else _Postgres(db)
        self._gathering: _Handful | None = None
        self._handed: queue.SimpleQueue[_Handful | None] = queue.SimpleQueue()
        self._waiting = 0
        self._open = False
        self._away = False
        self._ringer = _Ringer(bell)
        self._thread = threading.Thread(target=self._run, name="intake-writer", daemon=True)

    def start(self) -> None:
        self._open = True
        self._ringer.start()
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Take nothing more, write what was handed over, then end; returns after `seconds` at the latest."""
        self._open = False
        self._handed.put(None)
        self._thread.join(seconds)
        self._ringer.stop()

    @property
    def alive(self) -> bool:
        return self._open and self._thread.is_alive()

    async def store(self, row: Received) -> Answer:
        """Return after the commit that holds the row, or with the reason why there was none."""
        if not self.alive:
            return Answer.AWAY
        if self._waiting >= ROOM:
            return Answer.FULL
        handful = self._gathering
        if handful is None:
            loop = asyncio.get_running_loop()
            handful = self._gathering = _Handful(loop)
            loop.call_soon(self._hand_over, handful)
        future: asyncio.Future[Answer] = handful.loop.create_future()
        handful.rows.append(row)
        handful.futures.append(future)
        self._waiting += 1
        try:
            return await future
        finally:
            self._waiting -= 1

    def _hand_over(self, handful: _Handful) -> None:
        """Wake the writer once for all that came in this turn: a wake-up costs more than the row."""
        self._gathering = None
        self._handed.put(handful)

    def _run(self) -> None:
        while batch := self._take():
            self._store(batch)
        self._target.close()

    def _take(self) -> list[_Handful]:
        """Whatever waits now, at least one handful; nothing when the writer is to end."""
        batch: list[_Handful] = []
        rows = 0
        while (handful := self._handed.get()) is not None:
            batch.append(handful)
            rows += len(handful.rows)
            if rows >= MOST_ROWS or self._handed.empty():
                return batch
        if batch:
            self._handed.put(None)
        return batch

    def _store(self, batch: list[_Handful]) -> None:
        now = time.monotonic()
        batch = [handful for handful in batch if handful.until > now]  # the others were told 503 and will come again
        rows = list(chain.from_iterable(handful.rows for handful in batch))
        try:
            answers = self._write(rows)
        except Exception:
            log.exception("intake_failed", rows=len(rows))
            answers = [Answer.AWAY] * len(rows)
        metrics.INTAKE_BATCH.observe(len(rows))
        each = iter(answers)
        for handful in batch:
            handful.answers = list(islice(each, len(handful.rows)))
            with suppress(RuntimeError):  # the loop has ended, and nobody waits
                handful.loop.call_soon_threadsafe(handful.tell)
        if Answer.STORED in answers:
            self._ringer.ring()

    def _write(self, rows: list[Received]) -> list[Answer]:
        """Everything in one commit; row by row when one of them cannot be stored."""
        if not rows:
            return []
        try:
            # Two processes that insert the same ids in one order cannot wait for each other in a circle.
            self._target.write(sorted(rows, key=_key))
        except _BadRow:
            if len(rows) == 1:
                log.warning("event_cannot_be_stored", type=rows[0].type)
                return [Answer.UNSTORABLE]
            return [self._write([row])[0] for row in rows]
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


_key = itemgetter(0, 1, 2)  # account, livemode, event_id


class _Ringer:
    """Rings the bell from a thread of its own: a bell that hangs delays neither an answer nor a commit."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._wishes: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="intake-bell", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ring(self) -> None:
        if self._wishes.empty():  # one that waits is enough
            self._wishes.put(True)

    def stop(self) -> None:
        self._wishes.put(False)
        self._thread.join(1.0)

    def _run(self) -> None:
        while self._wishes.get():
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
        **row._asdict(),
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
    _COLUMNS = ", ".join(Received._fields)
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
        columns = [list(column) for column in zip(*rows, strict=True)]
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
