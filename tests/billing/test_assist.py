"""Which cases need a person: a table of reasons, how urgent each makes a task, and when to look again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from billing.assist import EVERYBODY, SENTENCES, URGENCY, Assist, Facts, Need, Reason, Stuck, due, needs, next_review
from billing.assist import priority as urgency
from billing.case import RecoveryCase
from billing.events.asked import Held, PaidOutside
from billing.events.occurrences import Answer, Event, Promised
from billing.money import Amount
from tests.billing.stories import (
    DAY,
    DAY0,
    FUNDS,
    HOUR,
    LOST,
    answered,
    case_after,
    deadline_passed,
    disputed,
    event,
    failed,
    method,
    paid,
)

BROKE = case_after(failed(decline=FUNDS))
AUTH = case_after(failed(action_required=True))
RICH = replace(BROKE, mrr=Amount(50_001, "usd/mo"))
ENDED = case_after(failed(decline=FUNDS), deadline_passed())


def promised(day: float, until: float) -> Event:
    return event(Promised("in_1", DAY0 + timedelta(days=until)), day)


PROMISED = case_after(failed(decline=FUNDS), promised(1, 5))
HELD = case_after(failed(decline=FUNDS), event(Held("in_1", True), 1))
UNKNOWN = case_after(failed(decline=FUNDS), answered(2, 1, Answer.UNKNOWN))
SENT = replace(UNKNOWN, attempts=(replace(UNKNOWN.attempts[0], answer=None),))
RESCUED = case_after(failed(decline=FUNDS), deadline_passed(), method(30))
at = DAY0 + DAY

# name: (case, what else is known, days after the failure, the reasons)
TABLE: dict[str, tuple[RecoveryCase, Facts, float, set[Reason]]] = {
    "an ordinary decline needs nobody": (BROKE, Facts(), 1, set()),
    "the MRR is over the limit": (RICH, Facts(), 1, {Reason.HIGH_MRR}),
    "the MRR is at the limit": (replace(RICH, mrr=Amount(50_000, "usd/mo")), Facts(), 1, set()),
    "a currency without a limit is never high": (replace(RICH, mrr=Amount(10**9, "isk/mo")), Facts(), 1, set()),
    "a rich customer who paid": (replace(case_after(failed(), paid(1)), mrr=RICH.mrr), Facts(), 2, set()),
    "a message came back": (BROKE, Facts(returned_at=at), 2, {Reason.CONTACT_LOST}),
    "a later message was taken": (BROKE, Facts(returned_at=at, reached_at=at + HOUR), 2, set()),
    "an earlier message was taken": (BROKE, Facts(returned_at=at, reached_at=at - HOUR), 2, {Reason.CONTACT_LOST}),
    "a message came back after the end": (ENDED, Facts(returned_at=at), 30, set()),
    "the promised day has not passed": (PROMISED, Facts(), 4.9, set()),
    "the promised day has passed": (PROMISED, Facts(), 5, {Reason.PROMISE_BROKEN}),
    "the promise was kept": (case_after(failed(), promised(1, 5), paid(4)), Facts(), 6, set()),
    "authentication is asked for": (AUTH, Facts(), 2.9, set()),
    "authentication is not answered": (AUTH, Facts(), 3, {Reason.AUTHENTICATION}),
    "a new card instead of authenticating": (case_after(failed(action_required=True), method(1)), Facts(), 9, set()),
    "a dead card waits for the messages": (case_after(failed(decline=LOST)), Facts(no_attempt="dead"), 9, set()),
    "an operator holds it": (HELD, Facts(), 1, {Reason.HELD}),
    "a charge is disputed": (case_after(failed(), disputed(1)), Facts(), 1, {Reason.HELD}),
    "it is being marked as paid": (case_after(failed(), event(PaidOutside("in_1", True), 1)), Facts(), 1, set()),
    "no attempt is left": (BROKE, Facts(no_attempt="the ladder is finished"), 9, {Reason.NO_ATTEMPTS}),
    "Stripe itself will try": (replace(BROKE, stripe_next_attempt=at), Facts(no_attempt="two drivers"), 1, set()),
    "an invoice that is paid by hand": (
        replace(BROKE, collection_method="send_invoice"),
        Facts(no_attempt="by hand"),
        9,
        set(),
    ),
    "an attempt was just sent": (SENT, Facts(), 2.2, set()),
    "nobody can say what came of an attempt": (SENT, Facts(), 2.25, {Reason.UNKNOWN_OUTCOME}),
    "an action is stuck": (BROKE, Facts(stuck=(Stuck("look", at, "no answer"),)), 1, {Reason.STUCK}),
    "an action is stuck after the end": (ENDED, Facts(stuck=(Stuck("talk", at, "x"),)), 30, {Reason.STUCK}),
    "an action is stuck and the money came": (
        case_after(failed(), paid(1)),
        Facts(stuck=(Stuck("look", at, "x"), Stuck("end", at, "x"))),
        2,
        set(),
    ),
    "what the policy wants at the end failed": (ENDED, Facts(stuck=(Stuck("end", at, "x"),)), 30, {Reason.END_FAILED}),
    "the customer wrote": (BROKE, Facts(wrote_at=at), 1, {Reason.CUSTOMER_WROTE}),
    "the customer wrote after the end": (ENDED, Facts(wrote_at=at), 30, {Reason.CUSTOMER_WROTE}),
    "the customer wrote about an earlier failure": (BROKE, Facts(wrote_at=DAY0 - HOUR), 1, set()),
    "a new method after the end": (RESCUED, Facts(), 31, {Reason.LATE_RESCUE}),
    "a new method, and a month has passed": (RESCUED, Facts(), 60, set()),
    "a new method before the end": (case_after(failed(), method(2), deadline_passed()), Facts(), 30, set()),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_case_needs_a_person_for_these_reasons(name: str) -> None:
    case, facts, day, reasons = TABLE[name]
    now = DAY0 + timedelta(days=day)
    found = needs(case, facts, EVERYBODY, now)
    assert {need.reason for need in found} == reasons
    assert all(need.because and need.since <= now for need in found)


def test_every_reason_has_a_sentence_an_urgency_and_a_row_in_the_table() -> None:
    assert set(SENTENCES) == set(URGENCY) == set(Reason)
    assert set().union(*(row[3] for row in TABLE.values())) == set(Reason)


def need(reason: Reason, since: datetime = DAY0) -> Need:
    return Need(reason, since, "because")


@pytest.mark.parametrize(
    ("reasons", "priority"),
    [
        ([Reason.STUCK, Reason.NO_ATTEMPTS], 1),
        ([Reason.CONTACT_LOST], 2),
        ([Reason.CONTACT_LOST, Reason.HIGH_MRR], 1),
        ([Reason.NO_ATTEMPTS, Reason.HIGH_MRR], 2),
        ([Reason.HIGH_MRR], 3),
        ([Reason.STUCK, Reason.HIGH_MRR], 1),
    ],
)
def test_much_at_risk_makes_another_reason_more_urgent(reasons: list[Reason], priority: int) -> None:
    assert urgency([need(reason) for reason in reasons]) == priority


@pytest.mark.parametrize(
    ("reasons", "opened", "days"),
    [
        ([need(Reason.NO_ATTEMPTS)], 0, 3),
        ([need(Reason.NO_ATTEMPTS), need(Reason.CUSTOMER_WROTE)], 0, 1),
        ([need(Reason.CUSTOMER_WROTE, DAY0 + 5 * DAY)], 0, 6),  # what came later counts from then
        ([need(Reason.NO_ATTEMPTS)], 10, 13),  # found late: nobody could have looked before
        ([need(Reason.NO_ATTEMPTS)], 27, 28),  # not after the window
    ],
)
def test_a_task_is_due_by_its_most_pressing_reason_and_within_the_window(
    reasons: list[Need], opened: int, days: int
) -> None:
    assert due(reasons, BROKE, EVERYBODY, DAY0 + opened * DAY) == DAY0 + days * DAY


def test_the_policy_may_say_how_soon() -> None:
    hurried = Assist(due={Reason.NO_ATTEMPTS: HOUR})
    assert due([need(Reason.NO_ATTEMPTS)], BROKE, hurried, DAY0) == DAY0 + HOUR


@pytest.mark.parametrize(
    ("case", "day", "again"),
    [
        (BROKE, 0, None),
        (PROMISED, 1, 5),
        (PROMISED, 5, None),
        (AUTH, 0, 3),
        (AUTH, 3, None),
        (SENT, 2, 2.25),
        (RESCUED, 31, 60),
        (case_after(failed(), promised(1, 5), paid(2)), 3, None),
    ],
)
def test_time_alone_gives_a_reason_at_instants_that_are_known(
    case: RecoveryCase, day: float, again: float | None
) -> None:
    """Between two reviews nothing changes; at the instant that was named something does."""
    now = DAY0 + timedelta(days=day)
    found = next_review(case, EVERYBODY, now)
    assert found == (None if again is None else DAY0 + timedelta(days=again))
    if found:
        before = needs(case, Facts(), EVERYBODY, found - timedelta(seconds=1))
        assert needs(case, Facts(), EVERYBODY, now) == before
        assert needs(case, Facts(), EVERYBODY, found) != before
