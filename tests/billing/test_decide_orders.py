"""The same events in any order, with any repetition and in the same second, end in the same case and the same plan."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import permutations
from math import factorial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from billing.actions import Kind
from billing.case import RecoveryCase, State
from billing.decide import plan
from billing.events.occurrences import Answer, Event, InvoiceSeen
from billing.events.snapshots import Decline
from billing.ledger.sources import RecoveredBy
from tests.billing.stories import (
    BUSY,
    DAY,
    DAY0,
    EXPIRED,
    FUNDS,
    HOUR,
    LOST,
    MASTERCARD,
    OURS,
    OWN,
    VISA,
    answered,
    case_after,
    charge_failed,
    deadline_passed,
    deleted,
    disputed,
    event,
    failed,
    in_one_second,
    intent_processing,
    invoice,
    live,
    looked,
    method,
    notice,
    paid,
    payment_linked,
    seen,
    step,
    subscription,
    uncollectible,
    voided,
)

NEXT: dict[str, Any] = {"next_payment_attempt": DAY0 + 9 * DAY}

# name: (the events in the order of their dates, the end)
LIVES: dict[str, tuple[list[Event], State]] = {
    "two declines, authentication, and the customer pays": (
        [
            failed(0, payment_intent="pi_1", attempt_count=1),
            charge_failed(0, FUNDS),
            failed(3, payment_intent="pi_1", attempt_count=2, **NEXT),
            failed(5, action_required=True, attempt_count=3),
            seen(5.1, attempt_count=3),
            paid(6),
        ],
        State.RECOVERED,
    ),
    "unpaid between two failures, the first of which may be told last": (
        [failed(0), subscription(3, "unpaid"), subscription(4, "unpaid"), failed(5, attempt_count=2)],
        State.LOST,
    ),
    "since basil the charges name no invoice": (
        [
            failed(0),
            charge_failed(0, FUNDS, basil=True),
            failed(3),
            charge_failed(3, LOST, basil=True, card=MASTERCARD),
            intent_processing(4),
            payment_linked(6),
        ],
        State.NEEDS_CUSTOMER,
    ),
    "given up and ended for non-payment": (
        [
            failed(0),
            failed(3),
            subscription(3, "unpaid"),
            subscription(4, "unpaid"),
            voided(5),
            deleted(7, cancel_reason="payment_failed"),
        ],
        State.LOST,
    ),
    "voided": ([failed(0), failed(2), seen(2.5, remaining=1500), voided(3)], State.FORGIVEN),
    "paid before the failure is told": ([failed(0), seen(0.01, "paid"), paid(0.01), failed(0.15)], State.RECOVERED),
    "paid late, after the window": (
        [failed(0), deadline_passed(28), seen(30, "uncollectible"), paid(40)],
        State.RECOVERED,
    ),
    "the window passed, and the first failure is told last": ([failed(0), failed(2), deadline_passed(28)], State.LOST),
    "two disputes, one is won": (
        [failed(0), charge_failed(0, BUSY), disputed(1, "ch_8"), disputed(2, "ch_9"), disputed(3, "ch_9", open=False)],
        State.HELD,
    ),
    "a dead card, a new one, and a no to that": (
        [failed(0), charge_failed(0, LOST), method(2), failed(4), charge_failed(4, BUSY, card=None)],
        State.OPEN,
    ),
    "paused and resumed": (
        [
            failed(0),
            subscription(1, pause_behavior="void"),
            subscription(2),
            charge_failed(2, FUNDS),
            subscription(3, items=()),
        ],
        State.OPEN,
    ),
    "ended through the API between two failures": (
        [failed(0), failed(3), deleted(4, asked=2, cancel_reason="cancellation_requested")],
        State.LOST,
    ),
    "cancelled by the customer before the failure": (
        [failed(0), failed(3), deleted(5, asked=-4, cancel_reason="cancellation_requested"), subscription(1)],
        State.CANCELLED,
    ),
    "partly paid, then written off": (
        [failed(0), seen(1, remaining=1500), uncollectible(3), seen(3, "uncollectible")],
        State.FORGIVEN,
    ),
    "a debit under way is read, and is paid": (
        [failed(0), answered(2, 1, Answer.PROCESSING), looked(3, processing=True), looked(4), paid(5)],
        State.RECOVERED,
    ),
    "a debit under way fails": (
        [failed(0), answered(2, 1, Answer.PROCESSING), intent_processing(2), looked(3, card=VISA), failed(6)],
        State.RECOVERING,
    ),
    "our retry, our message": (
        [
            failed(0),
            notice(1),
            answered(2, 1, Answer.DECLINED, EXPIRED),
            method(3),
            answered(3.01, 2, Answer.PAID),
            paid(3.01, caused_by="dn1_x"),
        ],
        State.RECOVERED,
    ),
}


def every_order(events: list[Event]) -> Iterator[tuple[tuple[Event, ...], RecoveryCase | None]]:
    """Every possible permutation with the case it ends in; what follows from one case and event is worked out once."""
    known: dict[tuple[RecoveryCase, Event], RecoveryCase | None] = {}

    def go(
        past: tuple[Event, ...], case: RecoveryCase | None
    ) -> Iterator[tuple[tuple[Event, ...], RecoveryCase | None]]:
        if len(past) == len(events):
            yield past, case
        for new in events:
            if new not in past and not (case is None and isinstance(new.what, OURS)):
                yield from go((*past, new), then(past, case, new))

    def then(past: tuple[Event, ...], case: RecoveryCase | None, new: Event) -> RecoveryCase | None:
        if case is None:
            return step(case, past, new, OWN)
        if (case, new) not in known:
            known[case, new] = step(case, past, new, OWN)
        return known[case, new]

    return go((), None)


@pytest.mark.parametrize("name", LIVES)
def test_every_order_of_a_life_ends_in_the_same_case_and_plan(name: str) -> None:
    events, state = LIVES[name]
    now = max(event.at for event in events) + HOUR
    wanted, actions = live(events, now=now)
    assert wanted is not None
    assert wanted.state is state
    orders = 0
    for order, case in every_order(events):
        orders += 1
        assert case == wanted, [f"{e.id}" for e in order]
    assert plan(wanted, OWN, now) == actions
    if not any(isinstance(event.what, OURS) for event in events):
        assert orders == factorial(len(events))


@pytest.mark.parametrize("name", LIVES)
def test_a_life_that_happened_in_one_second_has_one_end(name: str) -> None:
    events = in_one_second(LIVES[name][0])
    wanted = live(events)
    for order in (events[::-1], sorted(events, key=lambda e: e.id), events[1:] + events[:1], events[-1:] + events[:-1]):
        theirs_first = sorted(order, key=lambda e: isinstance(e.what, OURS))
        assert live(theirs_first) == wanted


@settings(max_examples=40)
@given(st.data())
def test_shuffles_with_repetitions_of_long_lives_have_one_end(data: st.DataObject) -> None:
    names = [name for name in LIVES if "debit" not in name and "our retry" not in name]
    first, second = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names))
    events = list({event.id: event for event in LIVES[first][0] + LIVES[second][0]}.values())
    if data.draw(st.booleans()):
        events = in_one_second(events)
    again = data.draw(st.lists(st.sampled_from(events), max_size=3))
    shuffled = data.draw(st.permutations(events + again))
    now = DAY0 + 8 * DAY
    assert live(shuffled, now=now) == live(events, now=now)


DECLINES = st.builds(
    Decline,
    code=st.sampled_from([None, "card_declined", "expired_card"]),
    decline_code=st.sampled_from([None, "lost_card", "insufficient_funds", "generic_decline", "news_to_us"]),
    network_advice_code=st.sampled_from([None, "02", "03", "25"]),
)
CARDS = st.sampled_from([None, VISA, MASTERCARD])
DAYS = st.sampled_from([0, 0.5, 1, 2, 3])
CHARGES = st.builds(
    charge_failed, DAYS, DECLINES, basil=st.booleans(), intent=st.sampled_from(["pi_1", "pi_2"]), card=CARDS
)


@settings(max_examples=40)
@given(st.lists(CHARGES, min_size=1, max_size=5).flatmap(lambda c: st.tuples(st.just(c), st.permutations(c))))
@example(
    (
        [charge_failed(0, FUNDS), charge_failed(1, LOST, card=None)],
        [charge_failed(1, LOST, card=None), charge_failed(0, FUNDS)],
    )
)
def test_the_last_no_and_the_card_it_was_about_do_not_depend_on_the_order(
    orders: tuple[list[Event], list[Event]],
) -> None:
    one, other = orders
    told = [failed(0), payment_linked(2, intent="pi_2")]
    assert live([*told, *one]) == live([*other, *told[::-1]])


def test_a_repeated_event_changes_nothing() -> None:
    for events, _ in LIVES.values():
        assert live([copy for event in events for copy in (event, event)]) == live(events)


def test_a_failure_told_hours_after_the_payment_neither_reopens_nor_sends() -> None:
    case, actions = live([failed(0), paid(1), failed(1.125)])
    assert case is not None
    assert (case.state, actions) == (State.RECOVERED, ())


def test_an_event_of_the_payment_that_comes_before_the_answer_is_still_our_retry() -> None:
    # T53: Stripe's event overtakes the answer to our own request.
    case = case_after(failed(0), paid(2, caused_by="dn1_abc"), answered(2, 1, Answer.PROCESSING))
    assert case.recovered_by is RecoveredBy.OUR_RETRY
    assert not case.in_flight


@pytest.mark.parametrize("told", list(permutations(range(3))))
@pytest.mark.parametrize("later", [None, DAY0 + 3 * DAY], ids=["given up", "again in three days"])
def test_an_attempt_that_was_planned_for_the_second_of_its_failure_is_over(
    told: tuple[int, ...], later: datetime | None
) -> None:
    # Second 0: Stripe makes the attempt that it had planned for now, and tells of the plan and the failure together
    planned = seen(0, attempt_count=0, next_payment_attempt=DAY0)
    begun = event(InvoiceSeen(invoice(attempt_count=1, next_payment_attempt=DAY0)), 0, "begun")
    declined = failed(0, attempt_count=1, next_payment_attempt=later)
    events = [planned, begun, declined]
    case, actions = live([events[n] for n in told])
    assert case is not None
    assert case.stripe_next_attempt == later
    assert (Kind.RETRY in {action.kind for action in actions}) is (later is None)


def test_an_attempt_that_is_overdue_at_stripe_still_counts_as_planned() -> None:
    case, actions = live([failed(0), seen(1, attempt_count=1, next_payment_attempt=DAY0 + DAY)])
    assert case is not None
    assert case.stripe_next_attempt == DAY0 + DAY
    assert Kind.RETRY not in {action.kind for action in actions}
