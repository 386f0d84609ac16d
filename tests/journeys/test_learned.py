"""Retries timed by the model, as dated stories through the real store: a plan stays, is told, and keeps its word."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from billing.case import State
from billing.ledger.sources import RecoveredBy
from config import policies
from sandbox import Chaos, declines, until
from tests.journeys.test_recovery import BROKE, attempts, renewal_fails
from tests.world import DAY, HOUR, SELF, START, World, world
from worker import absorb, explain, retries, store
from worker import tables as t

FRIDAY = until(datetime(2026, 2, 13, tzinfo=UTC))  # the renewal failed on Sunday, 1 February
STANDARD: Any = {"policy": "standard"}


def told(w: World, invoice: str) -> str:
    out = io.StringIO()
    explain.run(w.app, invoice, False, out)
    return " ".join(out.getvalue().split())


def planned(w: World, invoice: str) -> Any:
    (row,) = w.rows(t.action, invoice=invoice, kind="retry", state="waiting")
    return row


def test_a_declined_renewal_is_retried_when_money_is_likely(database_url: str, tmp_path: Path) -> None:
    with world(database_url, tmp_path, **STANDARD) as w:
        _, invoice = renewal_fails(w, FRIDAY)
        first = planned(w, invoice)
        assert first.detail["model"] == "prior-3"
        assert 0 < first.detail["told"] < 1000
        assert "(model prior-3)" in first.because
        assert len(first.because.split("; ")) == 3
        story = told(w, invoice)
        assert first.because in story
        w.pass_time(START + 60 * DAY)
        case = w.case(invoice)
        assert (case.state, case.recovered_by) == (State.RECOVERED, RecoveredBy.OUR_RETRY)
        assert attempts(w, invoice)[-1] == "succeeded"
        assert len(w.sb.bank.charged(invoice)) == 1
        # Every attempt was made when it was planned, not a sweep later and never at night.
        for row in w.rows(t.attempt, invoice=invoice):
            assert 6 <= (row.at - 6 * HOUR).hour < 22
        assert case.country == "US"
        assert next(no.code for no in case.noes if no.code) == "insufficient_funds"


def test_nothing_new_moves_nothing(database_url: str, tmp_path: Path) -> None:
    """Bells, sweeps and replanning ask again and again until the attempt is due."""
    with world(database_url, tmp_path, **STANDARD) as w:
        _, invoice = renewal_fails(w, BROKE)
        due = planned(w, invoice).due_at
        while w.sb.clock() < due - 2 * HOUR:
            w.sb.advance(min(w.sb.clock() + 5 * HOUR, due - HOUR))
            w.settle()
            with w.app.db.begin() as db:
                case = store.case_of(db, SELF, invoice)
                assert case is not None
                absorb.replan(w.app, db, SELF, case, w.app.now())
            assert planned(w, invoice).due_at == due
        w.pass_time(due + HOUR - w.sb.clock(), step=HOUR)
        (made,) = w.rows(t.attempt, invoice=invoice)
        assert abs(made.at - due) <= HOUR


def test_twice_late_and_in_any_order_ends_the_same(sqlite_url: str, tmp_path: Path) -> None:
    chaos = Chaos(duplicate=0.5, reorder=0.5, delay=0.5)
    with world(sqlite_url, tmp_path, sandbox={"chaos": chaos}, **STANDARD) as w:
        _, invoice = renewal_fails(w, FRIDAY)
        w.pass_time(START + 60 * DAY)
        assert w.case(invoice).state is State.RECOVERED
        assert len(w.sb.bank.charged(invoice)) == 1


def test_a_moment_that_was_missed_is_planned_anew_and_not_caught_up_at_night(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, **STANDARD) as w:
        _, invoice = renewal_fails(w, BROKE)
        due = planned(w, invoice).due_at
        night = due.replace(hour=8, minute=0) + 3 * DAY  # two o'clock in Chicago; nobody worked meanwhile
        w.sb.advance(night)
        w.settle()
        assert attempts(w, invoice) == []
        assert planned(w, invoice).due_at >= night + 4 * HOUR


def test_without_a_known_country_the_ladder_stands_in_and_says_so(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, **STANDARD) as w:
        sub = w.sb.subscribe(amount=2000, email="ann@example.com")
        w.sb.get(sub.payment_method)["card"]["country"] = None
        w.sb.issuer.set(sub.payment_method, BROKE)
        w.pass_time(START + 32 * DAY, step=DAY)
        invoice = str(w.sb.latest_invoice(sub.subscription)["id"])
        row = planned(w, invoice)
        assert row.due_at == w.case(invoice).failed_at + 2 * DAY
        assert "by the ladder, since the country of the card is not known" in row.because
        assert "model" not in row.detail


def test_a_dead_card_is_left_alone_and_a_new_one_tried_at_once(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, **STANDARD) as w:
        sub, invoice = renewal_fails(w, declines("lost_card"))
        assert not w.rows(t.action, invoice=invoice, kind="retry", state="waiting")
        w.sb.new_card(sub.customer)
        w.pass_time(HOUR, step=HOUR / 4)
        assert w.case(invoice).state is State.RECOVERED


def test_a_case_of_an_older_policy_keeps_its_ladder(sqlite_url: str, tmp_path: Path) -> None:
    """The upgrade as it happens: a case was opened under standard@1, then the new policy file is read."""
    old = tmp_path / "policies"
    old.mkdir()
    ladder = (Path(policies.__file__).parent / "ladder.toml").read_text(encoding="utf-8")
    (old / "standard.toml").write_text(ladder.replace('"ladder"', '"standard"'), encoding="utf-8")
    with world(sqlite_url, tmp_path, policy_dir=old, **STANDARD) as w:
        _, invoice = renewal_fails(w, BROKE)
        before = planned(w, invoice)
        assert w.case(invoice).policy == "standard@1"
        assert "rung 1 of the ladder" in before.because
        (old / "standard.toml").unlink()
        w.app.policies.load()
        assert w.app.policies.current("self", False).id == "standard@3"
        w.pass_time(START + 36 * DAY)
        assert attempts(w, invoice) == ["failed", "failed"]
        assert [row.at - w.case(invoice).failed_at for row in w.rows(t.attempt)] == [
            pytest.approx(2 * DAY, abs=6 * HOUR),
            pytest.approx(4 * DAY, abs=6 * HOUR),
        ]
        later = w.sb.subscribe(amount=2000, email="bob@example.com")
        w.sb.issuer.set(later.payment_method, BROKE)
        w.pass_time(START + 70 * DAY, step=DAY)
        assert w.case(str(w.sb.latest_invoice(later.subscription)["id"])).policy == "standard@3"


def test_what_was_told_is_held_against_what_came(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, **STANDARD) as w:
        _, invoice = renewal_fails(w, BROKE)
        w.pass_time(START + 50 * DAY)
        made = len(attempts(w, invoice))
        assert made >= 2
        with w.app.db.read() as db:
            standing = retries.status(db, SELF, "prior-3", w.app.now())
        assert (standing.found.attempts, standing.found.came) == (made, 0)
        assert 0 < standing.found.told < 1
