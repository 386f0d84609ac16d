"""A stop that came before the request wins, wherever the worker stands; one that came later wins at the next step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from sqlalchemy import update

from tests.fault import invariants
from tests.fault.gates import Gates, perform_and_die
from tests.fault.kills import PAY, done, payment_requests
from tests.fault.process import wait_for_a_sweep, wait_until, working
from tests.fault.stage import Stage, staged
from tests.world import DAY, SELF
from worker import flow, switch
from worker import tables as t
from worker.app import wall_clock

# ---------------------------------------------------------------- ways to stop


def paid_by_the_customer(stage: Stage) -> None:
    """On Stripe's page, with another card."""
    url = stage.world.sb.get(stage.invoices[0])["hosted_invoice_url"]
    assert requests.post(url, data={"number": "4242424242424242"}, timeout=5).status_code == 200


def voided(stage: Stage) -> None:
    stage.world.client.v1.invoices.void_invoice(stage.invoices[0])


def cancelled_by_the_customer(stage: Stage) -> None:
    """Which leaves the invoice open."""
    details = {"cancellation_details": {"feedback": "too_expensive"}}
    stage.world.client.v1.subscriptions.cancel(stage.subs[0].subscription, details)  # type: ignore[arg-type]


def disputed(stage: Stage) -> None:
    """Not this charge, but an earlier one of the same customer."""
    first = stage.world.sb.bank.charged(stage.subs[0].invoice)[0]
    stage.world.sb.dispute(str(first.charge))


def collection_paused(stage: Stage) -> None:
    pause = {"pause_collection": {"behavior": "keep_as_draft"}}
    stage.world.client.v1.subscriptions.update(stage.subs[0].subscription, pause)  # type: ignore[arg-type]


def stopped_by_an_operator(stage: Stage) -> None:
    turn(stage, True)


def turn(stage: Stage, stopped: bool) -> None:
    with stage.world.app.db.begin() as db:
        switch.turn(db, None, stopped, "ann", "a drill", wall_clock())


Stop = Callable[[Stage], None]
STOPS: list[Stop] = [
    paid_by_the_customer,
    voided,
    cancelled_by_the_customer,
    disputed,
    collection_paused,
    stopped_by_an_operator,
]
# The reading before the request shows these without any event; a dispute of another charge only an event tells.
SEEN = [paid_by_the_customer, voided, cancelled_by_the_customer, collection_paused]


def told(stage: Stage, stop: Stop) -> None:
    """The stop happens, and we have committed it."""
    app = stage.world.app
    stop(stage)
    stage.world.sb.deliver()
    flow.handle_inbox(app)
    for fetch in stage.world.rows(t.action, kind="fetch", state="waiting"):
        flow.perform_action(app, SELF, fetch.key)
    flow.handle_inbox(app)


def name(stop: Stop) -> str:
    return stop.__name__


# ---------------------------------------------------------------- the facts


@pytest.mark.parametrize("stop", SEEN, ids=name)
def test_what_happened_at_stripe_before_the_last_look_stops_the_request(
    stop: Stop, sqlite_url: str, tmp_path: Path
) -> None:
    with staged(sqlite_url, tmp_path) as stage:
        asked: list[str] = []
        with payment_requests(stage.world.sb, asked):
            stop(stage)  # and its event is late
            flow.perform_due(stage.world.app)
        assert asked == []
        stage.hear_everything()
        invariants.check(stage)


