"""How fast reports come from the roll-ups: beside SQL over the raw movements and DuckDB on a copy, in one run.

    python -m benchmarks.bridge [--customers 200000 --months 36 --movements 10000000] [--duckdb-python PATH] [--json]

A seeded company, `benchmarks/movements.py`, is put into PostgreSQL as plain movements, numbered and with the month
beside each, which helps the peers and not us. The roll-ups are made from those rows by the product's own functions. The
peers compute the bridge of a year by the whole netting rule, which is checked line by line, and those of months by a
simpler one that has the same opening, closing and expansion. SQLite gets a company of `--sqlite-movements`. DuckDB is
installed from PyPI into a folder of its own unless `--duckdb-python` names a Python that has it. Exit code 1 when a
target is missed or figures disagree.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from datetime import UTC, date, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Table, select, text

from benchmarks import intake, movements
from benchmarks.intake import Found, Target
from benchmarks.movements import Company
from billing.report.bridge import Bridge
from billing.report.period import Period
from billing.report.rollup import Clock, RolledUp, roll_up_customer
from worker import migrate, rollup_reports, rollup_totals, rollups
from worker import tables as t
from worker.books import BATCH
from worker.db import Database
from worker.rollup_reports import Asked
from worker.store import Owner

OWNER, SHORT = Owner("bench", True), Owner("short", True)
CHUNK = 500  # customers in one transaction of a rebuild
MONTHLY, TRAILING, COHORTS = "monthly bridge, s", "trailing twelve months, s", "cohort triangle, s"
REBUILD, APPEND, MEMORY = "rebuild of roll-ups, s", "appended movements with roll-up a second", "report process, MB"
RAW, DUCK = "SQL over movements", "DuckDB"
TARGETS = (
    Target(MONTHLY, 0.5, at_least=False),
    Target(f"{MONTHLY}: {RAW} / roll-up", 30.0),
    Target(f"{MONTHLY}: {DUCK} / roll-up", 4.0),
    Target(TRAILING, 1.5, at_least=False),
    Target(f"{TRAILING}: {DUCK} / roll-up", 1.0),
    Target(COHORTS, 2.0, at_least=False),
    Target(f"{MONTHLY}: all months / twelve months of history", 1.2, at_least=False),
    Target(f"{TRAILING}: all months / twelve months of history", 1.2, at_least=False),
    Target(REBUILD, 90.0, at_least=False),
    Target(APPEND, 2_000.0),
    Target(MEMORY, 300.0, at_least=False),
    Target(f"{MONTHLY}: SQLite / PostgreSQL", 3.0, at_least=False),
    Target(f"{TRAILING}: SQLite / PostgreSQL", 3.0, at_least=False),
    Target(f"{COHORTS}: SQLite / PostgreSQL", 3.0, at_least=False),
    Target("figures that disagree", 0.0, at_least=False),
)


# ---------------------------------------------------------------- making


def fill(url: str, company: Company, folder: Path) -> None:
    """Movements into a table, and into a file for DuckDB."""
    with psycopg.connect(intake.libpq(url)) as db, (folder / "movements.tsv").open("w") as file:
        db.execute(movements.TABLE)
        with db.cursor() as cursor, cursor.copy("COPY movement FROM STDIN") as copy:
            for block in movements.blocks(company):
                copy.write(block)
                file.write(block)
        db.execute("CREATE INDEX movement_customer ON movement (customer)")
        db.commit()
        db.autocommit = True
        db.execute("VACUUM ANALYZE movement")


def rebuild(url: str, source: str, first: int, last: int) -> int:
    """Make the roll-ups of customers `first` to `last` from the movements in PostgreSQL; how many rows changed.

    Without the sums over all customers, and without the search for cycles, which these values cannot form.
    """
    gc.disable()
    db, clock, changed = Database(url), Clock("UTC"), 0
    with psycopg.connect(intake.libpq(source)) as raw:
        for start in range(first, last, CHUNK):
            rolled, end = RolledUp([], []), min(start + CHUNK, last)
            rows = raw.execute(movements.READ, (start, end)).fetchall()
            for customer, history in movements.histories(rows):
                roll_up_customer(customer, history, clock, rolled)
            with db.begin() as connection:
                changed += rollups.write(connection, OWNER, rolled, _between(start, end)).rows
    db.close()
    return changed


def _between(first: int, last: int) -> Callable[[Table], Any]:
    return lambda table: (table.c.customer >= movements.name(first)) & (table.c.customer < movements.name(last))


def rebuild_all(url: str, source: str, customers: int, processes: int) -> int:
    share = -(-customers // processes)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        parts = [(n, min(n + share, customers)) for n in range(0, customers, share)]
        jobs = [pool.submit(rebuild, url, source, first, last) for first, last in parts]
        changed = sum(job.result() for job in jobs)
    total(url, OWNER)
    return changed


def total(url: str, owner: Owner) -> None:
    """Make the sums over all customers anew."""
    db = Database(url)
    with db.begin() as connection:
        if not db.sqlite:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        rollup_totals.renew(connection, owner)
    db.close()


def analyze(url: str) -> None:
    db = Database(url)
    with db.engine.connect() as connection:
        if db.sqlite:
            connection.exec_driver_sql("ANALYZE")
        else:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")
    db.close()


BEGAN = """UPDATE ledger_month SET opening = 0, at_risk_opening = 0, at_risk_cases_opening = 0
WHERE account = 'short' AND month = :before"""


def shorten(url: str, since: int) -> None:
    """Another account with the same customers, whose history began a month before `since`."""
    db = Database(url)
    names = ", ".join(column.name for column in t.ledger_month.columns if column.name not in ("account", "month"))
    months = f"INSERT INTO ledger_month (account, month, {names}) SELECT 'short', greatest(month, :before), {names}"
    others = ", ".join(column.name for column in t.ledger_recovery.columns if column.name != "account")
    recoveries = f"INSERT INTO ledger_recovery (account, {others}) SELECT 'short', {others}"
    before = since - 1 if since % 100 > 1 else since - 89
    with db.engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(
            text(f"{months} FROM ledger_month WHERE until >= :since"), {"since": since, "before": before}
        )
        connection.execute(text(BEGAN), {"before": before})
        connection.execute(text(f"{recoveries} FROM ledger_recovery WHERE month >= :since"), {"since": since})
    db.close()
    total(url, SHORT)


# ---------------------------------------------------------------- measuring


def reports(url: str, owner: Owner, company: Company) -> dict[str, Any]:
    """Each report in every currency, the best of three; and what the process held at most. Runs in a fresh process."""
    db, end = Database(url), company.end
    year = Period(date(end.year - 1, end.month, 1), end)
    whole = Period(company.start, end)
    known = datetime.now(UTC)

    def each(report: Callable[[Any, Asked, Period], Any], period: Period) -> list[Any]:
        with db.read() as connection:
            if not db.sqlite:
                connection.execute(text("SET LOCAL statement_timeout = 0"))
            return [report(connection, Asked(owner, code, known), period) for code in movements.CURRENCIES]

    asked: dict[str, Callable[[], list[Any]]] = {
        MONTHLY: lambda: each(rollup_reports.monthly, year),
        TRAILING: lambda: each(rollup_reports.bridge, year),
        COHORTS: lambda: each(rollup_reports.cohorts, whole),
    }
    found: dict[str, Any] = {}
    for name, ask in asked.items():
        found[name] = min(_timed(ask)[0] for _ in range(3))
    found[MEMORY] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found["monthly"] = _sums(bridge for some in asked[MONTHLY]() for bridge in some)
    found["trailing"] = _sums(asked[TRAILING]())
    db.close()
    return found


def _sums(bridges: Iterator[Bridge] | list[Bridge]) -> list[int]:
    """Of each figure that the peers' bridge of a year has, the sum."""
    return [
        sum(each) for each in zip(*([getattr(b, name) for name in movements.COMPARED] for b in bridges), strict=True)
    ]


