"""Web and worker as the processes an operator starts, on PostgreSQL, with Redis, without it, and when it goes away."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from sandbox import Sandbox, declines
from tests import server_programs, servers
from tests.processes.commands import Command, answers, free_port, running, wait_until
from tests.world import SECRET
from worker import tables as t
from worker.db import Database


@dataclass
class Installation:
    sb: Sandbox
    db: Database
    web: Command
    worker: Command

    def fail_a_renewal(self) -> str:
        """A subscription whose renewal is declined; the invoice."""
        sub = self.sb.subscribe(amount=2000, email="ann@example.com")
        self.sb.issuer.set(sub.payment_method, declines("insufficient_funds"))
        self.sb.advance(timedelta(days=32))
        self.sb.deliver()
        invoice: str = self.sb.latest_invoice(sub.subscription)["id"]
        return invoice

    def case_exists(self, invoice: str) -> bool:
        with self.db.read() as db:
            return db.scalar(select(t.recovery_case.c.state).where(t.recovery_case.c.invoice == invoice)) is not None

    def inbox_is_done(self) -> bool:
        with self.db.read() as db:
            return not db.execute(select(t.inbox.c.id).where(t.inbox.c.state == "received")).first()

    def looked(self, invoice: str) -> bool:
        with self.db.read() as db:
            wanted = select(t.action.c.state).where(t.action.c.kind == "look", t.action.c.invoice == invoice)
            return db.scalar(wanted) == "done"


@contextmanager
def installation(url: str, folder: Path, **settings: str) -> Iterator[Installation]:
    db = Database(url)
    start = datetime.now(UTC) - timedelta(days=35)
    with Sandbox(start=start, seed=1) as sb:
        port = free_port()
        environment = {
            "REPRIEVE_DATABASE_URL": url,
            "REPRIEVE_STRIPE_API_KEY": "rk_test_reprieve",
            "REPRIEVE_STRIPE_API_BASE": sb.url,
            "REPRIEVE_STRIPE_WEBHOOK_SECRETS": SECRET,
            "REPRIEVE_MODE": "own",
            "REPRIEVE_WEB_PORT": str(port),
            "REPRIEVE_MAILBOX_DIR": str(folder / "mailbox"),
            "REPRIEVE_WORKER_THREADS": "2",
            **{f"REPRIEVE_{name.upper()}": value for name, value in settings.items()},
        }
        with (
            running(["web"], environment, folder / "web.log") as web,
            running(["worker"], environment, folder / "worker.log") as worker,
        ):
            address = f"http://127.0.0.1:{port}"
            wait_until(lambda: answers(f"{address}/readyz"), "the web process is ready")
            wait_until(lambda: "worker_started" in worker.log.read_text(), "the worker has started")
            sb.add_endpoint(f"{address}/webhooks/stripe", SECRET)
            yield Installation(sb, db, web, worker)
    db.close()


def test_bells_through_redis_bring_an_event_to_a_case_long_before_the_next_sweep(
    pg_database: str, redis_url: str, tmp_path: Path
) -> None:
    with installation(pg_database, tmp_path, redis_url=redis_url, sweep_seconds="600") as here:
        invoice = here.fail_a_renewal()
        wait_until(lambda: here.case_exists(invoice), "the case stands")
        wait_until(lambda: here.looked(invoice), "the action that fell due was performed")
        assert here.worker.stop() == 0
        assert here.web.stop() == 0


def test_without_redis_the_sweep_finds_everything(pg_database: str, tmp_path: Path) -> None:
    with installation(pg_database, tmp_path, sweep_seconds="0.2") as here:
        invoice = here.fail_a_renewal()
        wait_until(lambda: here.looked(invoice), "the sweep found event and action")
        assert here.worker.stop(signal.SIGINT) == 0


def test_a_redis_that_dies_costs_time_and_nothing_else(pg_database: str, server_folder: Path, tmp_path: Path) -> None:
    redis = servers.Redis(server_programs.find_redis(), server_folder)
    redis.start()
    with installation(pg_database, tmp_path, redis_url=redis.url, sweep_seconds="0.5") as here:
        redis.stop()
        invoice = here.fail_a_renewal()
        wait_until(lambda: here.looked(invoice), "the sweep did what no bell announced")
        wait_until(here.inbox_is_done, "every event is done")
        assert here.worker.process.poll() is None
        assert here.web.process.poll() is None


def test_a_process_does_not_start_on_tables_of_another_version(empty_pg_database: str, tmp_path: Path) -> None:
    environment = {"REPRIEVE_DATABASE_URL": empty_pg_database}
    for name in ("web", "worker"):
        with running([name], environment, tmp_path / f"{name}.log") as command:
            assert command.process.wait(20) == 2
            assert "reprieve migrate" in command.log.read_text()


def test_two_embedded_processes_never_share_one_file(sqlite_url: str, tmp_path: Path) -> None:
    environment = {"REPRIEVE_DATABASE_URL": sqlite_url, "REPRIEVE_WEB_PORT": "0"}
    with running(["serve", "--embedded"], environment, tmp_path / "one.log") as one:
        wait_until(lambda: "embedded_started" in one.log.read_text(), "the first one started")
        with running(["serve", "--embedded"], environment, tmp_path / "two.log") as two:
            assert two.process.wait(20) == 2
            assert "another process" in two.log.read_text()
        assert one.stop() == 0
