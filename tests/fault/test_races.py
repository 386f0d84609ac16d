"""Many hands, one payment: the effect equals one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from billing.actions import Action, Kind
from billing.case import State
from tests.fault import invariants
from tests.fault.gates import Gates, Hand
from tests.fault.kills import BEHAVIOURS, PAY, done, payment_requests
from tests.fault.process import wait_until, working
from tests.fault.stage import staged
from tests.world import SELF
from worker import flow, outbox, store
from worker import tables as t
from worker.app import App


def test_two_workers_racing_for_one_case_ask_once(database_url: str, tmp_path: Path) -> None:
    race(2, database_url, tmp_path)


def test_eight_workers_racing_for_one_case_ask_once(database_url: str, tmp_path: Path) -> None:
    race(8, database_url, tmp_path)


def race(hands: int, url: str, folder: Path) -> None:
    """The loser finds nothing, whether it comes at the claim or while the winner waits for Stripe."""
    with staged(url, folder) as stage:
        asked: list[str] = []
        stage.world.sb.faults.add("delay", path=PAY, seconds=0.2)
        with payment_requests(stage.world.sb, asked):
            racing = [Hand(stage.world.app) for _ in range(hands)]
            for hand in racing:
                hand.end()
        assert len(asked) == 1
        stage.hear_everything()
        invariants.check(stage)


def test_two_dispatchers_that_sweep_at_once_collect_everything_once(database_url: str, tmp_path: Path) -> None:
    with staged(database_url, tmp_path, 12, behaviours=BEHAVIOURS) as stage, ExitStack() as stack:
        settings = stage.world.app.settings
        workers = [stack.enter_context(working(settings, tmp_path / f"worker{n}.log")) for n in range(2)]
        wait_until(lambda: all(done(stage, worker) for worker in workers), "everything has come to an end")
        for worker in workers:
            worker.stop()
        stage.hear_everything()
        invariants.check(stage)
        assert len([m for m in stage.world.sb.bank.charges if m.invoice in stage.invoices]) == 8


def test_of_a_thousand_rows_eight_claimers_get_each_once(database_url: str, tmp_path: Path) -> None:
    with staged(database_url, tmp_path, 0) as stage:
        app = stage.world.app
        now = app.now()
        keys = [f"look:in_{n}:0" for n in range(1000)]
        with app.db.begin() as db:
            store.add_actions(db, SELF, [Action(key, Kind.LOOK, now, "a race", f"in_{key}") for key in keys], now)
        got: list[tuple[str, int]] = []
        threads = [threading.Thread(target=claim_all, args=(app, got)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert Counter(got) == Counter((key, 1) for key in keys)


def claim_all(app: App, got: list[tuple[str, int]]) -> None:
    while True:
        with app.db.begin() as db:
            claim = outbox.claim(db, app.now(), app.settings.lease * 60)
        if claim is None:
            return
        got.append((claim.key, claim.token))


def test_the_database_refuses_a_second_attempt_while_one_is_alive(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)
    with staged(database_url, tmp_path) as stage:
        held = gates.hold("C4")
        hand = Hand(stage.world.app)
        assert held.reached.wait(10)
        row = dict(stage.world.rows(t.attempt)[0]._mapping)
        del row["id"]
        second = {**row, "n": 2, "idem_key": "dn1_another", "action_key": "retry:by hand"}
        with pytest.raises(IntegrityError), stage.world.app.db.begin() as db:
            db.execute(insert(t.attempt), second)
        held.go()
        hand.end()
        stage.hear_everything()
        invariants.check(stage)


def test_the_event_of_our_own_payment_may_come_before_its_answer(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)
    with staged(database_url, tmp_path) as stage:
        gates.once("C6", lambda: (stage.world.sb.deliver(), flow.handle_inbox(stage.world.app)))
        flow.perform_due(stage.world.app)
        assert stage.world.case(stage.invoices[0]).state is State.RECOVERED
        assert [row.state for row in stage.world.rows(t.attempt)] == ["succeeded"]
        stage.hear_everything()
        invariants.check(stage)


def test_doubled_events_handled_by_eight_hands_at_once_are_one_event(database_url: str, tmp_path: Path) -> None:
    with staged(database_url, tmp_path, 3) as stage:
        flow.perform_due(stage.world.app)
        endpoint = stage.world.sb.delivery.log[0].endpoint
        seen = {posted.event for posted in stage.world.sb.delivery.log}
        for event in seen:
            stage.world.sb.delivery.resend(event, endpoint)
        stage.world.sb.deliver()
        at_once(8, lambda: flow.handle_inbox(stage.world.app))
        assert len(stage.world.rows(t.inbox)) == len({posted.event for posted in stage.world.sb.delivery.log})
        stage.hear_everything()
        invariants.check(stage)


def at_once(number: int, act: Callable[[], object]) -> None:
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