def _timed(ask: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = ask()
    return time.perf_counter() - began, answer


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """The answer of a function in a fresh process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def raw_sql(url: str, company: Company) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with psycopg.connect(intake.libpq(url)) as db:
        db.execute("SET work_mem = '512MB'")
        for name, key, sql in ((MONTHLY, "monthly", movements.MONTHLY), (TRAILING, "trailing", movements.TRAILING)):
            found[name], row = _timed(partial(_one_row, db, sql.format(a=company.year_ago)))
            found[key] = [int(each) for each in row]
    return found


def _one_row(db: psycopg.Connection[Any], sql: str) -> Any:
    return db.execute(sql.encode()).fetchone()


def duckdb(python: str, folder: Path, company: Company) -> dict[str, Any]:
    year = {"a": company.year_ago}
    asked = {MONTHLY: movements.MONTHLY.format(**year), TRAILING: movements.TRAILING.format(**year)}
    done = subprocess.run(
        [python, "-c", movements.DUCKDB, str(folder), json.dumps(asked)], check=True, stdout=subprocess.PIPE, text=True
    )
    return dict(json.loads(done.stdout))


def append(url: str, company: Company, number: int) -> float:
    """Movements a second of one process: insert one for each customer, roll its months up, and write what differs.

    As many customers in a transaction as the bookkeeper takes. What they did before is in memory, as the fold has it.
    """
    gc.disable()
    db, clock, spent = Database(url), Clock("UTC"), 0.0
    for first in range(0, number, BATCH):
        with psycopg.connect(intake.libpq(url)) as raw:
            rows = raw.execute(movements.READ, (first, first + BATCH)).fetchall()
        added = movements.one_more(rows, company.end_month)
        everything = sorted(rows + added, key=lambda row: (row[1], row[5], row[0]))
        known = list(movements.histories(everything))
        spent += _timed(partial(_append, db, clock, added, known, _between(first, first + BATCH)))[0]
    db.close()
    return number / spent


def _append(db: Database, clock: Clock, added: list[Any], known: list[Any], of: Callable[[Table], Any]) -> None:
    with db.begin() as connection:
        cursor: Any = connection.connection.cursor()
        cursor.executemany(movements.INSERT, added)
        rolled = RolledUp([], [])
        for customer, history in known:
            roll_up_customer(customer, history, clock, rolled)
        changed = rollups.write(connection, OWNER, rolled, of)
        rollup_totals.change(connection, OWNER, changed.gained, changed.lost)


def totals(url: str) -> list[Any]:
    db = Database(url)
    with db.read() as connection:
        table = t.ledger_total
        rows = connection.execute(select(table).where(OWNER.of(table)).order_by(*table.primary_key)).all()
    db.close()
    return list(rows)


def measure(options: argparse.Namespace) -> Found:
    found = Told()
    company = Company(options.customers, options.months, options.movements)
    disagree = 0
    with ExitStack() as stack:
        server = stack.enter_context(intake.postgres())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reprieve-bench-", dir="/var/tmp")))
        _prepare(server.url)
        _say(f"making {company.movements} movements")
        found.add("making and loading, s", _timed(lambda: fill(server.url, company, folder))[0])
        _say("rolling up")
        found.add(REBUILD, _timed(lambda: rebuild_all(server.url, server.url, company.customers, options.processes))[0])
        analyze(server.url)
        found.add("roll-up rows", _count(server.url))
        sample = min(1_000, company.customers)
        disagree += apart(rebuild, server.url, server.url, 0, sample)  # a second time nothing changes
        _say("asking")
        ours = apart(reports, server.url, OWNER, company)
        for name in (MONTHLY, TRAILING, COHORTS, MEMORY):
            found.add(name, ours[name])
        peers = {RAW: raw_sql(server.url, company)}
        if python := _duckdb_python(options.duckdb_python, folder, found):
            peers[DUCK] = duckdb(python, folder, company)
        for peer, theirs in peers.items():
            for name, key in ((MONTHLY, "monthly"), (TRAILING, "trailing")):
                found.add(f"{name}: {peer}", theirs[name])
                found.add(f"{name}: {peer} / roll-up", theirs[name] / ours[name])
                figures = 3 if key == "monthly" else len(movements.COMPARED)
                disagree += theirs[key][:figures] != ours[key][:figures]
        shorten(server.url, company.year_ago)
        analyze(server.url)
        short, ours = apart(reports, server.url, SHORT, company), apart(reports, server.url, OWNER, company)
        for name, key in ((MONTHLY, "monthly"), (TRAILING, "trailing")):
            found.add(f"{name}: all months / twelve months of history", ours[name] / short[name])
            disagree += short[key] != ours[key]
        found.add(APPEND, apart(append, server.url, company, min(options.append, company.customers)))
        kept = totals(server.url)
        total(server.url, OWNER)
        disagree += kept != totals(server.url)
        _small(options, server.url, folder, found)
    found.add("figures that disagree", disagree)
    return found


def _small(options: argparse.Namespace, url: str, folder: Path, found: Found) -> None:
    """The same smaller company on both engines."""
    share = options.sqlite_movements / options.movements
    company = Company(max(1, int(options.customers * share)), options.months, options.sqlite_movements)
    small = url.rsplit("/", 1)[0] + "/small"
    with psycopg.connect(intake.libpq(url), autocommit=True) as db:
        db.execute("CREATE DATABASE small")
    sqlite = f"sqlite:///{folder / 'small.db'}"
    for each in (small, sqlite):
        _prepare(each)
    fill(small, company, folder)
    times = []
    for each in (small, sqlite):
        apart(rebuild, each, small, 0, company.customers)
        total(each, OWNER)
        analyze(each)
        times.append(apart(reports, each, OWNER, company))
    for name in (MONTHLY, TRAILING, COHORTS):
        found.add(f"{name}: SQLite", times[1][name])
        found.add(f"{name}: SQLite / PostgreSQL", times[1][name] / times[0][name])


def _prepare(url: str) -> None:
    db = Database(url)
    migrate.upgrade(db)
    db.close()


def _count(url: str) -> int:
    with psycopg.connect(intake.libpq(url)) as db:
        return int((db.execute("SELECT count(*) FROM ledger_month").fetchone() or (0,))[0])


def _duckdb_python(given: str | None, folder: Path, found: Found) -> str | None:
    if given:
        return given
    python = str(folder / "venv" / "bin" / "python")
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, capture_output=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "duckdb"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        found.left_out.append(f"DuckDB: {error}; name a Python that has it with --duckdb-python")
        return None
    return python


class Told(Found):
    """Says each figure as it is found: a run takes minutes."""

    def add(self, name: str, value: float) -> None:
        super().add(name, value)
        _say(f"{name}: {value:.3f}")


def _say(what: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {what}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--customers", type=int, default=200_000)
    parser.add_argument("--months", type=int, default=36)
    parser.add_argument("--movements", type=int, default=10_000_000)
    parser.add_argument("--sqlite-movements", type=int, default=1_000_000)
    parser.add_argument("--append", type=int, default=20_000, help="movements to append")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that rebuild side by side")
    parser.add_argument("--duckdb-python", help="a Python that has duckdb already; else one is made from PyPI")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options)
    if options.json:
        sys.stdout.write(json.dumps({"figures": found.figures, "left_out": found.left_out}) + "\n")
    else:
        sys.stdout.write("\n".join(intake.report(found, TARGETS)) + "\n")
    return 0 if all(target.met(found.median(target.name)) for target in TARGETS if target.name in found.figures) else 1


if __name__ == "__main__":
    sys.exit(main())
