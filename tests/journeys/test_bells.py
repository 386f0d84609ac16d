"""The same story with Redis as without it: bells answered by Dramatiq while the sweeps go on."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dramatiq import Broker

from billing.case import State
from sandbox import until
from tests.world import DAY, START, World, world
from worker import tables as t
from worker.broker import LocalBell, LocalBroker, NoBell, RedisBell, redis_broker
from worker.process import working


def recovered_story(w: World) -> None:
    sub = w.sb.subscribe(amount=2000, behaviour=until(datetime(2026, 2, 6, tzinfo=UTC)), email="ann@example.com")
    w.pass_time(START + 45 * DAY, step=DAY / 2)
    invoice = w.sb.latest_invoice(sub.subscription)["id"]
    deadline = time.monotonic() + 20
    while w.case(invoice).state is not State.RECOVERED:
        assert time.monotonic() < deadline, w.case(invoice)
        w.settle()
    assert len(w.sb.bank.charged(invoice)) == 1
    assert [row.state for row in w.rows(t.attempt)][-1] == "succeeded"
    assert {row.state for row in w.rows(t.inbox)} <= {"done", "ignored"}


def a_broker(bells: str, redis_url: str) -> Broker | None:
    match bells:
        case "redis":
            return redis_broker(redis_url)
        case "stub broker":
            return LocalBroker()
        case _:
            return None


@pytest.mark.parametrize("bells", ["none", "stub broker", "redis"])
def test_bells_change_when_and_never_what(database_url: str, redis_url: str, tmp_path: Path, bells: str) -> None:
    broker = a_broker(bells, redis_url)
    bell = LocalBell(broker) if isinstance(broker, LocalBroker) else RedisBell(redis_url) if broker else NoBell()
    with world(database_url, tmp_path, bell=bell, sweep_seconds=600) as w:
        if broker is None:
            recovered_story(w)
            return
        with working(w.app, broker):
            recovered_story(w)
