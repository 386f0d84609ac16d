"""Network rules in the plan of a case: what a rule or a refusal does to the next attempt."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from billing.case import RecoveryCase
from billing.declines import DeclineClass
from billing.events.occurrences import Answer, Event, RetryRefused
from billing.events.snapshots import Decline
from billing.retry.limits import case_ruling, declines_of
from billing.retry.rules import Allowed, Never, NotBefore
from billing.retry.schedule import NO_BACKUP, next_attempt
from tests.billing.stories import (
    BUSY,
    DAY,
    DAY0,
    EXPIRED,
    FUNDS,
    HOUR,
    LOST,
    OWN,
    answered,
    case_after,
    charge_failed,
    event,
    failed,
    method,
)

BACKUPS = replace(OWN, backup_methods=True)


def told(decline: Decline, *more: Event) -> RecoveryCase:
    return case_after(failed(0), charge_failed(0, decline), *more)


def refused(day: float, until: float | None, rule: str = "visa-15-in-30-days") -> Event:
    at = DAY0 + until * DAY if until is not None else None
    return event(RetryRefused("in_1", rule, at, f"{rule}: used up"), day)


def test_a_case_knows_its_own_declines_one_by_one() -> None:
    tried = [answered(day, n, Answer.DECLINED, FUNDS) for n, day in enumerate((2, 4), start=1)]
    known = declines_of(told(FUNDS, *tried))
    assert [(each.at - DAY0) / DAY for each in known] == [0, 2, 4]
    assert known[-1].decline == FUNDS


def test_without_a_brand_no_networks_rule_is_known_to_hold() -> None:
    assert isinstance(case_ruling(case_after(failed(0, decline=LOST)), OWN, DAY0), Allowed)


@pytest.mark.parametrize(("decline", "expected"), [(FUNDS, Allowed), (LOST, Never)])
def test_the_newest_answer_is_ruled_on(decline: Decline, expected: type) -> None:
    assert isinstance(case_ruling(told(decline), OWN, DAY0 + HOUR), expected)


def test_an_attempt_waits_for_what_a_refusal_said() -> None:
    wait = next_attempt(told(FUNDS, refused(2, until=9)), OWN, DAY0 + 2 * DAY)
    assert wait.until == DAY0 + 9 * DAY
    assert "visa-15-in-30-days" in wait.because


def test_a_refusal_for_good_is_the_reason_for_no_attempt_until_the_card_changes() -> None:
    case = told(FUNDS, refused(2, until=None))
    assert next_attempt(case, OWN, DAY0 + 2 * DAY).because == "visa-15-in-30-days: used up"
    changed = told(FUNDS, refused(2, until=None), method(3))
    assert next_attempt(changed, OWN, DAY0 + 3 * DAY).until == DAY0 + 3 * DAY + OWN.after_card_change


def test_of_two_refusals_the_newer_one_stands_in_any_order() -> None:
    older, newer = refused(2, until=20), refused(3, until=5)
    for order in ((older, newer), (newer, older)):
        assert next_attempt(told(FUNDS, *order), OWN, DAY0 + 3 * DAY).until == DAY0 + 5 * DAY


@pytest.mark.parametrize("decline", [LOST, EXPIRED])
def test_another_saved_method_is_planned_when_this_one_is_done_for(decline: Decline) -> None:
    wait = next_attempt(told(decline), BACKUPS, DAY0)
    assert (wait.until, wait.backup) == (DAY0 + BACKUPS.after_card_change, True)
    assert next_attempt(told(decline), OWN, DAY0).until is None


@pytest.mark.parametrize(
    "case",
    [
        told(FUNDS),
        told(BUSY),
        told(Decline(code="authentication_required", decline_code="authentication_required")),
        told(LOST, method(1)),
    ],
    ids=["money", "busy", "authentication", "a new card"],
)
def test_nothing_else_is_a_reason_for_another_method(case: RecoveryCase) -> None:
    assert not next_attempt(case, BACKUPS, DAY0 + DAY).backup


def test_after_a_backup_the_usual_method_is_left_alone() -> None:
    """The backup had no money; the ladder for missing money would charge the dead card again."""
    case = told(LOST, answered(1, 1, Answer.DECLINED, FUNDS))
    case = replace(case, attempts=tuple(replace(attempt, backup=True) for attempt in case.attempts))
    assert case.decline_class is DeclineClass.INSUFFICIENT_FUNDS
    wait = next_attempt(case, BACKUPS, DAY0 + 2 * DAY)
    assert wait.backup
    ended = replace(case, refusal=told(LOST, refused(2, None, NO_BACKUP)).refusal)
    assert next_attempt(ended, BACKUPS, DAY0 + 2 * DAY).until is None


def test_delays_of_a_network_hold_to_the_minute() -> None:
    said = Decline("card_declined", "insufficient_funds", None, None, "26")
    card: Any = replace(told(said), brand="mastercard")
    ruling = case_ruling(card, OWN, DAY0 + HOUR)
    assert isinstance(ruling, NotBefore)
    assert ruling.at == DAY0 + 2 * DAY + timedelta(minutes=1)
