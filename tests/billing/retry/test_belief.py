from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.retry.belief import Facts, Try, believe, chance_at
from billing.retry.calendars import is_payday, local_hours
from billing.retry.reasons import causes
from config.priors import priors
from tests.billing.retry.failures import DAY, FAILED, failure

MODEL = priors()
CODES = ["insufficient_funds", "do_not_honor", "generic_decline", "expired_card", "issuer_not_available", "never_heard"]


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("insufficient_funds", "funds"),
        ("do_not_honor", "funds"),  # about half of them hide missing funds
        ("issuer_not_available", "outage"),
        ("expired_card", "stale"),
        ("lost_card", "dead"),
        ("authentication_required", "authentication"),
        ("revocation_of_authorization", "leaving"),
    ],
)
def test_a_code_names_its_likeliest_cause(code: str, cause: str) -> None:
    assert next(iter(causes(believe(failure(code=code), MODEL)))) == cause


def test_a_replaced_card_is_likelier_on_a_yearly_invoice() -> None:
    month, year = (causes(believe(failure(code="do_not_honor", interval=each), MODEL)) for each in ("month", "year"))
    assert year["stale"] > 1.3 * month["stale"]


def test_a_refusal_after_friday_speaks_against_fridays() -> None:
    friday_noon = 3 * DAY + timedelta(hours=3)
    before, after = (believe(failure(*retries), MODEL) for retries in ((), (friday_noon,)))
    fridays = [
        sum(w for w, curve in zip(each.funds_weight, each.funds, strict=True) if curve.rule == "weekly-4")
        / sum(each.funds_weight)
        for each in (before, after)
    ]
    assert fridays[1] < 0.85 * fridays[0]


def test_former_payments_on_the_25th_make_it_the_likeliest_pay_day() -> None:
    belief = believe(failure(country="FR", utc_offset_h=1.0, past_recoveries=((25, 2), (25, 4))), MODEL)
    by_rule: dict[str, float] = {}
    for weight, curve in zip(belief.funds_weight, belief.funds, strict=True):
        by_rule[curve.rule] = by_rule.get(curve.rule, 0.0) + weight
    assert max(by_rule, key=lambda rule: by_rule[rule]) == "day-25"


def test_a_renewed_card_will_probably_pass() -> None:
    facts = failure(code="expired_card", card_updated_at=FAILED + 2 * DAY)
    belief = believe(facts, MODEL)
    assert belief.updated
    assert chance_at(belief, MODEL, local_hours(FAILED + 2 * DAY, -6.0)) > 0.85


def test_a_renewed_card_that_is_refused_is_judged_by_its_own_answer() -> None:
    tries = (Try(FAILED, False, "expired_card"), Try(FAILED + 3 * DAY, False, "insufficient_funds"))
    belief = believe(Facts(tries, FAILED + 28 * DAY, 4900, card_updated_at=FAILED + 2 * DAY), MODEL)
    assert not belief.updated
    assert next(iter(causes(belief))) == "funds"


def test_a_careful_bank_grows_more_careful_with_each_retry() -> None:
    one, three = believe(failure(DAY), MODEL), believe(failure(DAY, 1.2 * DAY, 1.4 * DAY), MODEL)
    assert three.block_caution[2] > one.block_caution[2] + 1


@given(
    st.lists(st.floats(0.1, 27), max_size=6),
    st.sampled_from(CODES),
    st.sampled_from(["credit", "debit", "prepaid", "bank", None]),
    st.sampled_from(["US", "DE", "BR", "JP", "XX", None]),
    st.floats(0.0, 30),
)
def test_chances_are_chances_and_weights_sum_to_one(
    days: list[float], code: str, funding: str | None, country: str | None, later: float
) -> None:
    facts = failure(*(DAY * day for day in sorted(days)), code=code, funding=funding, country=country)
    belief = believe(facts, MODEL)
    assert sum(causes(belief).values()) + belief.lenient == pytest.approx(1)
    assert 0 <= chance_at(belief, MODEL, belief.last + 24 * later) <= 1


@given(st.integers(1, 20))
def test_more_refusals_right_after_a_rules_pay_days_lower_it(count: int) -> None:
    """A rule loses weight with each pay-day that brought nothing."""
    days = [d for d in range(1, 27) if is_payday("weekly-4", int(local_hours(FAILED, -6.0) // 24) + d)][:count]
    shares = []
    for number in range(len(days) + 1):
        belief = believe(failure(*(DAY * day for day in days[:number])), MODEL)
        weekly = sum(w for w, c in zip(belief.funds_weight, belief.funds, strict=True) if c.rule == "weekly-4")
        shares.append(weekly / sum(belief.funds_weight))
    assert shares[-1] < shares[0]


def test_who_pays_by_bank_debit_is_believed_to_be_less_tight_than_who_pays_by_card() -> None:
    def tight(funding: str) -> float:
        belief = believe(failure(funding=funding, country="DE"), MODEL)
        share = sum(w for w, c in zip(belief.funds_weight, belief.funds, strict=True) if c.tightness.name == "tight")
        return share / sum(belief.funds_weight)

    assert tight("bank") < tight("debit")


def test_a_pay_day_that_is_no_custom_of_the_country_is_found_by_former_payments_on_it() -> None:
    def mondays(*former: tuple[int, int]) -> float:
        belief = believe(failure(past_recoveries=former), MODEL)
        return sum(w for w, c in zip(belief.funds_weight, belief.funds, strict=True) if c.rule == "weekly-0")

    assert 0 < mondays() < mondays((6, 0), (20, 0), (11, 0)) < 1
