"""SIGKILL at every point of a warning's path, with worker processes and a real mail server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.ahead.conftest import Ahead, looking_ahead
from tests.channels.mail_servers import real_server
from tests.fault.process import wait_until, working
from tests.fault.stage import LEASE, PATIENCE
from tests.fault.test_mail_kills import SlowInbox
from tests.world import DAY, SELF
from worker import tables as t
from worker.ahead import plan
from worker.app import wall_clock

POINTS = ("A1", "A2", "A3", "A4", "A5", "A6")  # A4: the server has the message and has not said so
UNKNOWN = {"A3", "A4", "A5"}


def noon(now: datetime) -> str:
    """A time zone in which it is noon: nobody is written to at night, and the processes know only the wall clock."""
    return f"Etc/GMT{now.hour - 12:+d}"


@contextmanager
def due(url: str, folder: Path, number: int) -> Iterator[tuple[Ahead, SlowInbox]]:
    """Warnings of cards that expired last month, due now by the wall clock."""
    now, inbox = wall_clock(), SlowInbox()
    last = now.replace(day=1) - DAY
    with (
        real_server(inbox) as port,
        looking_ahead(
            url,
            folder,
            reporting_timezone=noon(now),
            smtp_host="127.0.0.1",
            smtp_port=port,
            smtp_tls="none",
            lease_seconds=LEASE,
            stripe_timeout_seconds=PATIENCE,
            sweep_seconds=0.1,
            worker_threads=2,
        ) as w,
    ):
        w.sb.advance(now - 25 * DAY)
        for n in range(number):
            sub = w.sb.subscribe("pm_card_visa", amount=2000, email=f"payer{n}@example.com")
            w.card(sub.payment_method, last.year, last.month)
        w.settle()
        w.sb.advance(now)
        w.settle()
        assert plan.run(w.app, SELF) == f"{number} warnings planned"
        with w.app.db.begin() as db:
            db.execute(update(t.action).where(t.action.c.kind == "ahead").values(due_at=now - timedelta(minutes=1)))
        yield w, inbox


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_here_warns_nobody_twice_and_forgets_nobody(
    point: str, database_url: str, tmp_path: Path
) -> None:
    with due(database_url, tmp_path, 2) as (w, inbox):
        log, settings = tmp_path / "worker.log", w.app.settings
        inbox.hangs = point == "A4"
        with working(settings, log, crash="" if inbox.hangs else f"{point}:1") as worker:
            if inbox.hangs:
                wait_until(lambda: bool(inbox.envelopes), "a message is handed over")
                worker.kill()
            wait_until(lambda: worker.dead, f"the worker dies at {point}")
            assert worker.killed
        inbox.hangs = False
        with working(settings, log) as worker:
            wait_until(lambda: all(row.sent for row in w.warnings()), "every warning has come to an end")
            worker.stop()
        copies = inbox.copies()
        assert set(copies.values()) <= {1}
        notices = w.rows(t.notice)
        assert len(notices) == 2
        assert all(row.state == "unknown" or copies[row.message_id] == 1 for row in notices)
        assert (sum(row.state == "unknown" for row in notices) > 0) == (point in UNKNOWN)
        assert {row.arm for row in w.warnings()} == {"told"}
