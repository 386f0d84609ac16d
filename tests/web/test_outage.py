"""The database stops, hangs, comes back, or the process is killed: what was acknowledged is there, and only that."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import server_programs, servers
from tests.web.harness import NOW, SECRET, an_app, count, event, in_process, rows, wait_until
from tests.web.process import started
from worker import intake
from worker.db import Database


@pytest.fixture
def own_postgres(server_folder: Path) -> Iterator[servers.Postgres]:
    with servers.Postgres(server_programs.find_postgres(), server_folder) as server:
        yield server


def test_a_database_that_stops_is_503_and_heals_by_itself(
    own_postgres: servers.Postgres, logged: list[dict[str, Any]]
) -> None:
    with in_process(an_app(own_postgres.url)) as client:
        assert client.post(event("evt_before")).status == 200

        own_postgres.kill()
        for n in range(3):
            began = time.monotonic()
            answer = client.post(event(f"evt_during_{n}"))
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert time.monotonic() - began < 2.0
        assert client.request("GET", "/healthz").status == 200
        assert client.request("GET", "/readyz").status == 503
        assert b"reprieve_database_up 0.0" in client.request("GET", "/metrics").body

        own_postgres.start()
        assert client.post(event("evt_after")).status == 200
        assert client.post(event("evt_during_0")).status == 200
        assert [row.event_id for row in rows(client.app.db)] == ["evt_before", "evt_after", "evt_during_0"]
        assert client.request("GET", "/readyz").status == 200
    assert [line["event"] for line in logged] == ["intake_database_away", "intake_database_back"]


def test_a_connection_that_died_in_the_night_costs_nobody_an_answer(own_postgres: servers.Postgres) -> None:
    with in_process(an_app(own_postgres.url)) as client:
        assert client.post(event("evt_evening")).status == 200
        own_postgres.kill()
        own_postgres.start()
        assert client.post(event("evt_morning")).status == 200


def test_a_database_that_hangs_is_503_within_two_seconds(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with in_process(an_app(sqlite_url)) as client:
        assert client.post(event("evt_before")).status == 200
        free = threading.Event()
        insert = intake._Sqlite.write

        def hang(self: intake._Sqlite, batch: list[intake.Received]) -> None:
            free.wait(20)
            insert(self, batch)

        monkeypatch.setattr(intake._Sqlite, "write", hang)
        assert intake.PATIENCE < 2.0
        monkeypatch.setattr(intake, "PATIENCE", 0.3)
        began = time.monotonic()
        assert client.post(event("evt_first")).status == 503
        assert client.post(event("evt_second")).status == 503
        assert time.monotonic() - began < 2.0
        free.set()
        assert client.post(event("evt_after")).status == 200
        # The second one waited behind the first; it was given up, and not kept in memory to be stored later.
        assert [row.event_id for row in rows(client.app.db)] == ["evt_before", "evt_first", "evt_after"]


def test_more_than_there_is_room_for_is_503_at_once(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "ROOM", 0)
    with in_process(an_app(sqlite_url)) as client:
        began = time.monotonic()
        answer = client.post(event())
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert time.monotonic() - began < 0.5


def test_a_row_that_cannot_be_stored_does_not_take_others_with_it(database_url: str) -> None:
    app = an_app(database_url)
    writer = intake.Writer(app.db, app.bell)

    def row(event_id: str, **bad: Any) -> intake.Received:
        good = intake.Received("acct_1", False, event_id, "invoice.paid", None, None, NOW, b"{}")
        return good._replace(**bad)

    async def together() -> list[intake.Answer]:
        stores = [writer.store(row("evt_1")), writer.store(row("evt_2", state="nonsense")), writer.store(row("evt_3"))]
        waiting = asyncio.gather(*stores)
        await asyncio.sleep(0)
        return await waiting

    writer.start()
    stored, bad, also_stored = asyncio.run(together())
    writer.stop()
    assert (stored, bad, also_stored) == (
        intake.Answer.STORED,
        intake.Answer.UNSTORABLE,
        intake.Answer.STORED,
    )
    assert [found.event_id for found in rows(app.db)] == ["evt_1", "evt_3"]
    app.db.close()


def test_every_acknowledged_event_survives_a_kill(database_url: str, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    with started(database_url, SECRET) as (url, process):
        command = [
            sys.executable,
            "-m",
            "benchmarks.webhook_load",
            "--url",
            f"{url}/webhooks/stripe",
            "--secret",
            SECRET,
        ]
        command += ["--connections", "16", "--seconds", "2", "--most", "8000", "--warm-up", "0", "--ids", str(ids)]
        load = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
        db = Database(database_url)
        with load:
            wait_until(lambda: count(db) > 100)
            process.send_signal(signal.SIGKILL)
            load.wait(20)
    acknowledged = set(ids.read_text().split())
    stored = {row.event_id for row in rows(db)}
    assert len(acknowledged) > 50
    assert acknowledged <= stored
    assert len(stored - acknowledged) <= 16  # committed, and killed before the answer: they come again
    db.close()
