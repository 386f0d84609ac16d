"""What a customer may use, as tables: by time, by what happened, and over several cases."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from billing.actions import Kind
from billing.case import RecoveryCase
from billing.decide import plan
from billing.entitlement import (
    REASONS,
    SENTENCES,
    Access,
    Blocked,
    Entitlement,
    Level,
    Reason,
    Standing,
    entitlement_of,
)
from billing.events.asked import Held
from billing.events.occurrences import EndMade, Event, Promised
from tests.billing import stories as s
from tests.billing.stories import DAY, DAY0, OWN, event

USUAL = Access(14 * DAY, Blocked.AT_END)
GRACE = timedelta(days=1)
DEADLINE = DAY0 + 28 * DAY
FULL, GRACED, RESTRICTED, BLOCKED = Level


def case(*events: Event) -> RecoveryCase:
    return s.case_after(s.failed(0), s.subscription(0), *events)


def asked(day: float, *cases: RecoveryCase, access: Access | None = USUAL, running: bool = False) -> Entitlement:
    standings = [Standing(each, access, GRACE) for each in cases]
    return entitlement_of(standings, running, DAY0 + day * DAY)


def at(day: float) -> datetime:
    return DAY0 + day * DAY


LOST = case(s.deadline_passed())


@pytest.mark.parametrize(
    ("access", "day", "level", "until"),
    [
        (USUAL, 0, GRACED, 14),
        (USUAL, 13.99, GRACED, 14),
        (USUAL, 14, RESTRICTED, 28),
        (USUAL, 27.99, RESTRICTED, 28),
        (USUAL, 28, BLOCKED, None),  # also when the deadline's own action is late
        (Access(None, Blocked.AT_END), 20, GRACED, 28),
        (Access(7 * DAY, Blocked.NEVER), 300, RESTRICTED, None),
        (Access(None, Blocked.NEVER), 300, GRACED, None),
        (Access(0 * DAY, Blocked.NEVER), 0, RESTRICTED, None),
        (Access(7 * DAY, Blocked.AFTER_DAYS, 21 * DAY), 6, GRACED, 7),
        (Access(7 * DAY, Blocked.AFTER_DAYS, 21 * DAY), 7, RESTRICTED, 21),
        (Access(7 * DAY, Blocked.AFTER_DAYS, 21 * DAY), 21, BLOCKED, None),
        (Access(None, Blocked.AFTER_DAYS, 21 * DAY), 20, GRACED, 21),
        (Access(40 * DAY, Blocked.AT_END), 30, BLOCKED, None),
        (None, 20, FULL, None),
    ],
)
def test_time_alone_makes_it_worse(access: Access | None, day: float, level: Level, until: float | None) -> None:
    found = asked(day, case(), access=access)
    assert (found.level, found.until) == (level, None if until is None else at(until))
    if level is not FULL:
        assert (found.reason, found.cases) == (Reason.PAYMENT_OPEN, ("in_1",))
        assert found.because == "in_1 is open since 2026-03-01"


LEFT = s.deleted(5, cancel_feedback="other")
PROMISE = event(Promised("in_1", at(22)), 15)
LATE_PROMISE = event(Promised("in_1", at(32)), 27)
HOLD, RELEASE = event(Held("in_1", True), 10), event(Held("in_1", False), 12)
OVER = s.deadline_passed()


def made(outcome: str) -> Event:
    return event(EndMade("in_1", "subscription", outcome), 28)


@pytest.mark.parametrize(
    ("what", "events", "day", "level", "reason"),
    [
        ("paid", (s.paid(10),), 20, FULL, Reason.NOTHING_OPEN),
        ("paid after the end", (OVER, s.paid(30)), 31, FULL, Reason.NOTHING_OPEN),
        ("forgiven", (s.voided(10),), 20, FULL, Reason.NOTHING_OPEN),
        ("cancelled by the customer", (LEFT,), 20, FULL, Reason.NOTHING_OPEN),
        ("lost", (OVER,), 28, BLOCKED, Reason.NOT_PAID),
        ("marked unpaid by Stripe", (s.subscription(12, "unpaid"),), 12, BLOCKED, Reason.NOT_PAID),
        ("disputed in grace", (s.disputed(10),), 20, GRACED, Reason.ON_HOLD),
        ("disputed, and told of again", (s.disputed(10), s.disputed(19)), 20, GRACED, Reason.ON_HOLD),
        ("told in another order", (s.disputed(19), s.disputed(10)), 20, GRACED, Reason.ON_HOLD),
        ("disputed when restricted", (s.disputed(20),), 40, RESTRICTED, Reason.ON_HOLD),
        ("disputed when blocked", (OVER, s.disputed(30)), 40, BLOCKED, Reason.ON_HOLD),
        ("disputed, then the deadline", (s.disputed(10), OVER), 40, GRACED, Reason.ON_HOLD),
        ("a dispute that was won", (s.disputed(10), s.disputed(20, open=False)), 20, RESTRICTED, Reason.PAYMENT_OPEN),
        ("held by an operator", (HOLD,), 20, GRACED, Reason.ON_HOLD),
        ("released", (HOLD, RELEASE), 20, RESTRICTED, Reason.PAYMENT_OPEN),
        ("paused", (s.subscription(10, pause_behavior="void"),), 20, GRACED, Reason.ON_HOLD),
        ("paused when restricted", (s.subscription(20, pause_behavior="void"),), 21, GRACED, Reason.ON_HOLD),
        ("paused by us at the end", (OVER, s.subscription(29, pause_behavior="void")), 30, BLOCKED, Reason.NOT_PAID),
        ("under way", (s.looked(20, processing=True),), 21, GRACED, Reason.ON_HOLD),
        ("promised", (PROMISE,), 22.9, GRACED, Reason.PAYMENT_PROMISED),
        ("promised and broken", (PROMISE,), 23, RESTRICTED, Reason.PAYMENT_OPEN),
        ("promised past the deadline", (LATE_PROMISE, OVER), 30, GRACED, Reason.PAYMENT_PROMISED),
        ("moved down by us", (OVER, made("downgrade")), 30, FULL, Reason.DOWNGRADED),
        ("cancelled by us", (OVER, made("cancel")), 30, BLOCKED, Reason.NOT_PAID),
    ],
)
def test_what_happened_decides(what: str, events: tuple[Event, ...], day: float, level: Level, reason: Reason) -> None:
    found = asked(day, case(*events))
    assert (found.level, found.reason) == (level, reason), (what, found)


def test_a_promise_says_until_when() -> None:
    assert asked(16, case(event(Promised("in_1", at(22)), 15))).until == at(23)


def test_a_policy_that_never_blocks_does_not_block_at_the_end() -> None:
    assert asked(40, LOST, access=Access(14 * DAY, Blocked.NEVER)).level is RESTRICTED


def test_who_has_a_subscription_in_order_is_not_blocked_for_what_another_lost() -> None:
    assert asked(40, LOST, running=True) == Entitlement()
    assert asked(20, case(), running=True).level is RESTRICTED  # an open payment is asked for all the same


def test_the_worst_case_decides_and_all_are_named() -> None:
    other = replace(case(), invoice="in_2", subscription="sub_2", failed_at=at(10), deadline=at(38))
    found = asked(20, other, case())
    assert (found.level, found.because) == (RESTRICTED, "in_1 is open since 2026-03-01")
    assert (found.cases, found.until) == (("in_1", "in_2"), at(28))
    # When the other one turns restricted, nothing changes for the customer: it is not announced.
    never = Standing(case(), Access(14 * DAY, Blocked.NEVER))
    late = Standing(other, Access(14 * DAY, Blocked.AFTER_DAYS, 30 * DAY))
    assert entitlement_of([never, late], False, at(20)).until == at(40)


def test_nobody_owes_nothing_may_use_everything() -> None:
    assert asked(10) == asked(10, replace(case(), amount=s.usd(0))) == Entitlement()


def test_the_next_change_is_planned_and_only_that() -> None:
    policy = replace(OWN, access=USUAL)

    def turns(day: float, *events: Event) -> list[datetime]:
        found = plan(case(*events), policy, at(day))
        return [action.due_at for action in found if action.kind is Kind.ACCESS]

    assert (turns(0), turns(14), turns(28)) == ([at(14)], [at(28)], [])
    assert turns(12, s.disputed(12)) == []
    assert turns(15, event(Promised("in_1", at(22)), 15)) == [at(23)]
    assert [a for a in plan(case(), OWN, at(0)) if a.kind is Kind.ACCESS] == []


def test_every_level_and_reason_has_its_sentence() -> None:
    assert SENTENCES.keys() == set(Level)
    assert REASONS.keys() == set(Reason)
