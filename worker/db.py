"""The database: one engine, short transactions, and the session settings that the promises rest on.

PostgreSQL: read committed, row locks, timeouts on everything, synchronous commit. SQLite: WAL, synchronous FULL,
BEGIN IMMEDIATE for every write, one writer at a time in the process (reliability.md D35, D36). No transaction may be
open while we talk to Stripe or to a mail server; `outside_transaction` raises if one is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

_PG_OPTIONS = (
    "-c timezone=UTC -c lock_timeout=3s -c statement_timeout=15s"
    " -c idle_in_transaction_session_timeout=10s -c synchronous_commit=on"
)

# recursive_triggers: INSERT OR REPLACE deletes a row, and only so does the append-only trigger see it.
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000", "recursive_triggers=ON")


class TransactionOpen(RuntimeError):
    """A transaction was open while talking to the outside world."""


class Database:
    """Transactions on one database. `url` as in SQLAlchemy; `threads` bounds the pool."""

    def __init__(self, url: str, threads: int = 8) -> None:
        self.url = make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._writing = threading.Lock()
        self._open = threading.local()
        self.engine = self._sqlite_engine() if self.sqlite else self._postgresql_engine(threads)

    def _postgresql_engine(self, threads: int) -> Engine:
        url = self.url.set(drivername="postgresql+psycopg")
        arguments: dict[str, Any] = {
            "options": _PG_OPTIONS,
            "connect_timeout": 5,
            "application_name": "reprieve",
            # A server that vanished without a word is noticed in seconds, not in the two hours of the default.
            "tcp_user_timeout": 15_000,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        }
        return create_engine(
            url,
            pool_size=threads + 2,
            max_overflow=4,
            pool_timeout=5,
            pool_pre_ping=False,
            connect_args=arguments,
            json_deserializer=orjson.loads,
        )

    def _sqlite_engine(self) -> Engine:
        if self.url.database:
            Path(self.url.database).expanduser().parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(self.url, connect_args={"timeout": 5.0, "isolation_level": None})

        @event.listens_for(engine, "connect")
        def _configure(connection: Any, record: Any) -> None:
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN" if connection.info.get("reading") else "BEGIN IMMEDIATE")

        return engine

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One write transaction: committed at the end, rolled back on an exception."""
        with self._one_writer(), self._marked(), self.engine.connect() as connection:
            connection.info["reading"] = False
            with connection.begin():
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that only reads."""
        with self._marked(), self.engine.connect() as connection:
            connection.info["reading"] = True
            with connection.begin():
                yield connection

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        if not self.sqlite:
            yield
            return
        with self._writing:
            yield

    @contextmanager
    def _marked(self) -> Iterator[None]:
        self._open.depth = getattr(self._open, "depth", 0) + 1
        try:
            yield
        finally:
            self._open.depth -= 1

    def outside_transaction(self, doing: str) -> None:
        """Raise TransactionOpen if this thread holds a transaction: nothing slow may happen inside one."""
        if getattr(self._open, "depth", 0):
            raise TransactionOpen(f"{doing} while a database transaction is open")

    def close(self) -> None:
        self.engine.dispose()


def is_outage(error: BaseException) -> bool:
    """Whether the database itself is away, as opposed to refusing what we asked of it."""
    return isinstance(error, DBAPIError) and (
        error.connection_invalidated or "OperationalError" in type(error).__name__
    )
