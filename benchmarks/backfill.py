"""A back-fill killed three times is the same as one that nobody disturbed; and how fast it is.

    python -m benchmarks.backfill [--subscriptions 20000 --kills 3 --years 1 --seed 1] [--sqlite]

A sandbox account with its past (customers, subscriptions that run and that ended, invoices, payments, a month of
events) is loaded by `reprieve backfill` over HTTP: into one database undisturbed, into another killed by SIGKILL at
places thrown by the seed, the last while the books are kept. The clock of both runs stands at one instant, so that
every column of every table is compared, times included; only the numbers that a database gives its rows are left
aside, and a posting is known by the key of its entry. PostgreSQL is a cluster of its own with durability on. Exit code
1 when a row differs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from benchmarks import intake
from tests.history import kills
from tests.history.account import account
from tests.history.kills import Loaded
from worker import migrate
from worker.db import Database

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOLD = ("fact", "entry", "posting", "ledger_month", "ledger_recovery", "backfill_cursor")


@contextmanager
def two_databases(sqlite: bool) -> Iterator[tuple[str, str]]:
    """With their tables, on files or on a server of their own, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="reprieve-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:  # noqa: S108
        if sqlite:
            yield (
                _migrated(f"sqlite:///{Path(folder) / 'once.db'}"),
                _migrated(f"sqlite:///{Path(folder) / 'killed.db'}"),
            )
            return
        with intake.postgres() as server:
            with psycopg.connect(intake.libpq(server.url), autocommit=True) as connection:
                connection.execute("CREATE DATABASE once")
                connection.execute("CREATE DATABASE killed")
            base = server.url.removesuffix("/postgres")
            yield _migrated(f"{base}/once"), _migrated(f"{base}/killed")


def _migrated(url: str) -> str:
    db = Database(url)
    migrate.upgrade(db)
    db.close()
    return url


def tell(name: str, loaded: Loaded, subscriptions: int) -> None:
    """Speeds over the whole run; of the books over the batches that were told by one process."""
    print(f"{name}: {loaded.seconds:.1f} s, {subscriptions / loaded.seconds:.0f} subscriptions/s")
    read, booked = loaded.reading, loaded.booking
    kept = int(booked[-1][1].rpartition(" ")[2].replace(",", "")) if booked else 0
    if not loaded.killed_at and kept:
        seconds = booked[-1][0] - read[-1][0]
        print(f"  read in {read[-1][0]:.1f} s; books of {kept:,} customers in {seconds:.1f} s, {kept / seconds:.0f}/s")
    for line in loaded.killed_at:
        print(f"  SIGKILL after {line!r}")


def compare(once: str, killed: str) -> bool:
    """Print how many rows there are and which differ; whether none does."""
    mine, theirs = kills.rows(once), kills.rows(killed)
    for name in TOLD:
        print(f"  {name}: {mine[name].total():,} and {theirs[name].total():,} rows")
    differing = [name for name in mine if mine[name] != theirs[name]]
    for name in differing:
        for url, where, prints in (
            (once, "undisturbed", mine[name] - theirs[name]),
            (killed, "killed", theirs[name] - mine[name]),
        ):
            print(f"{name}: {prints.total():,} rows only in the {where} run")
            for row in kills.only_in(url, name, prints):
                print(f"    {row}")
    rows = sum(each.total() for each in mine.values())
    print(f"{rows:,} rows of {len(mine)} tables compared: {len(differing) or 'none'} of the tables differ")
    return not differing


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backfill", description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--years", type=int, default=1, help="of history at most, before the month that is played")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sqlite", action="store_true", help="files instead of a PostgreSQL server")
    given = parser.parse_args()
    begun = time.monotonic()
    with (
        two_databases(given.sqlite) as (once, killed),
        account(given.subscriptions, NOW, given.years, given.seed) as sandbox,
    ):
        store = sandbox.world.store
        kinds = ("customer", "subscription", "invoice", "invoice_payment", "event")
        counts = ", ".join(f"{sum(1 for _ in store.newest(kind)):,} {kind}s" for kind in kinds)
        print(
            f"account: {counts}, made in {time.monotonic() - begun:.1f} s; {'SQLite' if given.sqlite else 'PostgreSQL'}"
        )
        undisturbed = kills.load(once, sandbox, NOW)
        tell("undisturbed", undisturbed, given.subscriptions)
        places = kills.places(undisturbed, given.kills, given.seed)
        disturbed = kills.load(killed, sandbox, NOW, places)
        tell(f"killed {len(disturbed.killed_at)} times", disturbed, given.subscriptions)
        same = compare(once, killed) and len(disturbed.killed_at) == given.kills and not sandbox.crashes
    print("identical" if same else "NOT identical")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
