"""SIGKILL at every point of a message's path, with a real mail server: at most one copy, and none forgotten."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from sandbox import declines
from tests.channels.mail_servers import Inbox, real_server
from tests.fault import broken
from tests.fault.gates import Gates
from tests.fault.process import Worker, wait_until, working
from tests.fault.stage import Stage, staged
from tests.fault.test_stops import paid_by_the_customer, told
from worker import flow
from worker import tables as t

# Where a worker dies, and whether the message was accepted by then; None: the server has it and has not said so.
POINTS = {"M1": False, "M2": False, "M3": False, "M4": None, "M5": True, "M6": True}
FLAGGED = {"M3", "M4", "M5"}  # nobody can know any more: not repeated, put before a person


@dataclass
class SlowInbox(Inbox):
    """Keeps a message and, while `hangs`, does not say so."""

    hangs: bool = False

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = await super().handle_DATA(server, session, envelope)
        while self.hangs:
            await asyncio.sleep(0.01)
        return answer

    def copies(self) -> Counter[str]:
        """How often each message was accepted, by Message-ID."""
        return Counter(str(mail["Message-ID"]) for mail in self.mails)


@contextmanager
def mailing(url: str, folder: Path, number: int) -> Iterator[tuple[Stage, SlowInbox]]:
    """Invoices whose first message is due, and which no retry pays meanwhile."""
    inbox = SlowInbox()
    with real_server(inbox) as port:
        server: dict[str, Any] = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_tls": "none"}
        poor = [declines("insufficient_funds")]
        with staged(url, folder, number, behaviours=poor, mailed=False, **server) as stage:
            yield stage, inbox


def due(stage: Stage) -> int:
    waiting = (t.action.c.state == "waiting") & (t.action.c.due_at <= stage.world.app.now())
    return stage.count(t.action.c.kind == "notice", waiting | t.action.c.state.in_(("claimed", "sending")))


def run(stage: Stage, inbox: SlowInbox, log: Path, point: str, build: str = broken.REAL) -> int:
    """Kill one worker at this point, then let another finish; how many were killed."""
    settings = stage.world.app.settings
    inbox.hangs = point == "M4"
    with working(settings, log, crash="" if inbox.hangs else f"{point}:1", build=build) as worker:
        if inbox.hangs:
            wait_until(lambda: bool(inbox.envelopes), "a message is handed over")
            worker.kill()
        wait_until(lambda: worker.dead, f"the worker dies at {point}")
        killed = worker.killed
    inbox.hangs = False
    with working(settings, log, build=build) as worker:
        wait_until(lambda: quiet(stage, worker), "every message has come to an end")
        worker.stop()
    return killed


def quiet(stage: Stage, worker: Worker) -> bool:
    assert not worker.dead, "the worker died of its own"
    return not due(stage)


@pytest.mark.parametrize("point", POINTS)
def test_a_mailer_killed_here_sends_no_second_copy_and_forgets_no_message(
    point: str, database_url: str, tmp_path: Path
) -> None:
    with mailing(database_url, tmp_path, 2) as (stage, inbox):
        assert run(stage, inbox, tmp_path / "worker.log", point) == 1
        copies, notices = inbox.copies(), stage.world.rows(t.notice)
        assert set(copies.values()) <= {1}
        first = [row for row in notices if row.step == "payment_failed"]
        assert {row.invoice for row in first} == set(stage.invoices)
        for row in notices:
            assert row.state in ("accepted", "unknown")
            assert row.state == "unknown" or copies[row.message_id] == 1
        unknown = [row for row in notices if row.state == "unknown"]
        assert (len(unknown) > 0) == (point in FLAGGED)


@pytest.mark.parametrize("point", ["M1", "M2"])
def test_who_paid_just_before_gets_no_message_about_a_failure(
    point: str, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)
    with mailing(sqlite_url, tmp_path, 1) as (stage, inbox):
        gates.once(point, lambda: told(stage, paid_by_the_customer))
        flow.perform_action(stage.world.app)
        assert point in gates.passed
        stage.world.settle()
        assert [row.step for row in stage.world.rows(t.notice)] in ([], ["recovered"])
        assert inbox.copies().total() == len(stage.world.rows(t.notice))


def test_a_build_that_sends_again_what_may_have_been_sent_is_caught(sqlite_url: str, tmp_path: Path) -> None:
    with mailing(sqlite_url, tmp_path, 1) as (stage, inbox):
        run(stage, inbox, tmp_path / "worker.log", "M5", broken.MAIL_AGAIN)
        assert max(inbox.copies().values()) == 2
