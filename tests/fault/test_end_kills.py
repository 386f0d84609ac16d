"""SIGKILL at every point of the end of a case, with real processes, on both engines: made once, and never half."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ends.stage import Ends, due_ends
from tests.fault.process import Worker, wait_until, working
from worker import tables as t

POINTS = ("E1", "E2", "E3", "E4", "E5", "E5 later", "E6", "E7", "E8")
KILLS = 3
HANGS = 2.0
PATIENCE = 90.0  # seconds: on a busy machine a claim grows too old to send more than once


def nothing_left(stage: Ends) -> bool:
    stage.shorten_waits()
    return not stage.unfinished()


def kill_one(stage: Ends, log: Path, point: str) -> bool:
    """Start a worker that dies at this point; False when it found nothing more to do."""
    settings = stage.world.app.settings
    if point.startswith("E5"):
        kind = "delay_after" if point == "E5" else "delay"
        with hanging(stage, kind) as arrived, working(settings, log) as worker:
            wait_until(lambda: bool(arrived) or nothing_left(stage), "a request for a change arrives")
            worker.kill() if arrived else worker.stop()
            return worker.killed
    with working(settings, log, crash=f"{point}:1") as worker:
        wait_until(lambda: worker.dead or nothing_left(stage), f"a worker dies at {point}", PATIENCE)
        worker.stop()
        return worker.killed


@contextmanager
def hanging(stage: Ends, kind: str) -> Iterator[list[str]]:
    """Requests for a change hang, executed before or after; their paths are put into the list as they arrive."""
    sb, arrived = stage.world.sb, list[str]()
    take = sb.faults.take

    def remembering(method: str, path: str) -> object:
        if method == "DELETE" or path.endswith("/mark_uncollectible"):
            arrived.append(path)
        return take(method, path)

    sb.faults.take = remembering  # type: ignore[assignment, method-assign]
    sb.faults.add(kind, "DELETE", r"/v1/subscriptions/[^/]+", seconds=HANGS, count=0)
    sb.faults.add(kind, "POST", r"/v1/invoices/[^/]+/mark_uncollectible", seconds=HANGS, count=0)
    try:
        yield arrived
    finally:
        sb.faults.clear()
        sb.faults.take = take  # type: ignore[method-assign]


def finish(stage: Ends, log: Path) -> None:
    with working(stage.world.app.settings, log) as worker:
        wait_until(lambda: done(stage, worker), "every end was made", PATIENCE)
        worker.stop()


def done(stage: Ends, worker: Worker) -> bool:
    assert not worker.dead, "the worker died of its own"
    return nothing_left(stage)


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_here_neither_ends_twice_nor_forgets_the_rest(
    point: str, database_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    with due_ends(database_url, tmp_path, 2) as stage:
        kills = 0
        while kills < KILLS and stage.unfinished():
            kills += kill_one(stage, log, point)
        assert kills == KILLS
        finish(stage, log)
        assert sorted(stage.told("customer.subscription.deleted")) == sorted(sub.subscription for sub in stage.subs)
        assert sorted(stage.told("invoice.marked_uncollectible")) == sorted(stage.invoices)
        assert [row.state for row in stage.world.rows(t.ending)] == ["made"] * 4
        assert {row.state for row in stage.world.rows(t.action, kind="end")} == {"done"}
        stage.world.settle()
        for invoice in stage.invoices:
            case = stage.world.case(invoice)
            assert dict(case.endings) == {"subscription": "cancel", "invoice": "uncollectible"}
