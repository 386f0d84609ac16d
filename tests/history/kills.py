"""`reprieve backfill` as a process, killed where a seed says or not at all, and what its database holds afterwards.

    python -m tests.history.kills TIME      runs the command in a process whose clock stands still

Both runs of a comparison stand at the same instant, so that rows may be compared with all their times; only the
numbers that a database gives its rows are left aside.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from hashlib import blake2b
from itertools import islice
from typing import Any

import orjson
from sqlalchemy import Select, Table, select

from sandbox import Sandbox
from worker import app, cli
from worker import tables as t
from worker.backfill import BOOKS
from worker.db import Database
from worker.schema import metadata

DEADLINE = 3600.0  # seconds for a process to end that was left alone or killed


# ---------------------------------------------------------------- running and killing


@dataclass(frozen=True, slots=True)
class Place:
    """A kill: after so many more lines of progress, and so much of the next one's time."""

    lines: int
    late: float


@dataclass(slots=True)
class Loaded:
    """What the command told, line by line, with the seconds since the beginning; one line for each commit."""

    told: list[tuple[float, str]] = field(default_factory=list)
    killed_at: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def reading(self) -> list[tuple[float, str]]:
        return [each for each in self.told if not each[1].startswith((BOOKS, "Loaded"))]

    @property
    def booking(self) -> list[tuple[float, str]]:
        return [each for each in self.told if each[1].startswith(BOOKS)]


def load(url: str, sandbox: Sandbox, now: datetime, places: Sequence[Place] = ()) -> Loaded:
    """Run the command on an empty database until it ends by itself, killing it once at each of the places first."""
    loaded, begun = Loaded(), time.monotonic()
    gap = 0.0
    for place in (*places, None):
        with _process(url, sandbox, now) as process:
            last, lines = time.monotonic(), 0
            for line in process.stdout or ():
                loaded.told.append((time.monotonic() - begun, line.strip()))
                gap, last, lines = time.monotonic() - last, time.monotonic(), lines + 1
                if place and lines == place.lines:
                    time.sleep(gap * place.late)
                    process.send_signal(signal.SIGKILL)
                    loaded.killed_at.append(line.strip())
                    break
            code = process.wait(DEADLINE)
        if code != (-signal.SIGKILL if place else 0):
            raise RuntimeError(f"the back-fill ended with {code} after {loaded.told[-1:]}")
    loaded.seconds = time.monotonic() - begun
    return loaded


def _process(url: str, sandbox: Sandbox, now: datetime) -> subprocess.Popen[str]:
    ours = {
        "REPRIEVE_DATABASE_URL": url,
        "REPRIEVE_STRIPE_API_KEY": "rk_test_reprieve",
        "REPRIEVE_STRIPE_API_BASE": sandbox.url,
        "REPRIEVE_STRIPE_REQUESTS_PER_SECOND": "1000",
        "REPRIEVE_MODE": "observe",
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith("REPRIEVE_")} | ours
    command = [sys.executable, "-m", "tests.history.kills", now.isoformat()]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def places(undisturbed: Loaded, kills: int, seed: int) -> list[Place]:
    """Where to kill: once while the books are kept, the other times while lists are read; never twice at one line.

    Never after the last line but one, where the process might have ended by itself before the kill.
    """
    dice = random.Random(f"kills {seed}")  # noqa: S311 - dice to be thrown again
    read, booked = len(undisturbed.reading), len(undisturbed.booking)
    at = [*sorted(dice.sample(range(1, read), kills - 1)), read + dice.randrange(booked)]
    return [Place(now - before, dice.random()) for before, now in zip([0, *at], at, strict=False)]


def main(at: str) -> None:
    now = datetime.fromisoformat(at)
    app.build = partial(app.build, now=lambda: now)  # the clock, and nothing else
    cli.main(["backfill"])


# ---------------------------------------------------------------- comparing


def rows(url: str) -> dict[str, Counter[bytes]]:
    """A fingerprint of every row of every table of ours."""
    db = Database(url)
    try:
        return {table.name: Counter(print_ for print_, _ in _prints(db, table)) for table in metadata.sorted_tables}
    finally:
        db.close()


def only_in(url: str, table: str, prints: Counter[bytes], most: int = 3) -> list[list[Any]]:
    """The rows with these fingerprints, for a person to look at."""
    db = Database(url)
    try:
        with closing(_prints(db, metadata.tables[table])) as all_rows:
            return list(islice((row for print_, row in all_rows if print_ in prints), most))
    finally:
        db.close()


def _prints(db: Database, table: Table) -> Generator[tuple[bytes, list[Any]]]:
    with db.read() as connection, connection.execution_options(yield_per=2_000).execute(_by_content(table)) as found:
        for row in found:
            values = [bytes(each).hex() if isinstance(each, bytes | memoryview) else each for each in row]
            told = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
            yield blake2b(told, digest_size=16).digest(), values


def _by_content(table: Table) -> Select[Any]:
    """All columns but the numbers of rows; a posting is known by the key of its entry."""
    if table.name == t.posting.name:
        others = [column for column in table.columns if column.name != "entry"]
        return select(t.entry.c.key, *others).join(t.entry, t.entry.c.id == table.c.entry)
    return select(*(column for column in table.columns if column.autoincrement is not True))


if __name__ == "__main__":
    main(*sys.argv[1:])
