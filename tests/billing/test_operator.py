"""What people decide is evidence: the same in any order, and within every rule."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.actions import KEY_PREFIX, Kind, idempotency_key, settle_idempotency_key
from billing.case import State
from billing.decide import plan
from billing.events.asked import Asked, Extended, Held, NoticeAsked, PaidOutside, RetryAsked
from billing.events.occurrences import Answer, Event
from billing.ledger.sources import STAFF_PREFIX, RecoveredBy
from billing.policy import Mode
from billing.retry.schedule import next_attempt
from tests.billing.stories import (
    DAY,
    DAY0,
    FUNDS,
    HOUR,
    LOST,
    OWN,
    answered,
    case_after,
    disputed,
    event,
    failed,
    live,
    method,
    notice,
    paid,
    payment_linked,
    seen,
)

BROKE = failed(decline=FUNDS, attempt_count=1)


def asked(what: Asked, day: float) -> Event:
    return event(what, day, repr(what))


def held(day: float, held: bool = True) -> Event:
    return asked(Held("in_1", held), day)


def extended(day: float, until: float) -> Event:
    return asked(Extended("in_1", DAY0 + timedelta(days=until)), day)


RETRY, OUTSIDE, NOT_OUTSIDE = RetryAsked("in_1"), PaidOutside("in_1", True), PaidOutside("in_1", False)
EVENTS = [
    BROKE,
    failed(-1, decline=FUNDS, attempt_count=1),
    held(1),
    held(2, False),
    held(3),
    extended(1, 30),
    extended(2, 35),
    asked(RETRY, 2),
    asked(RETRY, 4),
    asked(OUTSIDE, 5),
    asked(NOT_OUTSIDE, 6),
    asked(NoticeAsked("in_1", "payment_failed"), 0.5),
    answered(3, 1, Answer.DECLINED, FUNDS),
]


@given(st.permutations(EVENTS), st.lists(st.sampled_from(EVENTS), max_size=3))
def test_what_people_decide_does_not_depend_on_order_or_repetition(order: list[Event], again: list[Event]) -> None:
    now = DAY0 + 7 * DAY
    # What a person asks for needs a case: the failures are told first, in whichever order.
    failures = [one for one in order if one in EVENTS[:2]]
    others = [one for one in order if one not in failures]
    assert live([*failures, *others, *again], now=now) == live(EVENTS, now=now)


def test_of_two_words_in_one_second_the_careful_one_holds() -> None:
    for order in permutations([held(1), held(1, False)]):
        assert case_after(BROKE, *order).state is State.HELD


def test_a_held_case_sends_nothing_and_tries_nothing_until_it_is_released() -> None:
    kinds = {action.kind for action in live([BROKE, held(0.1)], now=DAY0 + HOUR)[1]}
    assert not kinds & {Kind.RETRY, Kind.NOTICE}
    assert case_after(BROKE, held(1)).state is State.HELD
    released = live([BROKE, held(0.1), held(0.2, False)], now=DAY0 + 8 * HOUR)
    assert released[1] == live([BROKE], now=DAY0 + 8 * HOUR)[1]


def test_the_end_of_a_dispute_does_not_release_what_an_operator_holds() -> None:
    assert case_after(BROKE, disputed(1), held(2), disputed(3, open=False)).state is State.HELD
    assert case_after(BROKE, disputed(1), held(2), held(3, False)).state is State.HELD
    assert case_after(BROKE, disputed(1), held(2), held(3, False), disputed(4, open=False)).state is State.OPEN


def test_money_ends_a_hold() -> None:
    assert case_after(BROKE, held(1), paid(2)).state is State.RECOVERED


def test_an_extension_lets_the_window_end_later_and_an_earlier_failure_does_not_shorten_it() -> None:
    case = case_after(BROKE, extended(1, 35))
    assert (case.deadline, case.window_ends) == (DAY0 + 35 * DAY, DAY0 + 28 * DAY)
    earlier = case_after(BROKE, extended(1, 35), failed(-2, decline=FUNDS))
    assert (earlier.deadline, earlier.window_ends) == (DAY0 + 35 * DAY, DAY0 + 26 * DAY)
    (end,) = [action for action in plan(earlier, OWN, DAY0 + 2 * DAY) if action.kind is Kind.DEADLINE]
    assert end.due_at == DAY0 + 35 * DAY


# name: (what happened, days after the failure, when an attempt is made, or None)
ASKED_FOR = {
    "sooner than the ladder": ([BROKE, asked(RETRY, 1)], 1, 1),
    "not before a new card is due": ([BROKE, method(1), asked(RETRY, 1)], 1, 1 + 5 / 1440),
    "not a dead card": ([failed(decline=LOST), asked(RETRY, 1)], 1, None),
    "not a disputed one": ([BROKE, disputed(1), asked(RETRY, 1)], 1, None),
    "not beyond the cap": ([failed(decline=FUNDS, attempt_count=8), asked(RETRY, 1)], 1, None),
    "not beside Stripe": ([BROKE, seen(1, next_payment_attempt=DAY0 + 2 * DAY), asked(RETRY, 1)], 1, None),
    "not twice": ([BROKE, asked(RETRY, 1), answered(1.01, 1, Answer.DECLINED, FUNDS)], 1.1, 2.01),
    "not a day later": ([BROKE, asked(RETRY, 0)], 1, 2),
    "not while one is under way": ([BROKE, answered(0.9, 1, Answer.PROCESSING), asked(RETRY, 1)], 1, None),
}


@pytest.mark.parametrize("name", ASKED_FOR)
def test_an_attempt_that_is_asked_for_is_made_at_once_within_every_rule(name: str) -> None:
    events, day, until = ASKED_FOR[name]
    wait = next_attempt(case_after(*events), OWN, DAY0 + timedelta(days=day))
    assert wait.until == (None if until is None else DAY0 + timedelta(days=until)), wait.because


def test_nothing_is_tried_on_request_in_a_mode_that_only_observes() -> None:
    observing = replace(OWN, mode=Mode.OBSERVE)
    assert next_attempt(case_after(BROKE, asked(RETRY, 1)), observing, DAY0 + DAY).until is None


def test_a_message_that_is_asked_for_is_sent_at_once_and_only_once() -> None:
    wished = asked(NoticeAsked("in_1", "payment_failed"), 0.1)

    def due(*events: Event) -> list[object]:
        return [action.due_at for action in live(list(events), now=DAY0 + 3 * HOUR)[1] if action.kind is Kind.NOTICE]

    assert due(BROKE) == [DAY0 + DAY]
    assert due(BROKE, wished) == [DAY0 + timedelta(days=0.1)]
    assert due(BROKE, wished, notice(0.2)) == []


def test_a_case_that_is_being_marked_as_paid_asks_nobody_for_money() -> None:
    case, actions = live([BROKE, asked(OUTSIDE, 1)], now=DAY0 + DAY)
    assert case is not None
    assert case.state is State.HELD
    assert {action.kind for action in actions} & {Kind.SETTLE, Kind.RETRY, Kind.NOTICE} == {Kind.SETTLE}
    # Stripe could not be told: it goes on as before.
    assert (
        live([BROKE, asked(OUTSIDE, 1), asked(NOT_OUTSIDE, 2)], now=DAY0 + 3 * DAY)[1]
        == live([BROKE], now=DAY0 + 3 * DAY)[1]
    )


def test_what_was_marked_as_paid_outside_is_credited_to_nobody_else() -> None:
    key = settle_idempotency_key("self", False, "in_1")
    for order in permutations([asked(OUTSIDE, 1), payment_linked(1.1, outside=True), paid(1.1, caused_by=key)]):
        case = case_after(BROKE, *order)
        assert (case.state, case.recovered_by) == (State.RECOVERED, RecoveredBy.OUTSIDE_STRIPE)
        assert plan(case, OWN, DAY0 + 2 * DAY) == ()


def test_the_key_of_marking_is_no_key_of_an_attempt_and_differs_by_account_and_mode() -> None:
    keys = {settle_idempotency_key(*of) for of in (("a", True, "in_1"), ("a", False, "in_1"), ("b", True, "in_1"))}
    assert len(keys) == 3
    assert all(key.startswith(STAFF_PREFIX) and not key.startswith(KEY_PREFIX) for key in keys)
    assert idempotency_key("a", True, "in_1", 0) not in keys
