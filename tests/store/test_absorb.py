"""What follows from events in rows: cases, the actions that wait, and the difference when the plan changes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from billing.actions import Kind
from billing.case import State
from billing.events.occurrences import Answer, Event
from billing.ledger.sources import RecoveredBy
from tests.billing.stories import (
    DAY,
    DAY0,
    FUNDS,
    HOUR,
    OWN,
    answered,
    charge_failed,
    failed,
    live,
    method,
    paid,
    payment_linked,
    seen,
)
from tests.store.conftest import SELF, Clock, app_on
from tests.store.rows import CASE, add_action, add_attempt, an_action, states
from worker import store
from worker import tables as t
from worker.absorb import absorb, absorb_one, replan
from worker.app import App
from worker.db import Database

RETRY = "retry:in_1:1"


def told(app: App, *events: Event) -> list[str]:
    with app.db.begin() as db:
        return absorb(app, db, SELF, events)


def actions(app: App) -> dict[str, str]:
    with app.db.read() as db:
        return states(db, t.action, "key")


def case(app: App) -> Any:
    with app.db.read() as db:
        found = store.case_of(db, SELF, "in_1")
    assert found is not None
    return found


def due(app: App, key: str) -> Any:
    with app.db.read() as db:
        return db.scalar(select(t.action.c.due_at).where(t.action.c.key == key))


def test_the_rows_are_what_was_decided(app: App) -> None:
    events = [failed(0, attempt_count=1), charge_failed(0, FUNDS)]
    told(app, *events)
    wanted, planned = live(events, OWN, DAY0)
    assert case(app) == wanted
    assert actions(app) == {action.key: "waiting" for action in planned}
    assert due(app, RETRY) == DAY0 + 2 * DAY


def test_an_event_told_again_changes_nothing(app: App) -> None:
    told(app, failed(0), charge_failed(0, FUNDS))
    with app.db.read() as db:
        before = db.execute(select(t.recovery_case)).all(), db.execute(select(t.action)).all()
    told(app, charge_failed(0, FUNDS), failed(0))
    with app.db.read() as db:
        assert (db.execute(select(t.recovery_case)).all(), db.execute(select(t.action)).all()) == before
        assert db.scalar(select(func.count()).select_from(t.fact)) == 2


def test_a_payment_takes_back_everything_that_waits_and_says_why(app: App) -> None:
    told(app, failed(0, decline=FUNDS))
    assert "waiting" in actions(app).values()
    told(app, paid(1))
    assert set(actions(app).values()) == {"cancelled"}
    with app.db.read() as db:
        (why,) = set(db.scalars(select(t.action.c.outcome)))
    assert why.startswith("no longer wanted: the invoice was paid at 2026-03-02 12:00 UTC")


def test_a_changed_plan_moves_what_waits_and_leaves_what_was_begun(app: App) -> None:
    told(app, failed(0, decline=FUNDS))
    with app.db.begin() as db:
        db.execute(update(t.action).where(t.action.c.kind == "notice").values(state="claimed"))
    told(app, method(0.5))
    assert due(app, RETRY) == DAY0 + DAY / 2 + timedelta(minutes=5)
    told(app, paid(1))
    assert actions(app)["notice:in_1:payment_failed"] == "claimed"
    assert actions(app)[RETRY] == "cancelled"


def test_a_reason_that_changed_while_its_time_did_not_is_the_one_that_is_shown(app: App) -> None:
    told(app, failed(0, decline=FUNDS))
    plan = live([failed(0, decline=FUNDS)], OWN, DAY0)[1]
    with app.db.begin() as db:
        store.plan_actions(
            db,
            SELF,
            {"in_1": (case(app), tuple(replace(each, because="by now another reason") for each in plan))},
            DAY0,
        )
        found = db.scalars(select(t.action.c.because).where(t.action.c.state == "waiting")).all()
    assert set(found) == {"by now another reason"}


def test_what_was_cancelled_can_wait_again_and_what_was_done_cannot(app: App) -> None:
    told(app, failed(0, decline=FUNDS))
    plan = live([failed(0, decline=FUNDS)], OWN, DAY0)[1]
    with app.db.begin() as db:
        store.plan_actions(db, SELF, {"in_1": (case(app), ())}, DAY0)
    assert set(actions(app).values()) == {"cancelled"}
    with app.db.begin() as db:
        db.execute(update(t.action).where(t.action.c.kind == "notice").values(state="done"))
        store.plan_actions(db, SELF, {"in_1": (case(app), plan)}, DAY0)
    assert actions(app) == {**{action.key: "waiting" for action in plan}, "notice:in_1:payment_failed": "done"}


def test_an_attempt_in_flight_leaves_no_room_for_another(app: App) -> None:
    told(app, failed(0, decline=FUNDS))
    with app.db.begin() as db:
        add_attempt(db, 1, "sending")
        db.execute(update(t.action).where(t.action.c.key == RETRY).values(state="sending"))
    told(app, failed(0.1))
    assert [key for key in actions(app) if key.startswith("retry")] == [RETRY]


def test_the_event_of_the_payment_ends_a_debit_that_was_under_way(app: App) -> None:
    told(app, failed(0))
    with app.db.begin() as db:
        add_attempt(db, 1, "processing", answer="processing", at=DAY0 + DAY)
    told(app, paid(4))
    with app.db.read() as db:
        assert states(db, t.attempt, "action_key") == {RETRY: "succeeded"}
    assert case(app).recovered_by is RecoveredBy.OUR_RETRY


def test_the_event_of_the_payment_may_come_before_the_answer_of_the_debit(app: App) -> None:
    told(app, failed(0))
    with app.db.begin() as db:
        add_attempt(db, 1, "sending", at=DAY0 + DAY)
    told(app, paid(1))
    with app.db.begin() as db:
        db.execute(update(t.attempt).values(state="processing", answer="processing"))
        absorb_one(app, db, SELF, answered(1, 1, Answer.PROCESSING))
        assert states(db, t.attempt, "action_key") == {RETRY: "succeeded"}


def test_what_came_before_the_failure_is_remembered_when_the_case_opens(app: App) -> None:
    told(app, payment_linked(0))
    told(app, charge_failed(0, FUNDS, basil=True), method(2))
    told(app, failed(3))
    told(app, failed(0))
    found = case(app)
    assert (found.failed_at, found.decline, found.method_changed_at) == (DAY0, FUNDS, DAY0 + 2 * DAY)


def test_the_first_failure_of_a_batch_says_how_far_back_is_looked(app: App) -> None:
    told(app, method(-20), failed(0), failed(15))
    assert case(app).method_changed_at == DAY0 - 20 * DAY


def test_an_event_that_concerns_nothing_leaves_a_reason_and_no_case(app: App) -> None:
    assert told(app, seen(0), paid(1)) == [
        f"test.{kind}: no failed payment is known here" for kind in ("InvoiceSeen", "InvoicePaid")
    ]
    assert actions(app) == {}


def test_what_was_just_refused_does_not_come_back_before_its_time(app: App, clock: Clock) -> None:
    told(app, failed(0, decline=FUNDS))
    clock.pass_time(2 * DAY)
    with app.db.begin() as db:
        replan(app, db, SELF, case(app), clock() + HOUR)
    assert due(app, RETRY) == DAY0 + 2 * DAY + HOUR


def test_an_event_without_a_customer_finds_the_customer_of_its_invoice(app: App) -> None:
    told(app, failed(0))
    told(app, payment_linked(1).belonging_to(None))
    with app.db.read() as db:
        assert set(db.scalars(select(t.fact.c.customer))) == {"cus_1"}


def test_the_same_invoice_in_two_modes_is_two_cases(app: App) -> None:
    with app.db.begin() as db:
        absorb(app, db, SELF, [failed(0)])
        absorb(app, db, store.Owner("self", True), [replace(failed(0), livemode=True)])
        assert db.scalar(select(func.count()).select_from(t.recovery_case)) == 2
        absorb(app, db, SELF, [paid(1)])
        assert {bool(r.livemode): r.state for r in db.execute(select(t.recovery_case))} == {
            False: "recovered",
            True: "open",
        }


def test_two_workers_with_events_of_one_invoice_do_not_lose_either(pg_database: str, clock: Clock) -> None:
    # One event does not name its customer: it must still wait for the one that opens the case.
    app = app_on(pg_database, clock)
    opened, done = threading.Event(), threading.Event()

    def link() -> None:
        opened.wait(10)
        told(app, payment_linked(1, outside=True).belonging_to(None))
        done.set()

    other = threading.Thread(target=link)
    other.start()
    with app.db.begin() as db:
        absorb(app, db, SELF, [failed(0)])
        opened.set()
        assert not done.wait(0.3), "it did not wait for the transaction that opens the case"
    other.join(10)
    found = case(app)
    app.close()
    assert found.paid_outside


@pytest.mark.parametrize("names", [["a"], ["b", "a"], []])
def test_locks_can_be_taken_again_by_the_same_transaction(db: Database, names: Sequence[str]) -> None:
    with db.begin() as connection:
        store.lock(connection, SELF, names)
        store.lock(connection, SELF, names)


def test_a_case_comes_back_as_it_was_saved(db: Database) -> None:
    rich, _ = live([failed(0), charge_failed(0, FUNDS, basil=True), method(1)], OWN)
    assert rich is not None
    with db.begin() as connection:
        store.save_cases(connection, [rich, CASE], DAY0)
        store.save_cases(connection, [rich], DAY0)
        assert store.case_of(connection, SELF, "in_1") == rich
        assert rich.state is State.OPEN


def test_an_action_comes_with_its_words(db: Database) -> None:
    with db.begin() as connection:
        add_action(connection, "notice:in_1:x", Kind.NOTICE, detail={"step": "x"})
        row = connection.execute(select(t.action)).one()
        assert (row.detail, row.because, row.state) == ({"step": "x"}, an_action().because, "waiting")
