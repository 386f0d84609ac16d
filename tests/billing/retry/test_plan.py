from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.retry.belief import Try
from billing.retry.calendars import local_hours
from billing.retry.plan import _gaps, choose
from config.priors import priors
from tests.billing.retry.failures import DAY, FAILED, failure, limits

MODEL = priors()
HOUR = timedelta(hours=1)


def test_missing_funds_wait_for_a_time_of_money_and_say_so() -> None:
    choice = choose(failure(), MODEL, limits(FAILED + HOUR), FAILED + HOUR)
    assert choice.at is not None
    assert "money was probably missing" in choice.because
    assert len(choice.because.split("; ")) == 3


def test_in_brazil_the_attempt_follows_the_fifth_business_day() -> None:
    # The charge fails on Friday, the 29th of May; the fifth business day of June is Friday the 5th.
    failed = datetime.fromisoformat("2026-05-29T15:00:00+00:00")
    brazil = failure(country="BR", utc_offset_h=-3.0)
    facts = type(brazil)(
        (
            Try(failed, False, "insufficient_funds"),
            *(Try(failed + d * DAY, False, "insufficient_funds") for d in (1, 3, 5)),
        ),
        failed + 28 * DAY,
        4900,
        utc_offset_h=-3.0,
        country="BR",
        funding="debit",
    )
    now = failed + 5 * DAY + HOUR
    choice = choose(facts, MODEL, limits(now, deadline=failed + 28 * DAY), now)
    assert choice.at is not None
    assert f"{choice.at:%Y-%m-%d}" == "2026-06-05"
    assert "Friday 5 June" in choice.because


def test_an_outage_is_tried_again_soon() -> None:
    choice = choose(failure(code="issuer_not_available"), MODEL, limits(FAILED), FAILED)
    assert choice.at is not None
    assert choice.at - FAILED < timedelta(days=2)
    assert "outage" in choice.because


def test_a_renewed_card_is_tried_at_once() -> None:
    updated = FAILED + 2 * DAY
    choice = choose(failure(code="expired_card", card_updated_at=updated), MODEL, limits(updated), updated)
    assert choice.at == updated + timedelta(minutes=30)
    assert choice.because.startswith("the card was renewed")


def test_a_dead_card_is_not_worth_an_attempt() -> None:
    choice = choose(failure(code="lost_card"), MODEL, limits(FAILED, refusal_share=0.05), FAILED)
    assert choice.at is None
    assert "the card or account is probably closed" in choice.because


def test_a_rule_that_says_not_before_is_named() -> None:
    floor = FAILED + 4 * DAY
    choice = choose(failure(), MODEL, limits(floor, because="mastercard-advice-27: after 4 days"), FAILED)
    assert choice.at is not None
    assert choice.at >= floor
    assert "mastercard-advice-27" in choice.because


def test_unknown_local_time_is_said() -> None:
    choice = choose(failure(utc_offset_h=None), MODEL, limits(FAILED), FAILED)
    assert "local time is not known" in choice.because


def test_nothing_is_left_at_the_cap_or_after_the_deadline() -> None:
    assert choose(failure(), MODEL, limits(FAILED, attempts_left=0), FAILED).at is None
    assert choose(failure(), MODEL, limits(FAILED), FAILED + 28 * DAY).at is None


def test_quiet_hours_and_stripes_own_attempt_are_left_alone() -> None:
    usual = choose(failure(), MODEL, limits(FAILED), FAILED).at
    assert usual is not None
    moved = choose(failure(), MODEL, limits(FAILED, avoid=(usual, DAY)), FAILED).at
    assert moved is not None
    assert abs(moved - usual) >= DAY
    quiet = choose(failure(), MODEL, limits(FAILED, quiet=(9.0, 15.0)), FAILED).at
    assert quiet is not None
    assert not 9 <= local_hours(quiet, -6.0) % 24 < 15


def test_exploring_is_rare_marked_and_stays_on_the_day() -> None:
    usual = choose(failure(), MODEL, limits(FAILED), FAILED)
    assert choose(failure(), MODEL, limits(FAILED), FAILED, dice=0.0) == usual
    tried = choose(failure(), MODEL, limits(FAILED, explore=0.02), FAILED, dice=0.01)
    assert usual.at is not None
    assert tried.at is not None
    assert tried.explored == (tried.at != usual.at)
    assert abs(tried.at - usual.at) < DAY
    assert choose(failure(), MODEL, limits(FAILED, explore=0.02), FAILED, dice=0.02) == usual


@pytest.mark.parametrize("retries", [0, 3, 8])
def test_a_refusal_of_the_same_kind_never_raises_the_gain(retries: int) -> None:
    gains = []
    for number in (retries, retries + 3):
        now = FAILED + (number + 1) * DAY
        gains.append(choose(failure(*(d * DAY for d in range(1, number + 1))), MODEL, limits(now), now).gain)
    assert gains[1] <= gains[0]


@given(st.lists(st.floats(0.1, 20), max_size=5), st.floats(0, 10), st.sampled_from(["US", "DE", "IN", None]))
def test_never_before_the_floor_nor_after_the_deadline_and_always_the_same(
    days: list[float], floor: float, country: str | None
) -> None:
    days = sorted(days)
    now = FAILED + DAY * (days[-1] if days else 0)
    facts = failure(*(DAY * day for day in days), country=country)
    within = limits(now + DAY * floor)
    choice = choose(facts, MODEL, within, now)
    assert choice == choose(facts, MODEL, within, now)
    assert 0 <= choice.chance <= 1
    assert choice.at is None or within.not_before <= choice.at < within.deadline


def test_a_wait_that_the_bank_will_ask_for_again_is_reckoned_with() -> None:
    """With 72 hours after every refusal fewer attempts can follow, so one is worth less than where they are free."""
    third = FAILED + 3 * DAY
    free = choose(failure(), MODEL, limits(third), third)
    held = choose(failure(), MODEL, limits(third, because="again after 72 hours"), third)
    assert held.at is not None
    assert held.at >= third
    assert held.gain <= free.gain


@pytest.mark.parametrize(
    ("wait", "expected"), [(0, (1, 2, 3, 5, 7)), (24, (1, 2, 3, 5, 7)), (72, (3, 5, 7)), (240, (3, 5, 7))]
)
def test_plans_keep_the_distance_that_a_rule_asks_for_now(wait: int, expected: tuple[int, ...]) -> None:
    held = limits(FAILED + wait * HOUR, because="a rule")
    assert _gaps(failure(), held) == expected
    assert _gaps(failure(), limits(FAILED + wait * HOUR)) == (1, 2, 3, 5, 7)  # it is only that late, no rule holds
    assert _gaps(failure(funding="bank"), held) == (5, 7)