@pytest.mark.parametrize("point", ["C1", "C2", "C4"])
@pytest.mark.parametrize("stop", STOPS, ids=name)
def test_a_stop_committed_at_this_point_sends_no_request(
    stop: Stop, point: str, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_request_after(stop, point, sqlite_url, tmp_path, monkeypatch)


def no_request_after(stop: Stop, point: str, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gates = Gates(monkeypatch)
    with staged(url, folder) as stage:
        asked: list[str] = []
        gates.once(point, lambda: told(stage, stop))
        with payment_requests(stage.world.sb, asked):
            flow.perform_due(stage.world.app)
        assert point in gates.passed
        assert asked == []
        if stop is stopped_by_an_operator:
            turn(stage, False)
        stage.hear_everything()
        invariants.check(stage)


def test_the_kill_switch_thrown_while_the_intent_is_written_sends_no_request(
    pg_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)
    with staged(pg_database, tmp_path) as stage:
        asked: list[str] = []
        operator = threading.Thread(target=turn, args=(stage, True))
        gates.once("C3", operator.start)
        gates.once("C4", operator.join)
        with payment_requests(stage.world.sb, asked):
            flow.perform_due(stage.world.app)
        assert {"C3", "C4"} <= set(gates.passed)
        assert asked == []


@pytest.mark.parametrize("stop", STOPS, ids=name)
def test_who_finds_an_intent_without_a_result_does_not_repeat_it_after_a_stop(
    stop: Stop, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)
    with staged(database_url, tmp_path) as stage:
        asked: list[str] = []
        gates.die("C4")
        with payment_requests(stage.world.sb, asked):
            perform_and_die(stage.world.app)
            told(stage, stop)
            stage.end_leases()
            flow.perform_due(stage.world.app)
            # A day later the key would protect no more; reading alone brings the attempt to its end.
            with stage.world.app.db.begin() as db:
                db.execute(update(t.attempt).values(first_sent_at=wall_clock() - DAY))
            stage.end_leases()
            flow.perform_due(stage.world.app)
            assert asked == []
        if stop is not stopped_by_an_operator:
            stage.hear_everything()
            invariants.check(stage)
        assert stage.world.rows(t.attempt)[0].state in ("failed", "cancelled", "succeeded")


def test_an_invoice_whose_amount_changed_is_not_asked_for_the_old_amount(sqlite_url: str, tmp_path: Path) -> None:
    with staged(sqlite_url, tmp_path) as stage:
        invoice = stage.world.sb.get(stage.invoices[0])
        invoice["amount_due"] = invoice["amount_remaining"] = invoice["amount_remaining"] - 250  # a credit note
        flow.perform_action(stage.world.app)
        assert stage.world.rows(t.attempt) == []
        assert stage.world.sb.bank.charged(stage.invoices[0]) == []


# ---------------------------------------------------------------- the kill switch


def test_the_kill_switch_holds_for_what_was_not_begun_under_load_and_over_restarts(
    pg_database: str, tmp_path: Path
) -> None:
    with staged(pg_database, tmp_path, 20) as stage:
        asked: list[str] = []
        settings, log = stage.world.app.settings, tmp_path / "worker.log"
        stage.world.sb.faults.add("delay", path=PAY, seconds=0.1, count=0)
        with payment_requests(stage.world.sb, asked):
            with working(settings, log), working(settings, log):
                wait_until(lambda: len(asked) >= 5, "payments are asked for")
                turn(stage, True)
                wait_until(lambda: not stage.count(t.action.c.kind == "retry", BEGUN), "what was begun ends")
                at_the_stop = len(asked)
                assert at_the_stop < 20
                wait_for_a_sweep(stage)
            with working(settings, log) as restarted:
                wait_for_a_sweep(stage)
                restarted.stop()
            assert len(asked) == at_the_stop
            recovered = [state for state in stage.world.cases().values() if state == "recovered"]
            assert len(recovered) == at_the_stop
            turn(stage, False)
            with working(settings, log) as worker:
                wait_until(lambda: done(stage, worker), "the rest is collected")
                worker.stop()
        stage.hear_everything()
        invariants.check(stage)
        assert all(stage.world.sb.bank.charged(invoice) for invoice in stage.invoices)
        assert [row.what for row in stage.world.rows(t.audit)] == ["stop", "resume"]


BEGUN = t.action.c.state.in_(("claimed", "sending"))
