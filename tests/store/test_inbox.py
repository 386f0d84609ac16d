"""Receive once: rows are taken in order, end with a reason, are tried again, put aside, and can be run again."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.billing.stories import DAY0, HOUR
from tests.store.conftest import SELF, Clock
from tests.store.rows import add_inbox, states
from worker import absorb, flow, inbox, store
from worker import tables as t
from worker.app import App
from worker.db import Database

SECONDS = timedelta(seconds=1)
SECOND = int(DAY0.timestamp())


def body(kind: str, id: str, thing: dict[str, Any]) -> bytes:
    envelope = {
        "id": id,
        "object": "event",
        "type": kind,
        "created": SECOND,
        "livemode": False,
        "api_version": "2026-10-28",
    }
    return json.dumps({**envelope, "data": {"object": thing}}).encode()


def failed(id: str, invoice: str = "in_1", **over: Any) -> bytes:
    money = {"amount_due": 2000, "amount_paid": 0, "amount_remaining": 2000, "currency": "usd", "attempt_count": 1}
    thing = {"id": invoice, "object": "invoice", "customer": "cus_1", "status": "open", **money, **over}
    return body("invoice.payment_failed", id, thing)


def given(app: App, *bodies: bytes) -> None:
    with app.db.begin() as db:
        for each in bodies:
            add_inbox(db, json.loads(each)["id"], each)


def found(app: App) -> dict[str, tuple[str, int, str]]:
    with app.db.read() as db:
        return {row.event_id: (row.state, row.tries, row.because or "") for row in db.execute(select(t.inbox))}


def test_waiting_events_are_taken_in_their_order_and_no_more_than_asked(db: Database) -> None:
    with db.begin() as connection:
        for number, due in enumerate((DAY0, DAY0 - HOUR, DAY0 + HOUR, DAY0)):
            add_inbox(connection, f"evt_{number}", due=due)
        assert [each.event_id for each in inbox.take(connection, DAY0, 2)] == ["evt_1", "evt_0"]
        (only,) = inbox.take(connection, DAY0, 9, only=4)
        assert only.event_id == "evt_3"
        assert inbox.take(connection, DAY0, 9, only=3) == []


def test_two_workers_take_different_events(pg_database: str) -> None:
    db = Database(pg_database)
    with db.begin() as connection:
        for number in range(4):
            add_inbox(connection, f"evt_{number}")
    with db.begin() as one, db.begin() as other:
        first = {each.event_id for each in inbox.take(one, DAY0, 2)}
        second = {each.event_id for each in inbox.take(other, DAY0, 9)}
    db.close()
    assert (first, second) == ({"evt_0", "evt_1"}, {"evt_2", "evt_3"})


def test_a_failed_payment_becomes_a_case_with_what_should_wait_for_it(app: App) -> None:
    given(app, failed("evt_1"))
    assert flow.handle_inbox(app) == 1
    assert found(app)["evt_1"][0] == "done"
    with app.db.read() as db:
        case = store.case_of(db, SELF, "in_1")
        waiting = states(db, t.action, "key")
    assert case is not None
    assert case.amount.minor == 2000
    assert set(waiting) == {"deadline:in_1", f"look:in_1:{SECOND}", "notice:in_1:payment_failed", "retry:in_1:1"}


def test_what_cannot_be_read_is_put_aside_with_a_reason_and_blocks_nobody(app: App) -> None:
    given(
        app, b'{"id": "evt_1"}', failed("evt_2", currency=None), failed("evt_3"), body("foo.bar", "evt_4", {"id": "x"})
    )
    with app.db.begin() as db:
        add_inbox(db, "evt_5", body=None)
        add_inbox(db, "evt_6", body=b"[]")
    flow.handle_inbox(app)
    ends = found(app)
    assert {id: state for id, (state, _, _) in ends.items()} == {
        "evt_1": "quarantined",
        "evt_2": "quarantined",
        "evt_3": "done",
        "evt_4": "ignored",
        "evt_5": "quarantined",
        "evt_6": "quarantined",
    }
    assert all(because for _, _, because in ends.values())


@pytest.fixture
def poisoned(app: App, monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """A handler that breaks on one event as long as the switch is on."""
    broken = {"on": True}

    def breaks(app: App, db: Any, owner: Any, events: Any) -> list[str]:
        if broken["on"] and any(event.id == "evt_bad" for event in events):
            raise ArithmeticError("of this event")
        return absorb.absorb(app, db, owner, events)

    monkeypatch.setattr(flow, "absorb", breaks)
    return broken


def test_an_event_that_breaks_the_handler_is_tried_five_times_and_put_aside(
    app: App, clock: Clock, poisoned: dict[str, bool]
) -> None:
    given(app, failed("evt_bad"), failed("evt_good", "in_2"))
    flow.handle_inbox(app)
    assert found(app)["evt_good"][0] == "done"
    assert found(app)["evt_bad"] == ("received", 1, "ArithmeticError: of this event")
    for tries, wait in ((2, 10), (3, 20), (4, 40), (5, 80)):
        clock.pass_time(wait * SECONDS - SECONDS)
        assert flow.handle_inbox(app) == 0
        clock.pass_time(SECONDS)
        flow.handle_inbox(app)
        assert found(app)["evt_bad"][1] == tries
    assert found(app)["evt_bad"][0] == "quarantined"
    clock.pass_time(HOUR)
    assert flow.handle_inbox(app) == 0
    # An engineer mends it and runs it again.
    poisoned["on"] = False
    with app.db.begin() as db:
        assert inbox.rerun(db, "evt_other", clock()) == 0
        assert inbox.rerun(db, "evt_bad", clock()) == 1
    flow.handle_inbox(app)
    assert found(app)["evt_bad"][0] == "done"


def test_everything_put_aside_can_be_run_again_at_once(db: Database) -> None:
    with db.begin() as connection:
        for number in range(3):
            add_inbox(connection, f"evt_{number}", state="quarantined", tries=5)
        add_inbox(connection, "evt_done", state="done")
        assert [row.event_id for row in inbox.listing(connection, "quarantined", 2)] == ["evt_2", "evt_1"]
        assert inbox.rerun(connection, None, DAY0) == 3
        assert inbox.counts(connection) == {"received": 3, "done": 1}
        assert len(inbox.one(connection, "evt_0")) == 1


def test_a_thin_event_waits_for_the_object_it_names(app: App, clock: Clock) -> None:
    thin = {
        "id": "evt_thin",
        "object": "v2.core.event",
        "type": "v1.invoice.payment_failed",
        "livemode": False,
        "created": "2026-03-01T12:00:00.000Z",
        "related_object": {"id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1"},
    }
    given(app, json.dumps(thin).encode())
    flow.handle_inbox(app)
    assert found(app)["evt_thin"][0] == "fetching"
    with app.db.begin() as db:
        assert list(states(db, t.action, "key")) == ["fetch:evt_thin"]
        assert store.case_of(db, SELF, "in_1") is None
        inbox.fetched(db, SELF, "evt_thin", json.dumps(json.loads(failed("x"))["data"]["object"]).encode(), clock())
    flow.handle_inbox(app)
    assert found(app)["evt_thin"][0] == "done"
    with app.db.read() as db:
        assert store.case_of(db, SELF, "in_1") is not None


def test_what_was_fetched_for_an_event_that_does_not_wait_for_it_is_dropped(db: Database) -> None:
    with db.begin() as connection:
        add_inbox(connection, "evt_1", state="done")
        inbox.fetched(connection, SELF, "evt_1", b"{}", DAY0)
        assert states(connection, t.inbox, "event_id") == {"evt_1": "done"}


def test_a_failure_is_not_counted_for_an_event_that_another_worker_finished(db: Database) -> None:
    with db.begin() as connection:
        add_inbox(connection, "evt_1")
        connection.execute(update(t.inbox).values(state="done"))
        inbox.failed(connection, 1, "late", DAY0)
        assert states(connection, t.inbox, "event_id") == {"evt_1": "done"}
