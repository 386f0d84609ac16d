from __future__ import annotations

from dataclasses import replace

from billing.case import Attempt, RecoveryCase
from billing.declines import DeclineClass
from billing.events.occurrences import Answer
from billing.events.snapshots import Decline
from billing.retry.learned import Known, facts_of, planned
from config.priors import priors
from tests.billing.stories import DAY, DAY0, OWN, usd

CASE = RecoveryCase(
    "self",
    False,
    "in_1",
    "cus_1",
    "sub_1",
    usd(4900),
    "standard@1",
    DAY0,
    DAY0,
    DAY0 + 28 * DAY,
    decline=Decline("card_declined", "insufficient_funds"),
    decline_class=DeclineClass.INSUFFICIENT_FUNDS,
    brand="visa",
)
US = Known("US", -6.0, "debit", "month", 12)


def test_a_case_is_read_with_every_refusal_it_knows() -> None:
    refused = replace(CASE, attempts=(Attempt(1, DAY0 + 3 * DAY, Answer.DECLINED),), last_failed_at=DAY0 + 3 * DAY)
    facts = facts_of(refused, US)
    assert [each.at for each in facts.tries] == [DAY0, DAY0 + 3 * DAY]
    assert {each.code for each in facts.tries} == {"insufficient_funds"}
    assert (facts.country, facts.funding, facts.amount) == ("US", "debit", 4900)


def test_a_debit_is_known_by_its_brand() -> None:
    assert facts_of(replace(CASE, brand="sepa_debit"), US).debit


def test_the_plan_keeps_the_policys_distances_and_caps() -> None:
    choice = planned(CASE, OWN, priors(), DAY0, US)
    assert choice.at is not None
    assert choice.at >= DAY0 + OWN.min_gap
    floored = planned(CASE, OWN, priors(), DAY0, US, DAY0 + 9 * DAY, "some-rule: later")
    assert floored.at is not None
    assert floored.at >= DAY0 + 9 * DAY
    assert "some-rule" in floored.because
    assert planned(replace(CASE, stripe_attempts=8), OWN, priors(), DAY0, US).at is None


def test_stripes_own_attempt_is_kept_at_a_distance() -> None:
    usual = planned(CASE, OWN, priors(), DAY0, US).at
    assert usual is not None
    moved = planned(replace(CASE, stripe_next_attempt=usual), OWN, priors(), DAY0, US).at
    assert moved is not None
    assert abs(moved - usual) >= OWN.stripe_distance


def test_a_changed_card_is_tried_within_minutes() -> None:
    changed = DAY0 + 2 * DAY
    choice = planned(replace(CASE, method_changed_at=changed), OWN, priors(), changed, US)
    assert choice.at == changed + OWN.after_card_change
