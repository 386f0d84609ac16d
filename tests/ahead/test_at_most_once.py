"""Dying, stopping and doubling at every seam of a warning: at most one copy, one arm, and nobody forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.ahead.conftest import ALL_TOLD, Ahead, looking_ahead
from tests.fault.gates import Died, Gates
from tests.world import DAY, HOUR, SELF
from worker import flow, switch
from worker import tables as t
from worker.ahead import plan
from worker.ahead_tables import ahead_assignment
from worker.channels import Handed, Message, Outcome
from worker.columns import db_in

SHOWN = datetime(2026, 2, 22, 12, tzinfo=UTC)  # the warning is due since ten o'clock


@contextmanager
def due(database_url: str, folder: Path, ahead: str = ALL_TOLD) -> Iterator[Ahead]:
    """A warning is planned and due, and nobody has begun it."""
    with looking_ahead(database_url, folder, ahead) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com")
        w.card(sub.payment_method, 2026, 2)
        w.settle()
        w.sb.advance(SHOWN - 2 * DAY)
        w.settle()
        assert plan.run(w.app, SELF) == "1 warnings planned"
        w.sb.advance(SHOWN)
        yield w


def end_leases(w: Ahead) -> None:
    """As if the owner had been silent for longer than a lease."""
    with w.app.db.begin() as db:
        db.execute(update(t.action).where(t.action.c.lease_until.is_not(None)).values(lease_until=db_in(-1)))


# Where a worker dies: what the mailbox holds afterwards, and what the warning says of it.
POINTS = {
    "A1": (1, "accepted"),
    "A2": (1, "accepted"),
    "A3": (0, "unknown"),
    "A5": (1, "unknown"),
    "A6": (1, "accepted"),
}


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_dies_here_warns_nobody_twice(
    point: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)
    with due(database_url, tmp_path) as w:
        gates.die(point)
        with pytest.raises(Died):
            flow.perform_action(w.app)
        end_leases(w)
        w.settle()
        (warning,) = w.warnings()
        assert (len(w.mails()), warning.sent) == POINTS[point]
        assert (warning.state, warning.arm) == ("told", "told")
        assert len(w.rows(ahead_assignment)) == 1
        (notice,) = w.rows(t.notice)
        assert notice.state == warning.sent
        (action,) = w.rows(t.action, kind="ahead")
        assert action.state == "done"


def test_the_control_that_dies_after_the_draw_stays_the_control(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)
    with due(database_url, tmp_path, ALL_TOLD.replace("control = 0.0", "control = 0.9")) as w:
        gates.die("A3")
        with suppress(Died):
            flow.perform_action(w.app)
        end_leases(w)
        w.settle()
        (warning,) = w.warnings()
        assert (warning.arm, w.mails()) == ("control", [])


def test_two_workers_with_one_warning_send_one(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)

    def another_worker_takes_over() -> None:
        end_leases(w)
        w.settle()
        assert len(w.mails()) == 1

    with due(database_url, tmp_path) as w:
        gates.once("A2", another_worker_takes_over)
        flow.perform_action(w.app)
        w.settle()
        assert len(w.mails()) == 1
        assert [row.state for row in w.rows(t.notice)] == ["accepted"]


@pytest.mark.parametrize("point", ["A1", "A2"])
def test_a_stop_reaches_a_warning_that_has_begun(
    point: str, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)

    def stop() -> None:
        with w.app.db.begin() as db:
            switch.turn(db, None, True, "ann", "test", w.app.now())

    with due(sqlite_url, tmp_path) as w:
        gates.once(point, stop)
        flow.perform_action(w.app)
        w.settle()
        assert w.mails() == []
        assert w.rows(ahead_assignment) == []


def test_what_is_mended_while_the_warning_is_prepared_is_seen_by_the_reading(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(monkeypatch)
    with due(database_url, tmp_path) as w:
        (planned,) = w.warnings()
        gates.once("A1", lambda: w.sb.update_card(planned.method))
        flow.perform_action(w.app)
        (warning,) = w.warnings()
        assert (warning.state, w.mails()) == ("withdrawn", [])


def test_planning_again_adds_nothing_and_a_withdrawn_warning_may_come_back(sqlite_url: str, tmp_path: Path) -> None:
    with due(sqlite_url, tmp_path) as w:
        assert plan.run(w.app, SELF) == "0 warnings planned"
        (planned,) = w.warnings()
        w.card(planned.method, 2029, 2)
        w.settle()
        assert [row.state for row in w.warnings()] == ["withdrawn"]
        w.card(planned.method, 2026, 2)  # it was a mistake
        w.settle()
        assert plan.run(w.app, SELF) == "1 warnings planned"
        w.sb.advance(SHOWN + DAY)
        w.settle()
        assert len(w.mails()) == 1
        assert plan.run(w.app, SELF) == "0 warnings planned"


@dataclass
class Moody:
    """A mail server that takes nothing for a while; remembers every message it was shown."""

    answers: list[Outcome]
    shown: list[Message] = field(default_factory=list)

    def send(self, message: Message) -> Handed:
        self.shown.append(message)
        return Handed(self.answers.pop(0) if self.answers else Outcome.ACCEPTED, "says the server")


def test_a_server_that_takes_nothing_yet_gets_the_same_message_later(sqlite_url: str, tmp_path: Path) -> None:
    with due(sqlite_url, tmp_path) as w:
        server = Moody([Outcome.LATER, Outcome.LATER])
        w.app = replace(w.app, channels={"email": server})
        for _ in range(3):
            w.settle()
            w.sb.advance(HOUR / 4)
        w.settle()
        assert len({message.id for message in server.shown}) == 1
        assert len(server.shown) == 3
        (warning,) = w.warnings()
        assert warning.sent == "accepted"


def test_a_refused_message_counts_as_told_because_the_draw_came_first(sqlite_url: str, tmp_path: Path) -> None:
    with due(sqlite_url, tmp_path) as w:
        w.app = replace(w.app, channels={"email": Moody([Outcome.REJECTED])})
        w.settle()
        (warning,) = w.warnings()
        assert (warning.arm, warning.sent) == ("told", "rejected")
