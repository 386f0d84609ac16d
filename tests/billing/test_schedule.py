"""When the bank is asked again: the ladder, its caps, and every refusal by its name."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.case import Attempt, Dispute, RecoveryCase, State
from billing.declines import RETRYABLE, DeclineClass
from billing.events.occurrences import Answer
from billing.policy import Mode
from billing.retry.schedule import next_attempt
from tests.billing.stories import DAY, DAY0, OWN, STANDARD, usd

FUNDS, BUSY, UNKNOWN = DeclineClass.INSUFFICIENT_FUNDS, DeclineClass.TEMPORARY, DeclineClass.UNKNOWN
WEAVE = replace(STANDARD, mode=Mode.WEAVE)
CASE = RecoveryCase(
    "self", False, "in_1", "cus_1", "sub_1", usd(2000), "standard@1", DAY0, DAY0, DAY0 + 28 * DAY, decline_class=FUNDS
)
MINUTE = timedelta(minutes=1)


def tried(*days: float, answer: Answer | None = Answer.DECLINED) -> dict[str, Any]:
    """Attempts of ours on these days, each with its no."""
    last = {"last_failed_at": DAY0 + days[-1] * DAY} if answer is Answer.DECLINED else {}
    return {"attempts": tuple(Attempt(n, DAY0 + day * DAY, answer) for n, day in enumerate(days, 1)), **last}


def day_of(case: RecoveryCase, now: float, policy: Any = OWN) -> float | None:
    """On which day after the failure the next attempt is planned, None if never."""
    wait = next_attempt(case, policy, DAY0 + now * DAY)
    return (wait.until - DAY0) / DAY if wait.until else None


# (what is known, day it is now, day of the next attempt); the ladder of missing funds is 2 4 7 10 14 18 22 26
LADDER: list[tuple[str, dict[str, Any], float, float | None]] = [
    ("the first rung", {}, 0, 2),
    ("the first rung is due", {}, 2, 2),
    ("a rung missed by less than a day is caught up", {}, 2.9, 2),
    ("a rung missed by a day is left out", {}, 3, 4),
    ("a long absence is not made good in a burst", {}, 15, 18),
    ("each class has its own ladder", {"decline_class": BUSY}, 0, 1),
    ("an unknown code has two rungs", {"decline_class": UNKNOWN}, 3, 7),
    ("the ladder of an unknown code ends", {"decline_class": UNKNOWN}, 8, None),
    ("the second rung follows the first", tried(2), 2, 4),
    ("an early extra attempt uses no rung", tried(1), 1, 2),
    ("a late attempt uses the rungs before it", tried(6.5), 6.5, 7.5),
    ("two attempts are a day apart", tried(3.5), 3.5, 4.5),
    ("a day after an attempt of Stripe too", {"last_failed_at": DAY0 + 1.5 * DAY}, 1.5, 2.5),
    ("what never reached the bank uses no rung", tried(2, answer=Answer.NOT_EXECUTED), 2, 2),
    ("the bank's own waiting time is kept", {"retry_not_before": DAY0 + 6 * DAY}, 0, 6),
    ("the end of the ladder", tried(2, 4, 7, 10, 14, 18, 22), 22, 26),
    ("nothing after the end of the ladder", tried(26), 26, None),
    ("nothing after the deadline", {"retry_not_before": DAY0 + 28 * DAY}, 20, None),
    ("a late rung is not made after the deadline", {"deadline": DAY0 + 26.5 * DAY}, 26.6, None),
    ("a new card is tried in minutes", {"method_changed_at": DAY0 + 3 * DAY}, 3, 3 + 5 / 1440),
    ("a new card is tried at once when minutes have passed", {"method_changed_at": DAY0 + 3 * DAY}, 3.5, 3.5),
    ("a new card for a dead one", {"method_changed_at": DAY0 + DAY, "decline_class": DeclineClass.DEAD_CARD}, 1.5, 1.5),
    (
        "a new card that was tried goes on by the ladder",
        {**tried(3.01), "method_changed_at": DAY0 + 3 * DAY},
        3.01,
        4.01,
    ),
    (
        "a new card lifts the limit of tries",
        {**tried(2, 7), "max_tries": 2, "method_changed_at": DAY0 + 8 * DAY},
        8.5,
        8.5,
    ),
]


@pytest.mark.parametrize(("known", "now", "day"), [row[1:] for row in LADDER], ids=[row[0] for row in LADDER])
def test_the_next_attempt_is_the_next_rung(known: dict[str, Any], now: float, day: float | None) -> None:
    found = day_of(replace(CASE, **known), now)
    assert found == (None if day is None else pytest.approx(day))


# (Stripe's own next attempt, day it is now, day of ours)
DISTANCE: list[tuple[str, float, float, float]] = [
    ("Stripe tries long after", 9, 0, 2),
    ("Stripe tries exactly a day after", 3, 0, 2),
    ("Stripe tries too soon after", 2.5, 0, 3.5),
    ("Stripe tries at the same time", 2, 0, 3),
    ("Stripe tries too shortly before", 1.5, 0, 2.5),
    ("Stripe tried exactly a day before", 1, 0, 2),
    ("ours is late, and Stripe would be five hours after it", 3 + 1 / 24, 2 + 20 / 24, 4 + 1 / 24),
]


@pytest.mark.parametrize(("stripe", "now", "ours"), [row[1:] for row in DISTANCE], ids=[row[0] for row in DISTANCE])
def test_weaving_stays_a_day_away_from_stripe(stripe: float, now: float, ours: float) -> None:
    case = replace(CASE, stripe_next_attempt=DAY0 + stripe * DAY)
    assert day_of(case, now, WEAVE) == pytest.approx(ours)


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"state": State.LOST, "because": "out of time"}, "the case has ended: out of time"),
    ({"disputes": (Dispute("ch_1", DAY0, True),)}, "disputed"),
    ({"paused_at": DAY0}, "paused"),
    (tried(2, answer=None), "its end is not known"),
    (tried(2, answer=Answer.UNKNOWN), "its end is not known"),
    (tried(2, answer=Answer.PROCESSING), "its end is not known"),
    ({"processing_at": DAY0 + DAY}, "being processed"),
    ({"collection_method": "send_invoice"}, "by hand"),
    (tried(*range(1, 9)), "8 attempts were made, 8 is the cap"),
    ({"stripe_attempts": 8}, "8 attempts were made, 8 is the cap"),
    ({**tried(2, 4, 7), "stripe_attempts": 5}, "8 attempts were made, 8 is the cap"),
    *[
        ({"decline_class": kind, "decline_because": "so it said"}, "no silent retry: so it said")
        for kind in DeclineClass
        if kind not in RETRYABLE
    ],
    ({**tried(2, 4), "max_tries": 2, "decline_because": "so it said"}, "at most 2 attempts"),
    ({"max_tries": 0}, "at most 0 attempts"),
    ({"stripe_next_attempt": DAY0 + 20 * DAY}, "two drivers never"),
]


@pytest.mark.parametrize(("known", "because"), REFUSALS)
def test_an_attempt_is_refused_by_name(known: dict[str, Any], because: str) -> None:
    wait = next_attempt(replace(CASE, **known), OWN, DAY0 + 2 * DAY)
    assert wait.until is None
    assert because in wait.because


@pytest.mark.parametrize(
    ("known", "now"),
    [
        (tried(1, 2, 3, 4, 5, 6, 7), 7),
        ({"processing_at": DAY0, "last_failed_at": DAY0 + DAY}, 1),
        (tried(2, answer=Answer.NOT_EXECUTED), 2),
        ({**tried(2), "max_tries": 2}, 2),
        ({"disputes": (Dispute("ch_1", DAY0, False),)}, 0),
    ],
)
def test_a_refusal_holds_no_longer_than_its_reason(known: dict[str, Any], now: float) -> None:
    assert day_of(replace(CASE, **known), now) is not None


@pytest.mark.parametrize(("mode", "charges"), [("observe", False), ("notify", False), ("weave", True), ("own", True)])
def test_only_two_modes_charge(mode: str, charges: bool) -> None:
    wait = next_attempt(CASE, replace(STANDARD, mode=Mode(mode)), DAY0)
    assert bool(wait.until) is charges
    assert charges or wait.because.startswith(f"mode {mode}: ")


DAYS = st.floats(0, 30).map(lambda days: DAY0 + timedelta(seconds=int(days * 86_400)))


@given(
    decline=st.sampled_from(sorted(DeclineClass)),
    made=st.lists(DAYS, max_size=4, unique=True),
    stripe=st.none() | DAYS,
    failed=DAYS,
    not_before=st.none() | DAYS,
    now=DAYS,
)
def test_no_plan_breaks_a_promise(decline: Any, made: Any, stripe: Any, failed: Any, not_before: Any, now: Any) -> None:
    attempts = tuple(Attempt(n, at, Answer.DECLINED) for n, at in enumerate(sorted(made), 1))
    known = {"attempts": attempts, "stripe_next_attempt": stripe, "last_failed_at": failed}
    case = replace(CASE, decline_class=decline, retry_not_before=not_before, **known)
    until = next_attempt(case, WEAVE, now).until
    if until is None:
        return
    acts = max(until, now)
    assert decline in RETRYABLE
    assert acts < case.deadline
    assert until > now - DAY
    assert until - max([failed, *made]) >= DAY
    assert stripe is None or abs(acts - stripe) >= DAY
    assert not_before is None or until >= not_before
