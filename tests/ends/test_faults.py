"""What Stripe, the customer and other workers can do to an end that is being made; deaths are in tests/fault."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from billing.case import State
from tests.ends.stage import Ends, due_ends
from tests.fault.gates import Gates
from tests.world import SELF
from worker import flow, switch
from worker import tables as t
from worker.columns import db_in
from worker.doctor import waiting
from worker.doctor.finding import Patient

ONE = '[end]\nsubscription = "cancel"'
SUBSCRIPTION = r"/v1/subscriptions/[^/]+"


@pytest.fixture
def stage(database_url: str, tmp_path: Path) -> Iterator[Ends]:
    """One subscription that is due to be cancelled."""
    with due_ends(database_url, tmp_path, 1, ONE) as made:
        yield made


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> Gates:
    return Gates(monkeypatch)


def work(stage: Ends) -> None:
    """Do what is due, with no lease and no wait in the way."""
    stage.end_leases()
    stage.shorten_waits()
    flow.perform_due(stage.world.app)


def outcome(stage: Ends) -> tuple[str, str, str]:
    """(state of the action, its outcome, state of the row)."""
    (row,) = stage.world.rows(t.action, kind="end")
    (made,) = stage.world.rows(t.ending)
    return row.state, row.outcome, made.state


def cancelled(stage: Ends) -> int:
    return len(stage.told("customer.subscription.deleted"))


@pytest.mark.parametrize("kind", ["answer", "answer_after", "garbage", "truncate"])
def test_an_answer_that_says_nothing_is_read_about_before_anything_is_repeated(stage: Ends, kind: str) -> None:
    stage.world.sb.faults.add(kind, "DELETE", SUBSCRIPTION, status=500)
    flow.perform_due(stage.world.app)
    assert outcome(stage)[0::2] == ("sending", "sending")
    work(stage)
    assert outcome(stage)[0::2] == ("done", "made")
    assert cancelled(stage) == 1


@pytest.mark.parametrize(("status", "words"), [(403, "does not allow this key"), (400, "Stripe answered 400")])
def test_a_refusal_goes_to_a_person_and_stops_nothing_else(stage: Ends, status: int, words: str) -> None:
    w = stage.world
    w.sb.faults.add("answer", "DELETE", SUBSCRIPTION, status=status, count=0)
    flow.perform_due(w.app)
    work(stage)
    state, said, row = outcome(stage)
    assert (state, row, words in said) == ("stuck", "stuck", True), said
    with w.app.db.read() as db:
        assert switch.standing(db) == []
    found = list(waiting.leftovers(Patient(w.app.settings, w.app.db, w.app.stripe, w.app.now)))
    assert any("1 stuck actions" in said for _, said, _ in found)


def test_a_request_as_old_as_its_key_is_not_repeated(stage: Ends) -> None:
    w = stage.world
    w.sb.faults.add("answer", "DELETE", SUBSCRIPTION, status=500)
    flow.perform_due(w.app)
    with w.app.db.begin() as db:
        db.execute(update(t.ending).values(first_sent_at=db_in(-timedelta(hours=21).total_seconds())))
    work(stage)
    assert outcome(stage)[0::2] == ("stuck", "stuck")
    assert cancelled(stage) == 0


@pytest.mark.parametrize("point", ["E1", "E2", "E4"])
def test_a_payment_at_any_point_before_the_request_ends_nothing(stage: Ends, gates: Gates, point: str) -> None:
    w, sub, invoice = stage.world, stage.subs[0], stage.invoices[0]

    def pays() -> None:
        w.sb.new_card(sub.customer)
        w.client.v1.invoices.pay(invoice)
        w.sb.deliver()
        flow.handle_inbox(w.app)

    gates.once(point, pays)
    work(stage)
    w.settle()
    assert w.case(invoice).state is State.RECOVERED
    assert (cancelled(stage), w.sb.get(sub.subscription)["status"]) == (0, "active")


def test_the_kill_switch_is_seen_after_the_intent_and_what_was_begun_goes_on_when_it_is_released(
    stage: Ends, gates: Gates
) -> None:
    w = stage.world

    def turned(stopped: bool) -> None:
        with w.app.db.begin() as db:
            switch.turn(db, SELF, stopped, "ann", "a test", w.app.now())

    gates.once("E4", lambda: turned(True))
    work(stage)
    work(stage)
    assert (cancelled(stage), outcome(stage)[0]) == (0, "sending")
    turned(False)
    work(stage)
    assert (cancelled(stage), outcome(stage)[0]) == (1, "done")


def test_a_worker_that_lost_its_claim_changes_nothing_any_more(stage: Ends, gates: Gates) -> None:
    gates.once("E4", lambda: work(stage))  # another worker takes over and finishes while this one stands still
    flow.perform_due(stage.world.app)
    assert outcome(stage)[0::2] == ("done", "made")
    assert cancelled(stage) == 1


def test_everything_stripe_tells_twice_and_late_ends_once(stage: Ends) -> None:
    w = stage.world
    flow.perform_due(w.app)
    for _ in range(3):
        for record in list(w.sb.world.events.distinct())[-3:]:
            for listener in w.sb.world.events.listeners:
                listener(record)
        w.settle()
    assert cancelled(stage) == 1
    assert len(w.rows(t.ending)) == len(w.rows(t.action, kind="end")) == 1
    assert len(w.rows(t.fact, kind="EndMade")) == 1
