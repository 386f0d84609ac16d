"""What Prometheus reads: the text parses, the gauges tell the database's truth, a broken database breaks nothing."""

from __future__ import annotations

import re
import urllib.request
from datetime import timedelta
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event as hooks
from sqlalchemy import insert

from tests import servers
from tests.web.harness import NOW, Client, an_app, event
from worker import metrics
from worker.db import Database
from worker.tables import action, attempt, inbox

OWNER = {"account": "self", "livemode": False}


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """`{(name, label value ...): value}`."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def fill(db: Database) -> None:
    hour = timedelta(hours=1)
    event_row = {**OWNER, "type": "x", "received_at": NOW, "due_at": NOW, "tries": 0, "state": "received"}
    action_row = {
        **OWNER, "detail": {}, "because": "b", "token": 0, "tries": 0, "created_at": NOW, "due_at": NOW - hour,
        "kind": "retry", "state": "waiting",
    }  # fmt: skip
    attempt_row = {
        **OWNER, "n": 1, "action_key": "k", "token": 1, "request": {}, "amount": 1, "currency": "usd",
        "first_sent_at": NOW, "at": NOW,
    }  # fmt: skip
    with db.begin() as connection:
        for changes in (
            {"event_id": "evt_1", "due_at": NOW - 2 * hour},
            {"event_id": "evt_2"},
            {"event_id": "evt_3", "state": "done"},
            {"event_id": "evt_4", "state": "quarantined"},
        ):
            connection.execute(insert(inbox).values({**event_row, **changes}))
        for changes in (
            {"key": "1", "invoice": "in_1"},
            {"key": "2", "invoice": "in_2", "state": "claimed", "lease_until": NOW - hour},
            {"key": "3", "invoice": "in_3", "kind": "notice"},
            {"key": "4", "invoice": "in_4", "due_at": NOW + hour},
            {"key": "5", "invoice": "in_5", "state": "done"},
        ):
            connection.execute(insert(action).values({**action_row, **changes}))
        for state in ("unknown", "sending", "failed"):
            row = {**attempt_row, "invoice": f"in_{state}", "idem_key": state, "state": state}
            connection.execute(insert(attempt).values(row))


def test_the_gauges_tell_what_is_in_the_database(database_url: str) -> None:
    app = an_app(database_url)
    fill(app.db)
    found = samples(metrics.render(metrics.Installation(app.db, app.now)))
    assert found["reprieve_database_up",] == 1
    assert found["reprieve_inbox_backlog",] == 2
    assert found["reprieve_inbox_oldest_seconds",] == 7_200
    assert found["reprieve_inbox_quarantined",] == 1
    assert (found["reprieve_actions_due", "retry"], found["reprieve_actions_due", "notice"]) == (2, 1)
    assert found["reprieve_lease_overdue_seconds",] > 3_600
    assert [found["reprieve_attempts_open", s] for s in ("sending", "processing", "unknown")] == [1, 0, 1]
    app.db.close()


def test_an_empty_database_has_nothing_overdue(database_url: str) -> None:
    app = an_app(database_url)
    found = samples(metrics.render(metrics.Installation(app.db, app.now)))
    assert (found["reprieve_inbox_oldest_seconds",], found["reprieve_lease_overdue_seconds",]) == (0, 0)
    app.db.close()


def test_the_database_is_asked_once_in_a_while(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = an_app(sqlite_url)
    looks: list[Any] = []
    backlog = metrics.GAUGES[0]

    def gauge(look: metrics.Look) -> Any:
        looks.append(look)
        return backlog(look)

    monkeypatch.setattr(metrics, "GAUGES", (gauge,))
    often = metrics.Installation(app.db, app.now, keep_seconds=60)
    assert metrics.render(often).count(b"# HELP reprieve_database_up") == 1
    metrics.render(often)
    assert len(looks) == 1
    app.db.close()


def test_the_web_process_shows_its_numbers(client: Client) -> None:
    client.post(event("evt_metrics"))
    answer = client.request("GET", "/metrics")
    found = samples(answer.body)
    assert answer.headers["content-type"].startswith("text/plain")
    assert found["reprieve_intake_total", "stored"] >= 1
    assert found["reprieve_intake_seconds_count",] >= 1
    assert found["reprieve_intake_batch_rows_count",] >= 1


def test_messages_are_counted_by_actor_and_outcome() -> None:
    broker = StubBroker(middleware=[metrics.Messages()])

    @dramatiq.actor(broker=broker, actor_name="counted")
    def counted(fails: bool) -> None:
        if fails:
            raise ValueError

    worker = dramatiq.Worker(broker, worker_timeout=10, worker_threads=1)
    worker.start()
    try:
        for fails in (False, False, True):
            counted.send(fails)
        broker.join("default", fail_fast=False, timeout=5_000)
        worker.join()
    finally:
        worker.stop()
        broker.close()
    found = samples(metrics.render())
    assert (
        found["reprieve_messages_total", "counted", "done"],
        found["reprieve_messages_total", "counted", "failed"],
    ) == (2, 1)
    assert found["reprieve_message_seconds_count", "counted"] == 3


def test_a_process_without_a_web_server_answers_too(sqlite_url: str) -> None:
    app, port = an_app(sqlite_url), servers.free_port()
    stop = metrics.serve_metrics(port, metrics.Installation(app.db, app.now))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert samples(answer.read())["reprieve_database_up",] == 1
    finally:
        stop()
        app.db.close()


@pytest.mark.parametrize("gauge", metrics.GAUGES)
def test_a_gauge_never_reads_a_whole_table(sqlite_url: str, gauge: Any) -> None:
    app = an_app(sqlite_url)
    asked: list[tuple[str, Any]] = []
    hooks.listen(app.db.engine, "before_cursor_execute", lambda *said: asked.append((said[2], said[3])))
    with app.db.read() as connection:
        gauge(metrics.Look(connection, NOW))
        steps = [
            row[3]
            for statement, values in asked[:]
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]
    touched = [step for step in steps if re.search(r"\b(inbox|action|attempt)\b", step)]
    assert touched
    assert [step for step in touched if "INDEX" not in step] == []
    app.db.close()
