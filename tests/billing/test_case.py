"""What the evidence says the state is, and which states may follow which."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from billing.case import (
    ENDED,
    LIVE,
    SENTENCES,
    TRANSITIONS,
    Attempt,
    Dispute,
    ForbiddenTransition,
    RecoveryCase,
    State,
    move,
    settle,
    state_of,
)
from billing.declines import DeclineClass
from billing.events.occurrences import Answer, InvoicePaid
from billing.evidence import learn
from billing.ledger.sources import RecoveredBy
from tests.billing.stories import DAY, DAY0, HOUR, OWN, event, invoice, usd

CASE = RecoveryCase(
    "self", False, "in_1", "cus_1", "sub_1", usd(2000), "standard@1", DAY0, DAY0, DAY0 + 28 * DAY, because="it failed"
)
TRIED = (Attempt(1, DAY0 + 2 * DAY, Answer.DECLINED),)
DEAD = {"decline_class": DeclineClass.DEAD_CARD, "decline_at": DAY0, "decline_because": "reported lost"}
SOON, LATER, LAST = DAY0 + DAY, DAY0 + 2 * DAY, DAY0 + 3 * DAY

# Written out, not derived from the code: what may follow what.
OPEN, RECOVERING, NEEDS, HELD, PAUSED = State.OPEN, State.RECOVERING, State.NEEDS_CUSTOMER, State.HELD, State.PAUSED
RECOVERED, LOST, CANCELLED, FORGIVEN = State.RECOVERED, State.LOST, State.CANCELLED, State.FORGIVEN
ALLOWED = {
    OPEN: {OPEN, RECOVERING, NEEDS, HELD, PAUSED, RECOVERED, LOST, CANCELLED, FORGIVEN},
    RECOVERING: {OPEN, RECOVERING, NEEDS, HELD, PAUSED, RECOVERED, LOST, CANCELLED, FORGIVEN},
    NEEDS: {OPEN, RECOVERING, NEEDS, HELD, PAUSED, RECOVERED, LOST, CANCELLED, FORGIVEN},
    HELD: {OPEN, RECOVERING, NEEDS, HELD, PAUSED, RECOVERED, LOST, CANCELLED, FORGIVEN},
    PAUSED: {OPEN, RECOVERING, NEEDS, HELD, PAUSED, RECOVERED, LOST, CANCELLED, FORGIVEN},
    LOST: {LOST, RECOVERED, CANCELLED, FORGIVEN},
    CANCELLED: {CANCELLED, RECOVERED, LOST, FORGIVEN},
    FORGIVEN: {FORGIVEN, RECOVERED, LOST, CANCELLED},
    RECOVERED: {RECOVERED},
}


@pytest.mark.parametrize("new", State)
@pytest.mark.parametrize("old", State)
def test_a_case_moves_only_along_the_table(old: State, new: State) -> None:
    if new in ALLOWED[old]:
        assert move(old, new) is new
    else:
        with pytest.raises(ForbiddenTransition, match=f"{old} cannot become {new}"):
            move(old, new)


def test_every_state_is_live_or_ended_and_has_its_sentence_and_its_row() -> None:
    assert set(State) == LIVE | ENDED
    assert not LIVE & ENDED
    assert set(SENTENCES) == set(TRANSITIONS) == set(State)


def test_settling_goes_through_the_table() -> None:
    with pytest.raises(ForbiddenTransition):
        settle(replace(CASE, state=RECOVERED))


EVIDENCE: list[tuple[str, dict[str, Any], State]] = [
    ("a bare failure", {}, OPEN),
    ("an attempt was made", {"attempts": TRIED}, RECOVERING),
    ("a message was accepted", {"notices": (("payment_failed", "accepted"),)}, RECOVERING),
    ("a message was refused", {"notices": (("payment_failed", "rejected"),)}, OPEN),
    ("a dead card", DEAD, NEEDS),
    ("a dead card after an attempt", {**DEAD, "attempts": TRIED}, NEEDS),
    ("authentication is wanted", {**DEAD, "decline_class": DeclineClass.AUTHENTICATION}, NEEDS),
    ("the customer must act", {**DEAD, "decline_class": DeclineClass.NEEDS_CUSTOMER}, NEEDS),
    ("a temporary no", {**DEAD, "decline_class": DeclineClass.TEMPORARY}, OPEN),
    ("no money", {**DEAD, "decline_class": DeclineClass.INSUFFICIENT_FUNDS}, OPEN),
    ("a new card after a dead one", {**DEAD, "method_changed_at": SOON}, OPEN),
    ("a new card in the second of the no", {**DEAD, "method_changed_at": DAY0}, OPEN),
    ("a card from before the no", {**DEAD, "method_changed_at": DAY0 - HOUR}, NEEDS),
    ("a new card that failed too", {**DEAD, "method_changed_at": SOON, "last_failed_at": LATER}, NEEDS),
    ("a pause", {"paused_at": SOON}, PAUSED),
    ("a pause and a dead card", {"paused_at": SOON, **DEAD}, PAUSED),
    ("a dispute and a pause", {"paused_at": SOON, "disputes": (Dispute("ch_1", SOON, True),)}, HELD),
    ("a dispute that was won", {"disputes": (Dispute("ch_1", SOON, False),)}, OPEN),
    ("one dispute of two was won", {"disputes": (Dispute("a", SOON, False), Dispute("b", SOON, True))}, HELD),
    ("the window passed", {"expired_at": LAST}, LOST),
    ("the window passed on a dispute", {"expired_at": LAST, "disputes": (Dispute("a", SOON, True),)}, LOST),
    ("voided", {"voided_at": SOON}, FORGIVEN),
    ("written off", {"uncollectible_at": SOON}, FORGIVEN),
    ("given up after the last attempt", {"uncollectible_at": SOON, "uncollectible_lost": True}, LOST),
    ("ended for non-payment", {"ended_at": SOON}, LOST),
    ("ended by the customer", {"ended_at": SOON, "end_told_by_customer": True}, CANCELLED),
    ("an end decided before the failure", {"ended_at": SOON, "end_asked_at": DAY0 - DAY}, CANCELLED),
    ("an end decided in the second of the failure", {"ended_at": SOON, "end_asked_at": DAY0}, LOST),
    ("an end decided after it by a call", {"ended_at": SOON, "end_asked_at": SOON}, LOST),
    ("unpaid", {"unpaid_at": SOON}, LOST),
    ("unpaid a little before the failure was told", {"unpaid_at": DAY0 - HOUR}, LOST),
    ("unpaid for an older invoice", {"unpaid_at": DAY0 - 2 * DAY}, OPEN),
    ("paid", {"paid_at": SOON}, RECOVERED),
    (
        "paid after everything else",
        {"paid_at": LAST, "voided_at": SOON, "ended_at": SOON, "expired_at": LATER},
        RECOVERED,
    ),
    ("voided, then the window passed", {"voided_at": SOON, "expired_at": LATER}, FORGIVEN),
    ("the window passed, then voided", {"voided_at": LATER, "expired_at": SOON}, LOST),
    ("voided, then cancelled", {"voided_at": SOON, "ended_at": LATER, "end_told_by_customer": True}, FORGIVEN),
    ("cancelled, and voided for it", {"voided_at": SOON, "ended_at": SOON, "end_told_by_customer": True}, CANCELLED),
    ("ended for non-payment, and voided for it", {"voided_at": SOON, "ended_at": SOON}, LOST),
    ("unpaid, and written off for it", {"unpaid_at": SOON, "uncollectible_at": SOON}, LOST),
    (
        "voided and written off at once",
        {"voided_at": SOON, "uncollectible_at": SOON, "uncollectible_lost": True},
        FORGIVEN,
    ),
    ("written off and out of time at once", {"uncollectible_at": SOON, "expired_at": SOON}, FORGIVEN),
]


@pytest.mark.parametrize(("evidence", "state"), [row[1:] for row in EVIDENCE], ids=[row[0] for row in EVIDENCE])
def test_the_evidence_makes_the_state(evidence: dict[str, Any], state: State) -> None:
    case = replace(CASE, **evidence)
    found, because = state_of(case)
    assert found is state
    assert because
    settled = settle(case)
    assert settled.live == (state in LIVE)
    assert (settled.closed_at is None) == settled.live


def test_a_case_is_closed_at_the_end_that_counts() -> None:
    both = replace(CASE, voided_at=LATER, expired_at=SOON)
    assert settle(both).closed_at == SOON
    assert settle(replace(both, paid_at=LAST)).closed_at == LAST


ACCEPTED = (("payment_failed", "accepted"),)
SOURCES: list[tuple[dict[str, Any], RecoveredBy]] = [
    ({"attempts": (Attempt(1, SOON, Answer.PAID),), "paid_outside": True}, RecoveredBy.OUR_RETRY),
    ({"paid_by_key": "dn1_abc", "notices": ACCEPTED}, RecoveredBy.OUR_RETRY),
    ({"paid_outside": True, "notices": ACCEPTED}, RecoveredBy.OUTSIDE_STRIPE),
    ({"paid_outside": True, "paid_by_key": "staff_7"}, RecoveredBy.OUTSIDE_STRIPE),
    ({"paid_by_key": "staff_7", "notices": ACCEPTED}, RecoveredBy.STAFF),
    ({"attempts": TRIED, "notices": ACCEPTED}, RecoveredBy.STRIPE_RETRY),
    ({"attempts": (Attempt(1, SOON, Answer.PAID_ELSEWHERE),)}, RecoveredBy.STRIPE_RETRY),
    ({"paid_by_key": "theirs", "notices": ACCEPTED}, RecoveredBy.OUR_MESSAGE),
    ({"paid_by_key": "theirs", "notices": (("payment_failed", "unknown"),)}, RecoveredBy.CUSTOMER),
]


@pytest.mark.parametrize(("evidence", "source"), SOURCES)
def test_a_recovery_has_one_source(evidence: dict[str, Any], source: RecoveredBy) -> None:
    assert replace(CASE, paid_at=LAST, **evidence).recovered_by is source
    assert replace(CASE, **evidence).recovered_by is None


@pytest.mark.parametrize("answer", [None, *Answer])
def test_an_attempt_is_alive_until_somebody_knows(answer: Answer | None) -> None:
    alive = answer in (None, Answer.PROCESSING, Answer.UNKNOWN)
    case = replace(CASE, attempts=(Attempt(1, SOON, answer),))
    assert case.in_flight is alive
    assert bool(case.executed) is (answer is not Answer.NOT_EXECUTED)


def test_tries_are_counted_for_the_card_that_is_there_now() -> None:
    attempts = tuple(Attempt(n, DAY0 + timedelta(days=n), Answer.DECLINED) for n in (1, 2, 3))
    assert replace(CASE, attempts=attempts).tries_of_card == 3
    assert replace(CASE, attempts=attempts, method_changed_at=LATER).tries_of_card == 2


@pytest.mark.parametrize(
    ("counted", "source"),
    [
        (1, RecoveredBy.CUSTOMER),  # only the first attempt was Stripe's: somebody paid on a page that names no request
        (2, RecoveredBy.STRIPE_RETRY),
        (0, RecoveredBy.STRIPE_RETRY),  # not told
    ],
)
def test_a_payment_that_stripe_does_not_count_as_its_own_is_somebodys(counted: int, source: RecoveredBy) -> None:
    what = InvoicePaid(invoice("paid", paid_at=DAY0 + 3 * DAY, attempt_count=counted))
    case = learn(CASE, event(what, 3), OWN)
    assert case.recovered_by is source
