"""The failure rate: what of the volume attempted failed at the first attempt."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from fractions import Fraction

from billing.report.attempts import Attempts, attempts, attempts_table
from tests.billing.ledger_story import Company, on

MARCH = (date(2026, 3, 1), "usd")


def told(company: Company, zone: str = "UTC") -> dict[tuple[date, str], Attempts]:
    return attempts([company.facts], zone)


def test_a_failure_counts_once_and_in_the_month_of_its_first_attempt() -> None:
    company = Company()
    company.created(on("01-05"))
    company.pays(on("03-01"), "in_1", 30_000)
    company.fails(on("03-31"), "in_2", 10_000)
    company.fails(on("04-03"), "in_2", 10_000)
    company.pays(on("04-07"), "in_2", 10_000)
    assert told(company) == {MARCH: Attempts(2, 40_000, 1, 10_000)}
    assert told(company)[MARCH].rate == Fraction(1, 4)
    company.events = [*reversed(company.events), *company.events[:3]]
    assert told(company) == {MARCH: Attempts(2, 40_000, 1, 10_000)}
    (row,) = attempts_table(told(company), "usd").rows
    assert row[-1] == Fraction(1, 4)
    assert attempts_table(told(company), "eur").rows == ()


def test_the_month_is_the_companys_own() -> None:
    company = Company()
    company.fails(on("03-31", "23:30:00"))
    assert list(told(company, "Europe/Berlin")) == [(date(2026, 4, 1), "usd")]


def test_what_is_no_attempt_to_charge_a_renewal_is_left_out() -> None:
    company = Company()
    company.created(on("02-20"), trial_end=on("03-05"))
    company.pays(on("03-05", "11:00:00"), "in_trial")
    company.fails(on("03-06"), "in_first", billing_reason="subscription_create")
    company.fails(on("03-06"), "in_sent", collection_method="send_invoice")
    company.pays(on("03-06"), "in_cash", paid_out_of_band=True)
    company.pays(on("03-06"), "in_free", 0)
    company.fails(on("03-06"), "in_once", subscription=None, billing_reason="manual")
    assert told(company) == {}
    company.pays(on("04-05"), "in_next")
    assert told(company) == {(date(2026, 4, 1), "usd"): Attempts(1, 10_000, 0, 0)}


def test_imported_history_knows_failures_only_and_is_left_out() -> None:
    company = Company()
    company.fails(on("03-06"))
    company.events = [replace(event, id=f"import:in_1:{event.id}") for event in company.events]
    assert told(company) == {}
