"""How long the command line takes to answer, and how much memory web and worker hold after work, against the limits.

    python -m benchmarks.footprint [--rounds 5]

Real processes on PostgreSQL and Redis; the worker handles 5,000 events first. Exit code 1 when a limit is passed.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from benchmarks import intake
from benchmarks.decisions import store_events
from benchmarks.intake import Found, Target
from tests import server_programs, servers
from tests.processes.commands import answers, free_port, running, wait_until
from worker import inbox, migrate
from worker.db import Database

EVENTS = 5_000
TARGETS = (
    Target("reprieve --help, s", 0.5, at_least=False),
    Target("web process, MB", 120.0, at_least=False),
    Target("worker process, MB", 120.0, at_least=False),
)


def megabytes(pid: int) -> float:
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) / 1024 if match else float("nan")


def help_seconds() -> float:
    began = time.perf_counter()
    subprocess.run(["./reprieve", "--help"], cwd=intake.ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure(rounds: int) -> Found:
    found = Found()
    for _ in range(rounds):
        found.add("reprieve --help, s", help_seconds())
    found.add("python -c pass, s", statistics.median(_nothing() for _ in range(rounds)))
    with ExitStack() as stack:
        server = stack.enter_context(intake.postgres())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reprieve-bench-")))
        redis = stack.enter_context(servers.Redis(server_programs.find_redis(), folder))
        receiving, working = (stack.enter_context(_database(server, name)) for name in ("receiving", "working"))
        port = free_port()
        environment = {
            "REPRIEVE_DATABASE_URL": receiving.url.render_as_string(hide_password=False),
            "REPRIEVE_REDIS_URL": redis.url,
            "REPRIEVE_STRIPE_WEBHOOK_SECRETS": intake.SECRET,
            "REPRIEVE_WEB_PORT": str(port),
            "REPRIEVE_SWEEP_SECONDS": "1",
        }
        web = stack.enter_context(running(["web"], environment, folder / "web.log"))
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "the web process is ready")
        intake.load(f"http://127.0.0.1:{port}/webhooks/stripe", 64, 2.0)
        # Events of customers of their own, as in life: the load above is all about one.
        store_events(working, "memory", EVENTS)
        environment["REPRIEVE_DATABASE_URL"] = working.url.render_as_string(hide_password=False)
        worker = stack.enter_context(running(["worker"], environment, folder / "worker.log"))

        def handled() -> bool:
            with working.read() as db:
                return not inbox.counts(db).get("received")

        wait_until(handled, "every event is handled", 300.0)
        found.add("web process, MB", megabytes(web.process.pid))
        found.add("worker process, MB", megabytes(worker.process.pid))
    return found


@contextmanager
def _database(server: intake.Durable, name: str) -> Iterator[Database]:
    """One more database on the server, with our tables."""
    url = make_url(server.url)
    with psycopg.connect(intake.libpq(server.url), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    db = Database(url.set(database=name).render_as_string(hide_password=False))
    migrate.upgrade(db)
    yield db
    db.close()


def _nothing() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True, env=dict(os.environ))
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    found = measure(parser.parse_args().rounds)
    sys.stdout.write("\n".join(intake.report(found, TARGETS)) + "\n")
    return 0 if all(target.met(found.median(target.name)) for target in TARGETS) else 1


if __name__ == "__main__":
    sys.exit(main())
