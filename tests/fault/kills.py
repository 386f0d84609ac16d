"""One kill run: workers are killed at a point of the charge path until nothing is left to do, then one may finish.

The same run judges the real build and the broken ones; what it counts goes into the report of the test session.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import FINE, Sandbox, declines
from tests.fault import broken, invariants
from tests.fault.process import Worker, wait_until, working
from tests.fault.stage import Stage

POINTS = ("C1", "C2", "C3", "C4", "C5", "C5 later", "C6", "C7", "C8")
BEHAVIOURS = (FINE, declines("insufficient_funds"), FINE)
PAY = r"/v1/invoices/[^/]+/pay"
HANGS = 2.0  # seconds between a request and its answer while a worker is to die in between


@dataclass(frozen=True, slots=True)
class Counts:
    """`lost`: successes at the bank that the workers had not found out by themselves when all was done."""

    kills: int = 0
    charges: int = 0
    doubles: int = 0
    lost: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.kills + other.kills,
            self.charges + other.charges,
            self.doubles + other.doubles,
            self.lost + other.lost,
        )


def kill_run(stage: Stage, log: Path, points: Iterator[str], most: int, build: str = broken.REAL) -> Counts:
    """Kill a worker at each of `points` until `most` died or all is done; then let one finish, and count."""
    kills = 0
    while kills < most and stage.unfinished():
        kills += _kill_one(stage, log, next(points), build)
    finish(stage, log, build)
    charges = sum(len(stage.world.sb.bank.charged(invoice)) for invoice in stage.invoices)
    return Counts(kills, charges, invariants.doubles(stage), len(invariants.lost(stage)))


def finish(stage: Stage, log: Path, build: str = broken.REAL) -> None:
    """One worker that nobody kills, until every retry has come to an end."""
    with working(stage.world.app.settings, log, build=build) as worker:
        wait_until(lambda: done(stage, worker), "every retry has come to an end")
        worker.stop()


def done(stage: Stage, worker: Worker) -> bool:
    assert not worker.dead, "the worker died of its own"
    return nothing_left(stage)


def nothing_left(stage: Stage) -> bool:
    stage.shorten_waits()
    return not stage.unfinished()


def _kill_one(stage: Stage, log: Path, point: str, build: str) -> bool:
    """Start a worker that dies at this point; False when there was nothing more to do and it ended well instead."""
    if point.startswith("C5"):
        return _kill_while_asking(stage, log, build, executed=point == "C5")
    with working(stage.world.app.settings, log, crash=f"{point}:1", build=build) as worker:
        wait_until(lambda: worker.dead or nothing_left(stage), f"a worker dies at {point}")
        worker.stop()
        return worker.killed


def _kill_while_asking(stage: Stage, log: Path, build: str, executed: bool) -> bool:
    """C5: the request has left, and its answer is not read. Stripe executes it before the kill, or long after."""
    sb = stage.world.sb
    with hanging(sb, "delay_after" if executed else "delay") as arrived:
        heard = len(arrived)
        with working(stage.world.app.settings, log, build=build) as worker:
            wait_until(lambda: len(arrived) > heard or nothing_left(stage), "a payment request arrives")
            if len(arrived) == heard:
                worker.stop()
                return False
            worker.kill()
            return worker.killed


@contextmanager
def hanging(sb: Sandbox, kind: str, seconds: float = HANGS) -> Iterator[list[str]]:
    """The next payment requests hang; their paths are put into the list as they arrive."""
    arrived: list[str] = []
    with payment_requests(sb, arrived):
        sb.faults.add(kind, path=PAY, seconds=seconds, count=0)
        try:
            yield arrived
        finally:
            sb.faults.clear()


@contextmanager
def payment_requests(sb: Sandbox, arrived: list[str]) -> Iterator[None]:
    """Remember each payment request that reaches Stripe, executed or not."""
    take = sb.faults.take

    def remembering(method: str, path: str) -> object:
        if method == "POST" and path.endswith("/pay"):
            arrived.append(path)
        return take(method, path)

    sb.faults.take = remembering  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        sb.faults.take = take  # type: ignore[method-assign]
