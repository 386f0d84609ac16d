"""A sequence under any history: no message twice, none at night, none when it should be silent, in whatever order."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.actions import Action, Kind
from billing.case import RecoveryCase, State, settle
from billing.decide import plan
from billing.events.occurrences import Event, NoticeEnded, Promised
from billing.evidence import learn
from billing.notices.due import Contact, Facts
from billing.notices.hours import is_allowed
from billing.notices.sequence import ASKING, SILENT, Step
from billing.policy import Mode, Policy
from config.policies import parse, read
from tests.billing.stories import (
    BUSY,
    DAY0,
    EXPIRED,
    FUNDS,
    charge_failed,
    deadline_passed,
    deleted,
    disputed,
    event,
    failed,
    intent_processing,
    live,
    method,
    paid,
    subscription,
    voided,
)

POLICIES = {name: replace(parse(read(name), name), mode=Mode.NOTIFY) for name in ("standard", "gentle-b2b", "weekly")}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ZONES = [ZoneInfo(name) for name in ("UTC", "America/Los_Angeles", "Asia/Tokyo", "Europe/Berlin")]
CONTACTS = (Contact("b1", "billing"), Contact("o1", "owner"), Contact("m1", "member"))


def promised(day: float, until: float) -> Event:
    return event(Promised("in_1", DAY0 + until * DAY), day, f"until{until}")


DAYS = st.integers(1, 300).map(lambda n: n / 10)
HAPPENINGS = st.one_of(
    DAYS.map(lambda day: charge_failed(day, FUNDS)),
    DAYS.map(lambda day: charge_failed(day, EXPIRED)),
    DAYS.map(lambda day: charge_failed(day, BUSY)),
    DAYS.map(lambda day: failed(day, attempt_count=2, next_payment_attempt=DAY0 + (day + 2) * DAY)),
    st.tuples(DAYS, st.booleans()).map(lambda told: disputed(told[0], open=told[1])),
    st.tuples(DAYS, st.integers(1, 9)).map(lambda told: promised(told[0], told[0] + told[1])),
    DAYS.map(method),
    DAYS.map(lambda day: paid(day)),
    DAYS.map(lambda day: deleted(day)),
    DAYS.map(lambda day: deleted(day, cancel_feedback="too_expensive")),
    DAYS.map(lambda day: subscription(day, "past_due", pause_behavior="void")),
    DAYS.map(voided),
    DAYS.map(lambda day: intent_processing(day)),
)
HISTORIES = st.lists(HAPPENINGS, max_size=6).map(lambda events: sorted(events, key=lambda each: each.at))
FACTS = st.builds(
    Facts, zone=st.sampled_from(ZONES), contacts=st.sampled_from([(), CONTACTS, CONTACTS[:1]]), country=st.just("US")
)


class Worker:
    """Looks every few hours, sends what is due, and remembers what it sent in which state."""

    def __init__(self, policy: Policy, facts: Facts) -> None:
        self.policy, self.facts = policy, facts
        self.case: RecoveryCase | None = None
        self.sent: list[tuple[datetime, str, Step, RecoveryCase]] = []

    def waiting(self, now: datetime) -> list[Action]:
        assert self.case is not None
        return [each for each in plan(self.case, self.policy, now, self.facts) if each.kind is Kind.NOTICE]

    def look(self, now: datetime) -> None:
        while due := [each for each in self.waiting(now) if each.due_at <= now]:
            assert self.case is not None
            label = str(due[0].detail["step"])
            template = Step(str(due[0].detail.get("template", label)))
            self.sent.append((now, label, template, self.case))
            ended = Event(
                f"sent:{label}", "reprieve.notice_ended", now, "self", False, NoticeEnded("in_1", label, "accepted")
            )
            self.case = settle(learn(self.case, ended, self.policy))

    def live(self, history: list[Event], every: timedelta) -> None:
        opening = failed(0)
        self.case = live([opening], self.policy)[0]
        ahead, now = list(history), DAY0
        end = DAY0 + self.policy.window + 5 * DAY
        while now < end:
            while ahead and ahead[0].at <= now:
                self.tell(ahead.pop(0))
            assert self.case is not None
            if now >= self.case.deadline and self.case.live:
                self.tell(deadline_passed())
            self.look(now)
            now += every

    def tell(self, new: Event) -> None:
        assert self.case is not None
        self.case = settle(learn(self.case, new, self.policy))


@settings(max_examples=100)
@given(
    name=st.sampled_from(sorted(POLICIES)), history=HISTORIES, facts=FACTS, every=st.sampled_from([2 * HOUR, 7 * HOUR])
)
def test_no_history_makes_a_sequence_say_what_it_must_not(
    name: str, history: list[Event], facts: Facts, every: timedelta
) -> None:
    policy = POLICIES[name]
    worker = Worker(policy, facts)
    worker.live(history, every)
    labels = [label for _, label, _, _ in worker.sent]
    assert len(labels) == len(set(labels)), "a step is said once to each person"
    for at, label, template, case in worker.sent:
        assert is_allowed(at, policy.sequence.quiet, policy.sequence.weekdays, facts.zone), f"{label} at {at}"
        if template in ASKING:
            assert case.live
            assert case.state not in SILENT
            assert at < case.deadline
            # Only the customer's own word is spoken of before the silent time has passed.
            assert template is Step.PROMISE_REMINDER or at >= case.failed_at + policy.sequence.silent
        else:
            wanted = State.RECOVERED if template is Step.RECOVERED else State.LOST
            assert case.state is wanted
    for person in {label.partition(":")[2] for label in labels}:
        times = [
            at for at, label, template, _ in worker.sent if label.partition(":")[2] == person and template in ASKING
        ]
        assert len(times) == len(set(times)), "two messages that ask never reach one person in the same moment"
        first = next((template for _, label, template, _ in worker.sent if label.partition(":")[2] == person), None)
        assert first is not Step.REMINDER, "a reminder reminds of something"


@settings(max_examples=100)
@given(name=st.sampled_from(sorted(POLICIES)), history=HISTORIES, facts=FACTS, data=st.data())
def test_events_in_any_order_end_in_the_same_plan(
    name: str, history: list[Event], facts: Facts, data: st.DataObject
) -> None:
    policy = POLICIES[name]
    now = max([DAY0, *(each.at for each in history)])
    plans = []
    for events in (history, data.draw(st.permutations(history))):
        case = live([failed(0)], policy)[0]
        assert case is not None
        for new in events:
            case = settle(learn(case, new, policy))
        plans.append([each for each in plan(case, policy, now, facts) if each.kind is Kind.NOTICE])
    assert plans[0] == plans[1]


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_planning_again_while_nothing_happens_changes_nothing(name: str) -> None:
    policy = POLICIES[name]
    case = live([failed(0)], policy)[0]
    assert case is not None
    facts = Facts(contacts=CONTACTS)
    first = min(each.due_at for each in plan(case, policy, DAY0, facts) if each.kind is Kind.NOTICE)
    plans = []
    now = DAY0
    while now < first:
        plans.append([each for each in plan(case, policy, now, facts) if each.kind is Kind.NOTICE])
        now += HOUR
    assert all(each == plans[0] for each in plans)
