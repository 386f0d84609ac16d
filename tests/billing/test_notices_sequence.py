"""Which message is due when, as a table of cases and as dated stories."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from billing.case import RecoveryCase, State
from billing.money import Amount
from billing.notices.due import Facts, due_notices
from billing.notices.sequence import SENTENCES, Step, plain

DAY0 = datetime(2026, 3, 3, 9, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CASE = RecoveryCase(
    account="self",
    livemode=False,
    invoice="in_1",
    customer="cus_1",
    subscription="sub_1",
    amount=Amount(4900, "usd"),
    policy="standard@1",
    failed_at=DAY0,
    last_failed_at=DAY0,
    deadline=DAY0 + 21 * DAY,
)
RECOVERED = replace(CASE, state=State.RECOVERED, paid_at=DAY0 + 2 * DAY)


def steps(case: RecoveryCase, now: datetime = DAY0) -> list[tuple[str, datetime]]:
    return [(due.step, due.at) for due in due_notices(case, plain(HOUR), Facts(), now)]


def test_every_step_has_its_sentence() -> None:
    assert set(SENTENCES) == set(Step)


@pytest.mark.parametrize("state", [State.OPEN, State.RECOVERING, State.NEEDS_CUSTOMER])
def test_a_live_case_hears_of_it_after_the_silent_time(state: State) -> None:
    assert steps(replace(CASE, state=state)) == [("payment_failed", DAY0 + HOUR)]


@pytest.mark.parametrize(
    "state", [State.HELD, State.PAUSED, State.LOST, State.CANCELLED, State.FORGIVEN, State.RECOVERED]
)
def test_nothing_is_said_while_a_case_is_held_or_after_its_end(state: State) -> None:
    assert steps(replace(CASE, state=state)) == []


@pytest.mark.parametrize("outcome", ["accepted", "rejected", "unknown", "not_sent"])
def test_a_step_that_ended_is_never_due_again(outcome: str) -> None:
    assert steps(replace(CASE, notices=(("payment_failed", outcome),))) == []


@pytest.mark.parametrize(
    ("outcome", "thanked"), [("accepted", True), ("unknown", True), ("rejected", False), ("not_sent", False)]
)
def test_only_who_may_have_heard_of_the_failure_is_thanked(outcome: str, thanked: bool) -> None:
    case = replace(RECOVERED, notices=(("payment_failed", outcome),))
    assert steps(case, DAY0 + 2 * DAY) == ([("recovered", DAY0 + 2 * DAY)] if thanked else [])


def test_thanks_come_once_and_not_long_after() -> None:
    case = replace(RECOVERED, notices=(("payment_failed", "accepted"),))
    assert steps(case, DAY0 + 5 * DAY) == [("recovered", DAY0 + 2 * DAY)]
    assert steps(case, DAY0 + 5 * DAY + HOUR) == []
    assert steps(replace(case, notices=(("payment_failed", "accepted"), ("recovered", "accepted")))) == []


def test_a_silent_recovery_stays_silent() -> None:
    assert steps(RECOVERED, DAY0 + 2 * DAY) == []


def test_the_answer_does_not_depend_on_when_it_is_asked_while_the_window_is_open() -> None:
    asked = [steps(CASE, DAY0 + hours * HOUR) for hours in range(0, 21 * 24, 7)]
    assert all(answer == asked[0] for answer in asked)
    assert steps(CASE, CASE.deadline) == []


def test_a_silent_time_longer_than_the_window_means_no_message() -> None:
    assert due_notices(CASE, plain(22 * DAY), Facts(), DAY0) == ()


def test_no_failure_is_told_while_a_payment_is_under_way() -> None:
    under_way = replace(CASE, processing_at=DAY0 + HOUR)
    assert steps(under_way) == []
    assert steps(replace(under_way, last_failed_at=DAY0 + 5 * DAY)) == [("payment_failed", DAY0 + HOUR)]


def test_the_reason_says_what_the_time_comes_from() -> None:
    [due] = due_notices(CASE, plain(HOUR), Facts(), DAY0)
    assert due.because == "first message, 1 hours after the payment failed"
