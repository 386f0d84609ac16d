"""The command itself, as an operator starts it: killed in the middle, started again, stopped in an orderly way."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.fault import invariants
from tests.fault.kills import hanging
from tests.fault.process import DEADLINE, command, wait_until
from tests.fault.stage import staged


def test_reprieve_worker_killed_after_the_answer_is_started_again_and_collects_once(
    pg_database: str, tmp_path: Path
) -> None:
    with staged(pg_database, tmp_path, 2) as stage:
        settings, log = stage.world.app.settings, tmp_path / "worker.log"
        with command(settings, log, CRASH="C6:1") as worker:
            assert worker.wait(DEADLINE) == -signal.SIGKILL, log.read_text()
        with command(settings, log) as worker:
            wait_until(lambda: not stage.unfinished(), "both are collected")
            worker.terminate()
            assert worker.wait(DEADLINE) == 0, log.read_text()
        stage.hear_everything()
        invariants.check(stage)
        assert all(len(stage.world.sb.bank.charged(invoice)) == 1 for invoice in stage.invoices)


def test_reprieve_worker_asked_to_stop_waits_for_the_answer_and_records_it(pg_database: str, tmp_path: Path) -> None:
    with staged(pg_database, tmp_path) as stage:
        settings, log = stage.world.app.settings, tmp_path / "worker.log"
        with hanging(stage.world.sb, "delay", 0.4) as arrived, command(settings, log) as worker:
            wait_until(lambda: bool(arrived), "the payment is asked for")
            worker.terminate()
            assert worker.wait(DEADLINE) == 0, log.read_text()
        assert not stage.unfinished()
        stage.hear_everything()
        invariants.check(stage)
