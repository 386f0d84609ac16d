"""A case's plan by the model: stable until something new is heard, within the policy's limits, or the ladder."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.case import Attempt, No, Past, RecoveryCase, Refusal
from billing.declines import DeclineClass
from billing.events.occurrences import Answer
from billing.events.snapshots import Card, Decline, PaymentMethod
from billing.policy import Mode, Policy, Retry, Strategy
from billing.retry.learned import ended_facts, facts_of, tries_of
from billing.retry.schedule import Wait, next_attempt
from config.policies import parse, read
from config.priors import priors
from tests.billing.stories import (
    DAY,
    DAY0,
    FUNDS,
    HOUR,
    answered,
    case_after,
    charge_failed,
    failed,
    live,
    looked,
    subscription,
    usd,
)

LEARNED = replace(parse(read("standard"), "standard.toml"), mode=Mode.OWN, model=priors())
WEAVE = replace(LEARNED, mode=Mode.WEAVE)
CASE = RecoveryCase(
    *("self", False, "in_1", "cus_1", "sub_1", usd(4900), "standard@2", DAY0, DAY0, DAY0 + 28 * DAY),
    decline=FUNDS,
    decline_at=DAY0,
    decline_class=DeclineClass.INSUFFICIENT_FUNDS,
    brand="visa",
    country="US",
    funding="debit",
    method="card",
)


def asked(case: RecoveryCase, day: float = 0, policy: Policy = LEARNED) -> Wait:
    return next_attempt(case, policy, DAY0 + day * DAY)


def refused(*days: float) -> dict[str, Any]:
    made = tuple(Attempt(n, DAY0 + day * DAY, Answer.DECLINED) for n, day in enumerate(days, 1))
    last = DAY0 + days[-1] * DAY
    return {"attempts": made, "last_failed_at": last, "decline_at": last}


def test_the_model_chooses_and_says_why_and_which_it_was() -> None:
    wait = asked(CASE)
    assert wait.until is not None
    assert wait.plan is not None
    assert (wait.plan.model, wait.plan.at) == ("prior-3", wait.until)
    assert 0 < wait.plan.told < 1
    assert wait.because.endswith("(model prior-3)")
    assert len(wait.because.split("; ")) == 3


LATER = Decline("card_declined", "insufficient_funds", network_advice_code="30")  # Mastercard: again after ten days


@pytest.mark.parametrize(
    "known",
    [
        {},
        refused(3.2),
        refused(3.2, 8.1),
        {"decline": Decline("card_declined", "x")},
        {"decline": LATER, "brand": "mastercard"},
        {"refusal": Refusal(DAY0, "some-rule", DAY0 + 9 * DAY, "some-rule: used up")},
    ],
)
def test_the_same_case_is_planned_for_the_same_moment_whenever_it_is_asked(known: dict[str, Any]) -> None:
    case = replace(CASE, **known)
    last = (case.last_failed_at - DAY0) / DAY
    due = asked(case, last).until
    assert due is not None
    until = (due - DAY0) / DAY
    asked_at = [last + (until - last) * part / 7 for part in range(8)]
    assert {asked(case, day).until for day in asked_at} == {due}
    assert asked(case, until + 0.2).until == due  # five hours late: it is made now


SECONDS = st.integers(0, 27 * 86_400)


@given(first=SECONDS, later=SECONDS, stripe=st.none() | SECONDS, mode=st.sampled_from([LEARNED, WEAVE]))
def test_asking_between_changes_nothing(first: int, later: int, stripe: int | None, mode: Policy) -> None:
    before, after = sorted((first, later))
    case = replace(CASE, stripe_next_attempt=None if stripe is None else DAY0 + timedelta(seconds=stripe))
    once = next_attempt(case, mode, DAY0 + timedelta(seconds=before))
    again = next_attempt(case, mode, DAY0 + timedelta(seconds=after))
    if once.until and once.until >= DAY0 + timedelta(seconds=after):
        assert again.until == once.until


@given(
    decline=st.sampled_from(["insufficient_funds", "do_not_honor", "issuer_not_available", "generic_decline"]),
    days=st.lists(st.floats(0.1, 27), max_size=5, unique_by=lambda day: int(day * 4)),
    stripe=st.none() | SECONDS,
    now=st.floats(0, 28),
)
def test_no_plan_breaks_a_promise(decline: str, days: list[float], stripe: int | None, now: float) -> None:
    known = refused(*sorted(days)) if days else {}
    stripes = None if stripe is None else DAY0 + timedelta(seconds=stripe)
    case = replace(CASE, decline=Decline("card_declined", decline), stripe_next_attempt=stripes, **known)
    at = DAY0 + now * DAY
    until = next_attempt(case, WEAVE, at).until
    if until is None:
        return
    acts = max(until, at)
    assert acts < case.deadline
    assert until - case.last_failed_at >= WEAVE.min_gap
    assert stripes is None or abs(acts - stripes) >= WEAVE.stripe_distance
    if stripes is None:
        assert 6 <= ((acts - 6 * HOUR).hour + (acts - 6 * HOUR).minute / 60) <= 22  # in Chicago


# (what is different about the case or policy, why the ladder stands in)
THIN: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"decline": None}, {}, "what the bank answered is not known yet"),
    ({"country": None}, {}, "the country of the card is not known"),
    ({"country": "AQ"}, {}, "the time zone of AQ is not known"),
    ({}, {"zones": {"US": "America/Nowhere"}}, "the time zone of US is not known"),
    ({}, {"zones": {}}, "the time zone of US is not known"),
    ({}, {"model": None}, "no model is in use"),
]


@pytest.mark.parametrize(("known", "lacking", "why"), THIN)
def test_where_the_model_has_too_little_to_go_by_the_ladder_stands_in(
    known: dict[str, Any], lacking: dict[str, Any], why: str
) -> None:
    wait = asked(replace(CASE, **known), policy=replace(LEARNED, **lacking))
    assert wait.until == DAY0 + 2 * DAY
    assert wait.plan is None
    assert "rung 1" in wait.because
    assert why in wait.because


def test_a_ladder_policy_never_asks_the_model() -> None:
    wait = asked(CASE, policy=replace(LEARNED, retry=Retry(Strategy.LADDER)))
    assert wait.until == DAY0 + 2 * DAY
    assert "by the ladder" not in wait.because


def test_the_advice_of_the_network_is_a_floor() -> None:
    wait = asked(replace(CASE, decline=LATER, brand="mastercard"))
    assert wait.until is not None
    assert wait.until >= DAY0 + 10 * DAY
    assert "mastercard" in wait.because


def test_a_refusal_by_a_rule_is_a_floor_and_is_said() -> None:
    until = DAY0 + 9 * DAY
    wait = asked(replace(CASE, refusal=Refusal(DAY0 + DAY, "some-rule", until, "some-rule: used up")), 1)
    assert wait.until is not None
    assert wait.until >= until
    assert "some-rule" in wait.because


@pytest.mark.parametrize("known", [{"stripe_attempts": 14}, {"max_tries": 1, **refused(3)}, refused(*range(1, 15))])
def test_caps_hold_for_the_model_too(known: dict[str, Any]) -> None:
    assert asked(replace(CASE, **known), 15).until is None


def test_quiet_hours_are_the_customers() -> None:
    retry = replace(LEARNED.retry, quiet=(0.0, 15.0))
    for country, ahead in (("US", -6), ("JP", 9)):
        case = replace(CASE, country=country)
        until = asked(case, policy=replace(LEARNED, retry=retry)).until
        assert until is not None
        assert (until + ahead * HOUR).hour >= 15, country


def test_exploring_is_bounded_and_marked() -> None:
    curious = replace(LEARNED, retry=replace(LEARNED.retry, explore=0.1))
    plans = [asked(replace(CASE, invoice=f"in_{n}"), policy=curious).plan for n in range(300)]
    explored = [plan for plan in plans if plan and plan.explored]
    assert 5 <= len(explored) <= 60
    assert all("to learn from it" in plan.because for plan in explored)
    usual = {
        asked(replace(CASE, invoice=f"in_{n}"), policy=replace(LEARNED, retry=Retry(Strategy.LEARNED))).until
        for n in range(9)
    }
    assert len(usual) == 1


# ---------------------------------------------------------------- what a case tells


def test_one_refusal_told_by_several_sources_counts_once() -> None:
    card = Card("fp_1", "visa", country="US", funding="debit")
    read = looked(0.001, decline=FUNDS, card=card, method=PaymentMethod("pm_1", "cus_1", "card"))
    case = case_after(
        failed(0), charge_failed(0.0002, FUNDS, card=card), read, answered(3, 1, Answer.DECLINED, FUNDS), policy=LEARNED
    )
    assert [(each.at, each.code) for each in tries_of(case)] == [
        (DAY0, "insufficient_funds"),
        (DAY0 + 3 * DAY, "insufficient_funds"),
    ]
    assert (case.country, case.funding, case.method) == ("US", "debit", "card")
    _, actions = live([failed(0), read], LEARNED)
    (retry,) = [action for action in actions if action.kind == "retry"]
    assert retry.detail["model"] == "prior-3"
    assert isinstance(retry.detail["told"], int)


def test_the_newest_card_is_told_whichever_source_comes_last() -> None:
    old, new = (charge_failed(day, FUNDS, card=Card("fp", "visa", country=c)) for day, c in ((0.1, "US"), (0.2, "FR")))
    bare = charge_failed(0.3, FUNDS, card=Card("fp", "visa"))
    for order in ((old, new, bare), (bare, new, old), (new, bare, old)):
        assert case_after(failed(0), *order).country == "FR"


def test_tenure_and_interval_come_from_the_subscription() -> None:
    began = subscription(0, started_at=DAY0 - 400 * DAY)
    case = replace(case_after(failed(0), began), country="US")
    facts = facts_of(case, LEARNED)
    assert (facts.interval, facts.tenure_months) == ("month", 13)


def test_earlier_failures_of_the_customer_are_told_with_the_local_day_they_were_paid() -> None:
    paid_at = DAY0 - 60 * DAY + 4 * HOUR  # Wednesday 31 December 16:00 UTC is 10:00 in Chicago
    case = replace(CASE, past=(Past(DAY0 - 62 * DAY, paid_at), Past(DAY0 - 31 * DAY)))
    facts = facts_of(case, LEARNED)
    assert (facts.past_failures, facts.past_recoveries) == (2, ((31, 2),))


def test_a_debit_is_known_by_the_method_and_draws_on_its_own_country() -> None:
    facts = facts_of(replace(CASE, method="sepa_debit", country=None, brand=None), LEARNED)
    assert facts.debit
    assert (facts.country, facts.utc_offset_h) == ("DE", 1.0)


def test_a_closed_case_ends_with_the_approval_if_a_retry_brought_the_money() -> None:
    paid_at = DAY0 + 5 * DAY
    ours = replace(CASE, attempts=(Attempt(1, paid_at, Answer.PAID),), paid_at=paid_at)
    assert [each.ok for each in ended_facts(ours, LEARNED).tries] == [False, True]
    by_hand = replace(CASE, paid_at=paid_at, paid_by_key="somebody", notices=(("payment_failed", "accepted"),))
    assert [each.ok for each in ended_facts(by_hand, LEARNED).tries] == [False]
    nobodys = replace(CASE, paid_at=paid_at)
    assert [each.ok for each in ended_facts(nobodys, LEARNED).tries] == [False]
    stripes = replace(nobodys, stripe_next_attempt=paid_at - HOUR)
    assert [each.ok for each in ended_facts(stripes, LEARNED).tries] == [False, True]


def test_a_refusal_whose_code_is_not_known_is_a_refusal() -> None:
    case = replace(CASE, noes=(No(DAY0, "insufficient_funds"), No(DAY0 + 5 * DAY)), last_failed_at=DAY0 + 5 * DAY)
    assert [(each.at, each.code) for each in tries_of(case)] == [
        (DAY0, "insufficient_funds"),
        (DAY0 + 5 * DAY, None),
    ]
