"""A worker that sleeps through its lease, while another one does its work, and then goes on as if nothing was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox import FINE, declines
from tests.fault import broken, invariants
from tests.fault.gates import Gates, Hand
from tests.fault.kills import finish
from tests.fault.process import wait_for_a_sweep, wait_until, working
from tests.fault.stage import Stage, staged
from worker import tables as t


@pytest.mark.parametrize("point", ["C1", "C2", "C4", "C6", "C8"])
def test_a_worker_frozen_here_for_longer_than_its_lease_does_no_harm(
    point: str, pg_database: str, tmp_path: Path
) -> None:
    with staged(pg_database, tmp_path) as stage:
        sleep_through_the_lease(stage, tmp_path / "worker.log", point)
        stage.end_leases()
        stage.hear_everything()
        invariants.check(stage)
        assert len(stage.world.sb.bank.charged(stage.invoices[0])) == 1


def test_a_worker_frozen_for_longer_than_stripe_remembers_keys_does_not_send(sqlite_url: str, tmp_path: Path) -> None:
    assert executed_after_forgetting(sqlite_url, tmp_path) == 1


def executed_after_forgetting(url: str, folder: Path, build: str = broken.REAL) -> int:
    """How often the bank was asked: the new owner is declined, then the key is forgotten and the card is good."""
    with staged(url, folder, behaviours=[declines("insufficient_funds")]) as stage:

        def forget() -> None:
            stage.world.sb.keys.ttl = timedelta(0)
            stage.world.sb.issuer.set(stage.subs[0].payment_method, FINE)

        sleep_through_the_lease(stage, folder / "worker.log", "C4", build, forget)
        return len([m for m in stage.world.sb.bank.attempts(stage.invoices[0]) if m.key])


def sleep_through_the_lease(
    stage: Stage, log: Path, point: str, build: str = broken.REAL, then: Callable[[], object] = lambda: None
) -> None:
    """One worker falls asleep at this point, another does all there is to do, and the first wakes up."""
    with working(stage.world.app.settings, log, freeze=f"{point}:1", build=build) as sleeper:
        wait_until(lambda: sleeper.frozen, f"the worker sleeps at {point}")
        finish(stage, log, build)
        then()
        sleeper.wake()
        wait_for_a_sweep(stage)


def test_who_lost_the_lease_changes_nothing_that_belongs_to_the_new_owner(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = rows_around_a_late_give_back(database_url, tmp_path, monkeypatch)
    assert before == after


def rows_around_a_late_give_back(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[object], list[object]]:
    """The action as the new owner left it, before and after the old one comes back and finds Stripe away."""
    gates = Gates(monkeypatch)
    with staged(url, folder) as stage:
        app = stage.world.app

        def rows() -> list[object]:
            return [*stage.world.rows(t.action, kind="retry"), *stage.world.rows(t.attempt)]

        with_old, with_new = gates.hold("C1"), gates.hold("C4")
        old = Hand(app)
        assert with_old.reached.wait(10)
        stage.end_leases()
        new = Hand(app)
        assert with_new.reached.wait(10)
        before = rows()
        stage.world.sb.faults.add("answer", "GET", count=0, status=503)
        with_old.go()
        old.end()
        after = rows()
        stage.world.sb.faults.clear()
        with_new.go()
        new.end()
        return before, after
