"""`python -m benchmarks.kill_test --kills 200 [--control]`: SIGKILL at random points of the charge path, counted.

Rounds of failing invoices against the hostile sandbox; workers are killed at points thrown by a seed until a round is
done, then one may finish. Printed: kills, charges, double charges, and successes that the workers had not found out
without any webhook. `--control` does the same to the build that is broken on purpose (`tests/fault/broken.py`).
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from tests.fault import broken, invariants
from tests.fault.kills import BEHAVIOURS, POINTS, Counts, kill_run
from tests.fault.stage import staged
from worker import migrate
from worker.db import Database

INVOICES = 12


def points(rng: random.Random) -> Iterator[str]:
    while True:
        yield rng.choice(POINTS)


def one_round(url: str, folder: Path, rng: random.Random, most: int, build: str) -> tuple[Counts, list[str]]:
    """The counts, and what else is not as it must be when everything was delivered."""
    with staged(url, folder, INVOICES, behaviours=BEHAVIOURS, log_level="error", worker_threads=4) as stage:
        counts = kill_run(stage, folder / "worker.log", points(rng), most, build)
        stage.hear_everything()
        return counts, [str(each) for each in invariants.violations(stage)]


def fresh_database(server: str | None, folder: Path, number: int) -> str:
    """A file, or a new database on the given PostgreSQL server; with its tables."""
    url = f"sqlite:///{folder / 'reprieve.db'}" if server is None else _database_on(server, number)
    db = Database(url)
    migrate.upgrade(db)
    db.close()
    return url


def _database_on(server: str, number: int) -> str:
    url, name = make_url(server).set(drivername="postgresql+psycopg"), f"kill_test_{time.time_ns()}_{number}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill_test", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--control", action="store_true", help="the build that is broken on purpose")
    parser.add_argument("--database", help="a PostgreSQL server, in which databases may be made; else SQLite files")
    given = parser.parse_args()
    build = broken.CONTROL if given.control else broken.REAL
    rng, begun = random.Random(given.seed), time.monotonic()  # noqa: S311 - dice to be thrown again
    sums, rounds, wrong = Counts(), 0, list[str]()
    while sums.kills < given.kills:
        with tempfile.TemporaryDirectory() as folder:
            url = fresh_database(given.database, Path(folder), rounds)
            counts, found = one_round(url, Path(folder), rng, given.kills - sums.kills, build)
        sums, rounds, wrong = sums + counts, rounds + 1, wrong + found
    engine = "PostgreSQL" if given.database else "SQLite"
    print(f"build {build}, {engine}, seed {given.seed}, {rounds} rounds of {INVOICES} invoices")
    print(f"kills {sums.kills}  charges {sums.charges}  double charges {sums.doubles}  lost successes {sums.lost}")
    print(f"broken invariants {len(wrong)}  in {time.monotonic() - begun:.0f} s")
    for line in wrong[:5]:
        print(f"  {line}")
    raise SystemExit(bool(wrong) != given.control)


if __name__ == "__main__":
    main()
