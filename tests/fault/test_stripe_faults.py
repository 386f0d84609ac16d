"""What Stripe and the way to it can do to one payment request, and that we never take silence for an answer."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import stripe
from sqlalchemy import update

from billing.actions import idempotency_key
from billing.case import State
from sandbox import FINE, Behaviour, debit, declines
from tests.fault import broken, invariants
from tests.fault.kills import PAY
from tests.fault.process import wait_until
from tests.fault.stage import Stage, staged
from tests.world import DAY, SELF
from worker import flow, switch
from worker import tables as t
from worker.app import wall_clock

POOR = declines("insufficient_funds")
EXECUTED, NOT_EXECUTED = 1, 0

# The trouble, and how often the bank was asked before we look again.
TROUBLE: dict[str, tuple[dict[str, Any], int]] = {
    "the answer is lost": ({"kind": "drop_after"}, EXECUTED),
    "the line is cut before": ({"kind": "drop_before"}, NOT_EXECUTED),
    "half an answer": ({"kind": "truncate"}, EXECUTED),
    "an answer that is not JSON": ({"kind": "garbage"}, EXECUTED),
    "500 after the payment": ({"kind": "answer_after", "status": 500}, EXECUTED),
    "500 before": ({"kind": "answer", "status": 500}, NOT_EXECUTED),
    "503, do not retry": ({"kind": "answer", "status": 503, "should_retry": False}, NOT_EXECUTED),
    "503, retry": ({"kind": "answer", "status": 503, "should_retry": True}, NOT_EXECUTED),
    "409 key in use": ({"kind": "answer", "status": 409, "code": "idempotency_key_in_use"}, NOT_EXECUTED),
    "429 too many": ({"kind": "answer", "status": 429, "code": "rate_limit"}, NOT_EXECUTED),
    "429 locked": ({"kind": "answer", "status": 429, "code": "lock_timeout"}, NOT_EXECUTED),
    "an answer that comes too late": ({"kind": "delay_after", "seconds": 1.0}, EXECUTED),
}
SHORT: dict[str, Any] = {"stripe_timeout_seconds": 0.4}


def look_again(stage: Stage) -> None:
    stage.end_leases()
    flow.perform_due(stage.world.app)


def asked(stage: Stage) -> int:
    """How often the bank was asked by us for the first invoice."""
    return len([m for m in stage.world.sb.bank.attempts(stage.invoices[0]) if m.key])


def a_day_later(stage: Stage) -> None:
    """Stripe has forgotten the key, and the request can no longer be on its way."""
    with stage.world.app.db.begin() as db:
        db.execute(update(t.attempt).values(first_sent_at=wall_clock() - DAY))
    stage.world.sb.keys.ttl = timedelta(0)


def attempts(stage: Stage) -> list[tuple[int, str]]:
    return [(row.n, row.state) for row in stage.world.rows(t.attempt)]


@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_request_without_a_clear_answer_is_neither_failed_nor_repeated_blindly(
    trouble: str, sqlite_url: str, tmp_path: Path
) -> None:
    fault, executed = TROUBLE[trouble]
    with staged(sqlite_url, tmp_path, **SHORT) as stage:
        stage.world.sb.faults.add(**fault, path=PAY)
        flow.perform_due(stage.world.app)
        assert (attempts(stage), asked(stage)) == ([(1, "sending")], executed)
        look_again(stage)
        assert (attempts(stage), asked(stage)) == ([(1, "succeeded")], 1)
        stage.hear_everything()
        invariants.check(stage)


def test_a_payment_slower_than_our_patience_is_waited_for_with_the_same_key(sqlite_url: str, tmp_path: Path) -> None:
    with staged(sqlite_url, tmp_path, **SHORT) as stage:
        stage.world.sb.faults.add("delay", path=PAY, seconds=1.5)
        flow.perform_due(stage.world.app)  # we hang up; Stripe goes on
        look_again(stage)  # nothing is to be seen yet, and Stripe says that the key is in use
        assert (attempts(stage), asked(stage)) == ([(1, "sending")], 0)
        wait_until(lambda: asked(stage) == 1, "Stripe executes the first request")
        look_again(stage)
        assert (attempts(stage), asked(stage)) == ([(1, "succeeded")], 1)
        stage.hear_everything()
        invariants.check(stage)


def test_a_storm_of_429_uses_up_no_attempt(sqlite_url: str, tmp_path: Path) -> None:
    with staged(sqlite_url, tmp_path) as stage:
        stage.world.sb.faults.add("answer", path=PAY, status=429, count=0)
        for _ in range(6):
            look_again(stage)
        assert attempts(stage) == [(1, "sending")]
        stage.world.sb.faults.clear()
        look_again(stage)
        assert (attempts(stage), asked(stage)) == ([(1, "succeeded")], 1)
        stage.hear_everything()
        invariants.check(stage)


def test_stripe_that_cannot_be_read_is_asked_for_no_money(sqlite_url: str, tmp_path: Path) -> None:
    with staged(sqlite_url, tmp_path) as stage:
        stage.world.sb.faults.add("answer", "GET", status=500, count=3)
        flow.perform_due(stage.world.app)
        assert (attempts(stage), asked(stage)) == ([], 0)
        assert stage.world.rows(t.action, kind="retry")[0].state == "waiting"


def test_a_decline_whose_answer_was_lost_is_replayed_and_counts_once(sqlite_url: str, tmp_path: Path) -> None:
    with staged(sqlite_url, tmp_path, behaviours=[POOR]) as stage:
        stage.world.sb.faults.add("drop_after", path=PAY)
        flow.perform_due(stage.world.app)
        look_again(stage)
        assert (attempts(stage), asked(stage)) == ([(1, "failed")], 1)
        following(stage, n=2)


def test_a_decline_found_by_reading_is_followed_as_one_that_was_answered(sqlite_url: str, tmp_path: Path) -> None:
    with staged(sqlite_url, tmp_path, behaviours=[POOR]) as stage:
        stage.world.sb.faults.add("answer_after", path=PAY, status=500)  # and the key repeats it
        flow.perform_due(stage.world.app)
        look_again(stage)
        assert (attempts(stage), asked(stage)) == ([(1, "sending")], 1)
        a_day_later(stage)
        look_again(stage)
        assert (attempts(stage), asked(stage)) == ([(1, "failed")], 1)
        following(stage, n=2)


def following(stage: Stage, n: int) -> None:
    """Attempt `n` waits, and not for today."""
    waiting = stage.world.rows(t.action, kind="retry", state="waiting")
    assert [row.detail["n"] for row in waiting] == [n]
    assert waiting[0].due_at > stage.world.app.now()
    stage.hear_everything()
    invariants.check(stage)


def test_a_request_that_stripe_never_got_is_given_up_after_a_day_by_reading_alone(
    sqlite_url: str, tmp_path: Path
) -> None:
    with staged(sqlite_url, tmp_path) as stage:
        stage.world.sb.faults.add("drop_before", path=PAY, count=0)
        flow.perform_due(stage.world.app)
        look_again(stage)
        a_day_later(stage)
        stage.end_leases()
        flow.perform_action(stage.world.app)
        assert (attempts(stage), asked(stage)) == ([(1, "failed")], 0)
        assert stage.world.rows(t.attempt)[0].answer == "not_executed"


@pytest.mark.parametrize(("bank", "end"), [(debit(5), "succeeded"), (debit(5, "insufficient_funds"), "failed")])
def test_a_debit_under_way_for_days_is_waited_for(bank: Behaviour, end: str, sqlite_url: str, tmp_path: Path) -> None:
    with staged(sqlite_url, tmp_path, behaviours=[bank]) as stage:
        flow.perform_due(stage.world.app)
        assert attempts(stage) == [(1, "processing")]
        stage.world.pass_time(3 * DAY)
        assert attempts(stage) == [(1, "processing")]
        assert stage.world.rows(t.action, kind="retry", state="waiting") == []
        assert asked(stage) == 1
        stage.world.pass_time(3 * DAY)
        assert attempts(stage)[0] == (1, end)
        assert (stage.world.case(stage.invoices[0]).state is State.RECOVERED) == (end == "succeeded")
        stage.hear_everything()
        invariants.check(stage)


def test_a_key_that_was_used_for_another_request_is_never_replaced_by_a_fresh_one(
    sqlite_url: str, tmp_path: Path
) -> None:
    with staged(sqlite_url, tmp_path, behaviours=[POOR]) as stage:
        key = idempotency_key(SELF.account, SELF.livemode, stage.invoices[0], 1)
        with pytest.raises(stripe.CardError):  # ourselves, before the database was rolled back
            stage.world.client.v1.invoices.pay(stage.invoices[0], {"off_session": False}, {"idempotency_key": key})
        stage.world.sb.issuer.set(stage.subs[0].payment_method, FINE)
        flow.perform_due(stage.world.app)
        look_again(stage)
        assert (attempts(stage), asked(stage)) == ([(1, "unknown")], 1)
        a_day_later(stage)
        look_again(stage)
        assert (attempts(stage), asked(stage)) == ([(1, "failed")], 1)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_key_that_stripe_refuses_stops_the_account(method: str, status: int, sqlite_url: str, tmp_path: Path) -> None:
    with staged(sqlite_url, tmp_path, 3) as stage:
        stage.world.sb.faults.add("answer", method, path=r"/v1/invoices.*", status=status, count=1)
        flow.perform_due(stage.world.app)
        assert stage.world.sb.bank.charged(stage.invoices[0]) == []
        with stage.world.app.db.read() as db:
            assert [scope for scope, *_ in switch.standing(db)] == [SELF.account]
        # The next one finds the switch; only a person turns it back.
        flow.perform_due(stage.world.app)
        assert not any(stage.world.sb.bank.charged(invoice) for invoice in stage.invoices)
        with stage.world.app.db.begin() as db:
            switch.turn(db, SELF, False, "ann", "the key was mended", stage.world.app.now())
        stage.shorten_waits()
        flow.perform_due(stage.world.app)
        stage.hear_everything()
        invariants.check(stage)
        assert all(stage.world.sb.bank.charged(invoice) for invoice in stage.invoices)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_invoice_that_stripe_does_not_know_is_not_asked_for_again(
    method: str, sqlite_url: str, tmp_path: Path
) -> None:
    with staged(sqlite_url, tmp_path) as stage:
        stage.world.sb.faults.add(
            "answer", method, path=r"/v1/invoices/.*", status=404, code="resource_missing", count=0
        )
        flow.perform_due(stage.world.app)
        look_again(stage)
        assert asked(stage) == 0
        assert stage.unfinished() == 0
        assert [state for _, state in attempts(stage)] in ([], ["cancelled"])


def test_a_restricted_key_that_lost_its_right_meanwhile_does_not_end_what_was_begun(
    sqlite_url: str, tmp_path: Path
) -> None:
    with staged(sqlite_url, tmp_path, **SHORT) as stage:
        stage.world.sb.faults.add("delay", path=PAY, seconds=1.5)
        flow.perform_due(stage.world.app)  # the request is with Stripe, and not executed yet
        stage.world.sb.faults.add("answer", path=PAY, status=403)
        look_again(stage)
        assert attempts(stage) == [(1, "sending")]


def test_silence_taken_for_a_decline_is_caught(sqlite_url: str, tmp_path: Path) -> None:
    lost = "the answer is lost"
    with broken.built(broken.UNHEARD_IS_DECLINED), pytest.raises(AssertionError):
        test_a_request_without_a_clear_answer_is_neither_failed_nor_repeated_blindly(lost, sqlite_url, tmp_path)
