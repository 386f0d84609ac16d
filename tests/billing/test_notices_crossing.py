"""A message that asks for money keeps clear of an attempt that may bring it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from billing.actions import Action, Kind
from billing.events.occurrences import Answer, Promised
from billing.notices.crossing import CLEAR
from tests.billing.stories import BUSY, DAY, DAY0, HOUR, OWN, answered, charge_failed, event, failed, live, paid, seen

MINUTE = timedelta(minutes=1)
# The first message of this policy is due a day after the failure, and so is the first retry after trouble at the bank.


def due(actions: tuple[Action, ...], kind: Kind) -> list[Action]:
    return [action for action in actions if action.kind is kind]


def test_the_first_message_waits_for_the_attempt_of_the_same_minute() -> None:
    # Day 0: the bank cannot be reached
    _, actions = live([failed(0), charge_failed(0, BUSY)])
    (retry,), (message,) = due(actions, Kind.RETRY), due(actions, Kind.NOTICE)
    assert (retry.due_at, message.due_at) == (DAY0 + DAY, DAY0 + DAY + CLEAR)
    assert "behind the attempt of 12:00 UTC" in message.because
    # Day 1: the attempt is declined, so the message goes out at once
    _, actions = live([failed(0), charge_failed(0, BUSY), answered(1, 1, Answer.DECLINED, BUSY)])
    (message,) = due(actions, Kind.NOTICE)
    assert message.due_at == DAY0 + DAY
    # Or it is paid, and nobody is told of a failure that is over
    _, actions = live([failed(0), charge_failed(0, BUSY), answered(1, 1, Answer.PAID), paid(1)])
    assert due(actions, Kind.NOTICE) == []


def test_an_attempt_under_way_is_waited_for() -> None:
    _, actions = live([failed(0), answered(1, 1, Answer.UNKNOWN)])
    (message,) = due(actions, Kind.NOTICE)
    assert message.due_at == DAY0 + DAY + CLEAR


@pytest.mark.parametrize(
    ("minutes", "held"),
    [(-16, False), (-15, True), (-5, True), (0, True), (15, True), (16, False), (600, False)],
)
def test_stripes_own_attempt_is_kept_clear_of_too(minutes: int, held: bool) -> None:
    theirs = DAY0 + DAY + minutes * MINUTE
    _, actions = live([failed(0, next_payment_attempt=theirs), seen(0.01, next_payment_attempt=theirs)])
    (message,) = due(actions, Kind.NOTICE)
    assert message.due_at == (theirs + CLEAR if held else DAY0 + DAY)


def test_a_message_never_misses_the_deadline_by_it() -> None:
    last = OWN.window - 10 * MINUTE
    story = [failed(0, next_payment_attempt=DAY0 + last)]
    _, actions = live(story, policy=replace(OWN, notice_delay=last), now=DAY0 + HOUR)
    (message,) = due(actions, Kind.NOTICE)
    assert message.due_at == DAY0 + last


def test_a_message_that_waited_for_a_promised_day_keeps_clear_too() -> None:
    # The customer promised the first day; Stripe's own attempt stands five minutes behind the end of the wait
    held = DAY0 + DAY + OWN.promise_grace
    story = [failed(0, next_payment_attempt=held + 5 * MINUTE), event(Promised("in_1", DAY0 + DAY), 0.5)]
    _, actions = live(story)
    (message,) = due(actions, Kind.NOTICE)
    assert message.due_at == held + 5 * MINUTE + CLEAR
