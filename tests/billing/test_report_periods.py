"""Over which time, at which rates, and since when a report can be trusted."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest

from billing.report.currency import NoRate, Rates
from billing.report.period import NotAPeriod, Period
from billing.report.profile import Profile
from billing.report.statement import bridge_table
from tests.billing.report_story import JANUARY, LATER, at, company, lines, start


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-03", "2026-03-01", "2026-04-01"),
        ("2026-q4", "2026-10-01", "2027-01-01"),
        ("2026", "2026-01-01", "2027-01-01"),
        ("2026-01-15..2026-02-20", "2026-01-15", "2026-02-20"),
    ],
)
def test_a_period_is_written_in_one_of_four_ways(text: str, first: str, last: str) -> None:
    assert Period.of(text) == Period(date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(
    "text", ["", "2026-13", "2026-Q5", "20x6", "2026-02-01..2026-01-01", "x..y", "0000", "9999", "9999-12"]
)
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(NotAPeriod):
        Period.of(text)


def test_a_period_knows_those_before_it() -> None:
    assert [str(each.start) for each in Period.of("2026-Q1").back(3)] == ["2025-07-01", "2025-10-01", "2026-01-01"]
    assert Period.of("2025-12-01..2026-02-01").months() == (Period.of("2025-12"), Period.of("2026-01"))
    assert Period.of("2026-03").trailing(12) == Period.of("2025-04-01..2026-04-01")
    for text in ("2026-01-15..2026-02-15", "2026-01-01..2026-01-31"):
        with pytest.raises(NotAPeriod):
            Period.of(text).back(2)
        with pytest.raises(NotAPeriod):
            Period.of(text).trailing(12)


def test_a_rate_is_carried_over_a_weekend_and_not_over_a_month() -> None:
    rates = Rates.of("usd", [(date(2026, 1, 2), "EUR", Fraction("1.1")), (date(2026, 1, 5), "eur", Fraction("1.2"))])
    days = [date(2026, 1, day) for day in (1, 2, 4, 5, 12, 13)]
    assert [rates.on(day).get("eur") for day in days] == [None, *map(Fraction, ("1.1", "1.1", "1.2", "1.2")), None]


def test_a_missing_rate_names_its_currency_and_its_day() -> None:
    rates = Rates.of("usd", [(date(2026, 1, 1), "eur", Fraction("1.1"))])
    scope = company(start("s1", 1_000, currency="EUR"), rates=rates)
    with pytest.raises(NoRate, match="no closing rate from EUR to USD for 2026-02-01"):
        scope.bridge(JANUARY)
    with pytest.raises(NoRate, match="no opening rate from EUR to USD for 2026-02-01"):
        scope.bridge(Period.month("2026-02"))


def test_a_month_that_still_runs_closes_at_the_rates_of_today() -> None:
    rates = Rates.of("usd", [(date(2026, 1, 1), "eur", Fraction("1.1")), (date(2026, 1, 10), "eur", Fraction(1))])
    scope = company(start("s1", 1_000, currency="EUR"), rates=rates, until=at("01-12"))
    made = scope.bridge(JANUARY)
    assert (made.start, made.fx, made.end) == (1_100, -100, 1_000)
    row = lines(bridge_table(scope, [JANUARY]))[0]
    assert (row["nrr"], row["nrr_as_reported"]) == (1, Fraction(10, 11))


def test_a_report_over_a_time_before_the_first_fact_says_since_when_it_can_be_trusted() -> None:
    scope = company(start("s1", 1_000), start("s2", 700, currency="EUR"))
    assert scope.notes(Period.of("2025")) == (
        "The books begin on 2025-06-10; figures of a time before it cannot be trusted.",
        "Revenue in EUR is not in this report: no rates were given.",
    )
    assert scope.notes(JANUARY) == ("Revenue in EUR is not in this report: no rates were given.",)
    assert company().notes(JANUARY) == ("The books are empty: nothing can be said about this period.",)
    assert isinstance(scope.profile("s1", LATER), Profile)
