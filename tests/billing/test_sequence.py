"""A sequence at work on one case: when each step is due, and why the others are not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from billing.case import Attempt, Dispute, No, RecoveryCase, State, settle
from billing.declines import DeclineClass
from billing.events.occurrences import Answer
from billing.events.snapshots import Decline
from billing.money import Amount
from billing.notices.due import Contact, Due, Facts, Passed, due_notices, weigh
from billing.notices.sequence import THANKS, WHEN, Audience, On, Only, Planned, Sequence, Step, Via, label_of, person_of
from tests.billing.test_notices_sequence import CASE, DAY, DAY0, HOUR

FIRST = Planned("first", Step.PAYMENT_FAILED, after=DAY)
SECOND = Planned("second", Step.REMINDER, after=5 * DAY)
THIRD = Planned("third", Step.REMINDER, after=10 * DAY)
WEEK_LEFT = Planned("week_left", Step.BEFORE_DEADLINE, On.BEFORE_DEADLINE, 7 * DAY)
LAST = Planned("last", Step.LAST_DAY, On.BEFORE_DEADLINE, 12 * HOUR)
ENDED = Planned("ended", Step.ENDED, On.LOST, HOUR)
RESCUE = Planned("rescue", Step.LATE_RESCUE, On.LATE_RESCUE, HOUR)
SEQUENCE = Sequence((FIRST, SECOND, THIRD, WEEK_LEFT, LAST, THANKS, ENDED, RESCUE), silent=DAY, hold=HOUR)


def due(
    case: RecoveryCase = CASE, sequence: Sequence = SEQUENCE, facts: Facts = Facts(), now: datetime = DAY0
) -> dict[str, datetime]:
    return {each.step: each.at for each in due_notices(case, sequence, facts, now)}


def why(
    case: RecoveryCase = CASE, sequence: Sequence = SEQUENCE, facts: Facts = Facts(), now: datetime = DAY0
) -> dict[str, str]:
    return {each.step: each.because for each in weigh(case, sequence, facts, now) if isinstance(each, Passed)}


def sent(case: RecoveryCase, **when: datetime) -> RecoveryCase:
    """These steps were handed over at these times."""
    notices = {**dict(case.notices), **dict.fromkeys(when, "accepted")}
    times = {**dict(case.notices_at), **when}
    return replace(case, notices=tuple(sorted(notices.items())), notices_at=tuple(sorted(times.items())))


def one(step: Planned, **more: object) -> Sequence:
    return Sequence((FIRST, step), **more)  # type: ignore[arg-type]


def test_every_kind_of_time_has_its_sentence() -> None:
    assert set(WHEN) == set(On)


def test_a_fresh_case_has_its_whole_timetable() -> None:
    assert due() == {
        "first": DAY0 + DAY,
        "second": DAY0 + 5 * DAY,
        "third": DAY0 + 10 * DAY,
        "week_left": DAY0 + 14 * DAY,
        "last": DAY0 + 21 * DAY - 9 * HOUR,  # the last day begins at midnight; twelve hours before were the day before
    }
    assert why() == {
        "recovered": "the invoice is not paid",
        "ended": "the case is open",
        "rescue": "the case is open",
    }


def test_a_plan_stands_still_while_nothing_happens() -> None:
    plans = [due(now=DAY0 + n * HOUR) for n in range(24)]
    assert all(plan == plans[0] for plan in plans)


def test_each_step_is_said_once_whatever_became_of_it() -> None:
    for outcome in ("accepted", "rejected", "unknown", "skipped", "merged"):
        case = replace(CASE, notices=(("first", outcome),), notices_at=(("first", DAY0 + DAY),))
        assert "first" not in due(case, now=DAY0 + 2 * DAY)
        assert "second" in due(case, now=DAY0 + 2 * DAY)


# ---------------------------------------------------------------- silence, hold, and what was missed


def test_a_fault_between_the_banks_is_told_late() -> None:
    decline = Decline(code="card_declined", decline_code="processing_error")
    case = replace(CASE, decline=decline, decline_class=DeclineClass.TEMPORARY)
    sequence = replace(SEQUENCE, patient=3 * DAY)
    assert due(case, sequence)["first"] == DAY0 + 3 * DAY
    assert due(CASE, sequence)["first"] == DAY0 + DAY


def test_what_falls_into_the_silence_is_one_message_at_its_end() -> None:
    sequence = replace(SEQUENCE, silent=6 * DAY)
    assert list(due(sequence=sequence)) == ["second", "third", "week_left", "last"]
    assert due(sequence=sequence)["second"] == DAY0 + 6 * DAY
    assert why(sequence=sequence)["first"] == "second is said instead"


@pytest.mark.parametrize("state", [State.HELD, State.PAUSED])
def test_nothing_is_planned_while_a_case_is_held(state: State) -> None:
    assert due(replace(CASE, state=state), now=DAY0 + 3 * DAY) == {}


def test_after_a_hold_only_the_latest_missed_message_is_sent() -> None:
    disputed = settle(replace(CASE, disputes=(Dispute("ch_1", DAY0, True),)))
    released = settle(replace(disputed, disputes=(Dispute("ch_1", DAY0 + 11 * DAY, False),)))
    now = DAY0 + 11 * DAY
    assert due(disputed, now=now) == {}
    assert [step for step, at in due(released, now=now).items() if at <= now] == ["third"]
    # It is the first word that this customer hears, and says so.
    assert next(each for each in due_notices(released, SEQUENCE, Facts(), now)).template is Step.PAYMENT_FAILED
    # Once it was sent the others do not come after it.
    after = sent(released, third=now)
    assert [step for step, at in due(after, now=now + HOUR).items() if at <= now + HOUR] == []
    assert why(after, now=now + HOUR)["first"] == "third had its turn at that time or later"


def test_a_reminder_to_who_was_told_is_a_reminder() -> None:
    case = sent(CASE, first=DAY0 + DAY)
    assert next(each for each in due_notices(case, SEQUENCE, Facts(), DAY0 + 2 * DAY)).template is Step.REMINDER


def test_a_promise_moves_what_asks_behind_its_day_as_one_message() -> None:
    facts = Facts(held_until=DAY0 + 11 * DAY)
    plan = due(facts=facts, now=DAY0 + HOUR)
    assert min(plan.values()) == DAY0 + 11 * DAY
    assert sum(at == DAY0 + 11 * DAY for at in plan.values()) == 1


def test_a_promised_day_is_reminded_of_and_a_broken_one_too() -> None:
    promised = replace(CASE, promised_at=DAY0 + HOUR, promised_until=DAY0 + 4 * DAY)
    on_day = Planned("on_day", Step.PROMISE_REMINDER, On.PROMISE_DAY, 14 * HOUR)
    broken = Planned("broken", Step.REMINDER, On.PROMISE_BROKEN)
    sequence = Sequence((FIRST, SECOND, on_day, broken), silent=DAY)
    plan = due(promised, sequence, Facts(held_until=DAY0 + 5 * DAY), DAY0 + 2 * HOUR)
    assert plan == {"on_day": DAY0 + 4 * DAY - 14 * HOUR, "broken": DAY0 + 5 * DAY}
    assert why(CASE, sequence)["on_day"] == "nobody promised a day"


# ---------------------------------------------------------------- attempts


def test_a_message_waits_for_an_attempt_that_is_near() -> None:
    for minutes in (-10, 0, 30, 60):
        near = Facts(next_try=DAY0 + DAY + timedelta(minutes=minutes))
        assert due(facts=near)["first"] == DAY0 + DAY + timedelta(minutes=minutes + 15)
    far = Facts(next_try=DAY0 + DAY + 2 * HOUR)
    assert due(facts=far)["first"] == DAY0 + DAY
    assert due(sequence=replace(SEQUENCE, hold=timedelta(0)), facts=Facts(next_try=DAY0 + DAY))["first"] == DAY0 + DAY


def test_a_message_that_is_late_still_waits_for_an_attempt_that_is_near() -> None:
    now = DAY0 + 2 * DAY
    assert due(facts=Facts(next_try=now + HOUR / 2), now=now)["first"] == now + HOUR / 2 + timedelta(minutes=15)


def test_nothing_asks_while_an_attempt_or_a_payment_is_under_way() -> None:
    trying = replace(CASE, attempts=(Attempt(1, DAY0 + DAY),))
    assert due(trying, now=DAY0 + DAY) == {}
    assert why(trying, now=DAY0 + DAY)["first"] == "an attempt is under way"
    assert due(replace(CASE, processing_at=DAY0 + HOUR)) == {}


def test_before_and_after_an_attempt() -> None:
    before = one(Planned("before", Step.REMINDER, On.BEFORE_RETRY, DAY))
    assert "before" not in due(sequence=before)
    assert due(sequence=before, facts=Facts(next_try=DAY0 + 4 * DAY))["before"] == DAY0 + 3 * DAY
    after = one(Planned("after", Step.REMINDER, On.AFTER_RETRY, HOUR))
    assert "after" not in due(sequence=after)
    declined = Attempt(1, DAY0 + 2 * DAY, Answer.DECLINED)
    assert due(replace(CASE, attempts=(declined,)), after)["after"] == DAY0 + 2 * DAY + HOUR
    stripes = replace(CASE, noes=(No(DAY0), No(DAY0 + 3 * DAY)))
    assert due(stripes, after)["after"] == DAY0 + 3 * DAY + HOUR


# ---------------------------------------------------------------- hours


def test_quiet_hours_move_a_message_and_what_must_not_come_late_comes_early() -> None:
    sequence = replace(SEQUENCE, quiet=(20, 10))  # the case failed at nine in the morning
    plan = due(sequence=sequence)
    assert plan["first"] == DAY0 + DAY + HOUR
    assert plan["week_left"] == DAY0 + 14 * DAY + HOUR  # seven days are left at ten o'clock, too
    auckland = Facts(zone=ZoneInfo("Pacific/Auckland"))  # ten in the evening: the next morning has six
    assert due(sequence=sequence, facts=auckland)["week_left"] == DAY0 + 14 * DAY - 3 * HOUR


def test_a_message_missed_at_night_waits_for_the_morning() -> None:
    sequence = replace(SEQUENCE, quiet=(20, 8))
    night, morning = DAY0 + DAY + 13 * HOUR, DAY0 + DAY + 23 * HOUR
    assert due(sequence=sequence, now=night)["first"] == morning
    assert due(sequence=sequence, now=morning + HOUR)["first"] <= morning


def test_the_last_day_is_the_customers_and_never_a_day_that_is_not_his_last() -> None:
    sequence = replace(SEQUENCE, quiet=(20, 8))
    tokyo = Facts(zone=ZoneInfo("Asia/Tokyo"))  # the window ends there at 18:00
    assert due(sequence=sequence, facts=tokyo)["last"] == datetime(2026, 3, 23, 23, tzinfo=UTC)
    hawaii = Facts(zone=ZoneInfo("Pacific/Honolulu"))  # and here at 23:00 of the day before
    assert due(sequence=sequence, facts=hawaii)["last"] == datetime(2026, 3, 23, 21, tzinfo=UTC)


def test_a_last_day_that_is_all_quiet_is_announced_the_day_before_in_the_words_of_that_day() -> None:
    sequence = replace(SEQUENCE, quiet=(20, 10))  # the window ends at nine
    last = next(each for each in due_notices(CASE, sequence, Facts(), DAY0) if each.step == "last")
    assert (last.at, last.template) == (CASE.deadline - 15 * HOUR, Step.BEFORE_DEADLINE)


def test_a_message_that_would_come_after_the_window_is_none() -> None:
    assert due(now=CASE.deadline) == {}
    assert why(now=CASE.deadline)["last"] == "the recovery window ends before"


# ---------------------------------------------------------------- the end


def test_thanks_end_what_was_begun_by_whichever_message() -> None:
    paid = settle(replace(sent(CASE, second=DAY0 + 5 * DAY), paid_at=DAY0 + 6 * DAY))
    assert due(paid, now=DAY0 + 6 * DAY) == {"recovered": DAY0 + 6 * DAY}
    silent = settle(replace(CASE, paid_at=DAY0 + 6 * DAY))
    assert "a silent recovery stays silent" in why(silent, now=DAY0 + 6 * DAY)["recovered"]
    assert due(paid, now=DAY0 + 10 * DAY) == {}


def test_the_end_is_told_only_where_the_subscription_ended() -> None:
    expired = settle(replace(CASE, expired_at=CASE.deadline))
    assert why(expired, now=CASE.deadline)["ended"] == "the subscription goes on"
    ended = settle(replace(expired, ended_at=CASE.deadline + DAY))
    assert due(ended, now=CASE.deadline + DAY) == {"ended": CASE.deadline + DAY + HOUR}
    assert due(ended, now=CASE.deadline + 9 * DAY) == {}


def test_who_ends_the_subscription_himself_hears_nothing_more() -> None:
    ended = settle(replace(CASE, ended_at=DAY0 + 3 * DAY, end_told_by_customer=True))
    assert ended.state is State.CANCELLED
    assert due(ended, now=DAY0 + 3 * DAY) == {}


def test_a_card_that_comes_after_the_end_is_answered_once() -> None:
    lost = settle(replace(CASE, ended_at=DAY0 + 20 * DAY))
    assert "rescue" not in due(lost, now=DAY0 + 20 * DAY)
    rescued = Facts(rescued_at=DAY0 + 22 * DAY)
    assert due(lost, facts=rescued, now=DAY0 + 22 * DAY)["rescue"] == DAY0 + 22 * DAY + HOUR


def test_a_message_that_a_person_asks_for_is_due_at_once_unless_nothing_may_be_said() -> None:
    sequence, now = replace(SEQUENCE, quiet=(20, 10)), DAY0 + HOUR
    asked = Facts(asked=(("second", now),))
    found = next(each for each in due_notices(CASE, sequence, asked, now) if each.step == "second")
    assert (found.at, found.asked) == (now, True)
    held = replace(CASE, state=State.HELD)
    assert "second" not in due(held, sequence, asked, now)


# ---------------------------------------------------------------- to whom, and by which way

PEOPLE = (Contact("b1", "billing"), Contact("o1", "owner"), Contact("m1", "member"))


@pytest.mark.parametrize(
    ("audience", "contacts", "labels"),
    [
        ((Audience.BILLING,), PEOPLE, {"first", "first:b1"}),
        ((Audience.OWNER,), PEOPLE, {"first:o1"}),
        ((Audience.OWNER,), PEOPLE[:1], {"first"}),  # no owner is known: the address at Stripe
        ((Audience.BILLING, Audience.OWNER), PEOPLE, {"first", "first:b1", "first:o1"}),
        ((Audience.TEAM,), PEOPLE, {"first", "first:b1", "first:o1", "first:m1"}),
        ((Audience.TEAM, Audience.BILLING), (), {"first"}),
    ],
)
def test_each_person_of_an_audience_has_a_message_of_his_own(
    audience: tuple[Audience, ...], contacts: tuple[Contact, ...], labels: set[str]
) -> None:
    sequence = Sequence((replace(FIRST, audience=audience),))
    assert set(due(sequence=sequence, facts=Facts(contacts=contacts))) == labels


def test_an_sms_and_a_word_to_the_team_are_messages_of_their_own() -> None:
    sequence = Sequence((replace(FIRST, via=(Via.EMAIL, Via.SMS, Via.CHAT, Via.IN_APP)),))
    assert set(due(sequence=sequence)) == {"first", "first:sms", "first:chat"}
    assert due(replace(CASE, notices=(("first", "rejected"),)), sequence) == {
        "first:sms": DAY0 + DAY,
        "first:chat": DAY0 + DAY,
    }
    assert [person_of(label) for label in ("first", "first:sms", "first:o1")] == ["", "", "o1"]
    assert label_of("first", Via.SMS, "") == "first:sms"


def test_who_hears_of_it_late_is_not_told_that_he_was_told() -> None:
    team = replace(SECOND, audience=(Audience.TEAM,))
    case = sent(CASE, first=DAY0 + DAY)
    found = {
        each.step: each.template
        for each in due_notices(case, Sequence((FIRST, team)), Facts(contacts=PEOPLE), DAY0 + 2 * DAY)
    }
    assert found["second"] is Step.REMINDER
    assert found["second:m1"] is Step.PAYMENT_FAILED


# ---------------------------------------------------------------- conditions

RICH = replace(CASE, amount=Amount(100_000, "usd"), began_at=DAY0 - 100 * DAY, sold=("price_1", "prod_1"), country="US")

CONDITIONS: list[tuple[Only, bool, str]] = [
    (Only(declines=frozenset({DeclineClass.UNKNOWN})), True, ""),
    (Only(declines=frozenset({DeclineClass.DEAD_CARD})), False, "not for a decline of the class unknown"),
    (Only(min_amount={"usd": 100_000}), True, ""),
    (Only(min_amount={"usd": 100_001}), False, "the amount is too small for this step"),
    (Only(max_amount={"usd": 100_000}), True, ""),
    (Only(max_amount={"usd": 99_999}), False, "the amount is too large for this step"),
    (Only(min_amount={"eur": 1}), False, "the step names no amount in usd"),
    (Only(products=frozenset({"prod_1"})), True, ""),
    (Only(products=frozenset({"prod_2"})), False, "not for what this customer subscribes to"),
    (Only(countries=frozenset({"US"})), True, ""),
    (Only(countries=frozenset({"DE"})), False, "not for customers in US"),
    (Only(min_tenure=100 * DAY), True, ""),
    (Only(min_tenure=101 * DAY), False, "the customer has not subscribed for long enough"),
    (Only(max_tenure=99 * DAY), False, "the customer has subscribed for too long"),
    (Only(engaged=False), True, ""),
    (Only(engaged=True), False, "the customer was not on the recovery page yet"),
]


@pytest.mark.parametrize(("only", "met", "because"), CONDITIONS)
def test_a_condition_is_met_or_says_why_not(only: Only, met: bool, because: str) -> None:
    sequence = Sequence((replace(FIRST, only=only),))
    assert ("first" in due(RICH, sequence)) is met
    assert why(RICH, sequence).get("first", "") == because


def test_the_customers_country_goes_before_that_of_the_card_and_acts_on_the_page_count_from_the_failure() -> None:
    only = Sequence((replace(FIRST, only=Only(countries=frozenset({"DE"}))),))
    assert "first" in due(RICH, only, Facts(country="DE"))
    engaged = Sequence((replace(FIRST, only=Only(engaged=True)),))
    assert "first" in due(RICH, engaged, Facts(engaged_at=DAY0 + HOUR))
    assert "first" not in due(RICH, engaged, Facts(engaged_at=DAY0 - HOUR))


def test_what_is_not_known_meets_no_condition() -> None:
    for only in (Only(countries=frozenset({"US"})), Only(min_tenure=DAY), Only(products=frozenset({"prod_1"}))):
        assert "first" not in due(CASE, Sequence((replace(FIRST, only=only),)))


def test_a_step_that_is_not_for_this_case_does_not_stand_in_the_way_of_another() -> None:
    never = replace(SECOND, only=Only(declines=frozenset({DeclineClass.DEAD_CARD})))
    plan = due(sequence=Sequence((FIRST, never)), now=DAY0 + 6 * DAY)
    assert list(plan) == ["first"]
    assert isinstance(next(iter(weigh(CASE, Sequence((FIRST, never)), Facts(), DAY0 + 6 * DAY))), Due)
