"""Recurring revenue beside the invoices of a quarter: every difference has one cause, and the causes add up."""

from __future__ import annotations

from typing import Any

import pytest

from billing.events.snapshots import Item
from billing.ledger.policy import DEFAULT
from billing.report.invoices import by_quarter
from billing.report.period import NotAPeriod, Period
from billing.report.scope import Scope
from tests.billing.ledger_story import Company, monthly, on
from tests.billing.report_story import lines

QUARTER = Period.of("2026-Q2")


def told(company: Company, quarter: Period = QUARTER) -> list[tuple[str, int, int]]:
    scope = Scope.of(company.book(DEFAULT), "usd")
    rows = lines(by_quarter(scope, [quarter], [*company.events, *company.events]))
    first, *causes, last = rows
    assert first["amount"] + sum(row["amount"] for row in causes) == last["amount"]
    return [(row["line"], row["subscriptions"], row["amount"]) for row in rows]


def company(**changes: Any) -> Company:
    made = Company()
    made.created(on("01-05"), **changes)
    return made


def test_a_quarter_of_paid_monthly_invoices_is_its_revenue() -> None:
    steady = company()
    for month in ("04", "05", "06"):
        steady.pays(on(f"{month}-05"), f"in_{month}")
    steady.pays(on("04-05"), "in_04")  # Stripe tells it twice, by two events
    steady.pays(on("07-05"), "in_07")
    assert told(steady) == [
        ("what recurring revenue stands for", 1, 30_000),
        ("paid by invoice", 1, 30_000),
    ]


def test_tax_on_the_invoice_is_the_rest() -> None:
    taxed = company()
    for month in ("04", "05", "06"):
        taxed.pays(on(f"{month}-05"), f"in_{month}", 11_900)
    assert told(taxed)[1] == ("tax, credit, proration, one-off lines and days of payment", 1, 5_700)


def test_a_yearly_invoice_is_billed_for_longer() -> None:
    yearly = company(items=(Item("si_1", "price_pro", "pro", "120000", 1, "year"),))
    yearly.pays(on("04-05"), "in_04", 120_000)
    assert told(yearly)[1:] == [
        ("billed for longer than a month, or shorter", 1, 90_000),
        ("paid by invoice", 1, 120_000),
    ]


def test_an_invoice_that_failed_is_the_cause_of_what_lacks() -> None:
    failing = company()
    failing.pays(on("04-05"), "in_04")
    failing.pays(on("05-05"), "in_05")
    failing.fails(on("06-15"), "in_06")
    failing.subscription(on("06-15"), status="past_due")
    assert told(failing)[1] == ("a payment failed", 1, -10_000)


def test_a_change_in_the_quarter_counts_for_the_days_it_held() -> None:
    changed = company()
    for month in ("04", "05", "06"):
        changed.pays(on(f"{month}-05"), f"in_{month}")
    changed.subscription(on("06-16", "00:00:00"), items=(monthly(40_000),))
    assert told(changed)[:2] == [
        ("what recurring revenue stands for", 1, 45_000),  # half of June at the old, half at the new price
        ("began, ended or changed in the quarter", 1, -15_000),
    ]


def test_revenue_without_any_invoice_is_told_apart() -> None:
    assert told(company())[1] == ("no paid invoice was seen", 1, -30_000)


def test_only_whole_months_are_compared_with_invoices() -> None:
    with pytest.raises(NotAPeriod):
        told(company(), Period.of("2026-04-15..2026-07-15"))
