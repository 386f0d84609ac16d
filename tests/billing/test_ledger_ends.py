"""What the books say of each end that we make when nobody paid: lost to non-payment, whatever its form at Stripe."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from billing.events.occurrences import InvoiceUncollectible, InvoiceVoided, SubscriptionSeen
from billing.ledger.movement import Outcome
from tests.billing.ledger_story import Company, lines, monthly, on, past_due

OURS = "dn1_end"
FAILED, ENDED, AFTER = on("02-05"), on("02-26"), on("02-26", "10:00:05")


def changed(company: Company, at: datetime, key: str | None = OURS, change: str = "updated", **changes: Any) -> None:
    before, company.now = company.now, replace(company.now, **changes)
    company.tell(at, SubscriptionSeen(company.now, change, before.status), key=key)


def given_up(company: Company, at: datetime, status: str) -> None:
    invoice = company.invoice(status)
    company.tell(at, InvoiceVoided(invoice) if status == "void" else InvoiceUncollectible(invoice), key=OURS)


def ended(end: str, invoice: str | None = None) -> Company:
    """100 a month since January; February's renewal failed on the 5th, and the end was made on the 26th."""
    company = past_due(FAILED)
    match end:
        case "cancel":
            reason = {"cancel_reason": "cancellation_requested", "canceled_at": ENDED, "ended_at": ENDED}
            changed(company, ENDED, None, "deleted", status="canceled", **reason)  # a DELETE carries no key
        case "pause":
            changed(company, ENDED, pause_behavior="void", period_end=on("03-05"))
        case "unpaid":
            changed(company, ENDED, pause_behavior="keep_as_draft", period_end=on("03-05"))
        case "downgrade":
            changed(company, ENDED, items=(monthly(2_000, "basic"),))
        case "downgrade of one product":
            changed(company, ENDED, items=(monthly(2_000, "pro"),))
    if invoice:
        given_up(company, AFTER, invoice)
    if invoice == "void" and end != "cancel":
        changed(company, AFTER, status="active")  # Stripe does this by itself, and names our request
    return company


@pytest.mark.parametrize(
    ("end", "invoice", "lost", "left"),
    [
        ("cancel", None, 10_000, 0),
        ("cancel", "uncollectible", 10_000, 0),
        ("cancel", "void", 10_000, 0),
        ("pause", None, 10_000, 0),
        ("pause", "void", 10_000, 0),
        ("pause", "uncollectible", 10_000, 0),
        ("unpaid", None, 10_000, 0),
        ("downgrade", None, 8_000, 2_000),
        ("downgrade", "void", 8_000, 2_000),
        ("downgrade of one product", "uncollectible", 8_000, 2_000),
        ("leave", "void", 0, 10_000),  # forgiven: the subscription goes on at its price
        ("leave", "uncollectible", 0, 10_000),
    ],
)
def test_what_is_lost_at_the_end_is_involuntary_churn(end: str, invoice: str | None, lost: int, left: int) -> None:
    company = ended(end, invoice)
    february = company.month("2026-02")
    assert (february.gross_involuntary_churn, february.end) == (lost, left)
    assert (february.downgrade, february.restructuring, february.voluntary_churn) == (0, 0, 0)


def test_what_the_company_or_the_customer_changes_is_no_loss_to_non_payment() -> None:
    company = past_due(FAILED)
    changed(company, ENDED, "staff_1", items=(monthly(2_000, "basic"),))
    february = company.month("2026-02")
    assert (february.downgrade, february.gross_involuntary_churn) == (8_000, 0)


def test_a_pause_of_ours_that_is_lifted_and_paid_comes_back_as_a_recovery() -> None:
    company = ended("pause")
    changed(company, on("03-01"), None, pause_behavior=None)
    company.pays(on("03-02"))
    changed(company, on("03-02", "10:00:01"), None, status="active")
    assert ("03-02", "recovered", 10_000) in lines(company.book())
    assert [case.outcome for case in company.book().cases] == [Outcome.LOST]


def test_the_rest_of_a_downgrade_is_paid_and_in_good_standing_again() -> None:
    company = ended("downgrade")
    company.pays(on("02-28"), minor=10_000)
    changed(company, on("02-28", "10:00:01"), None, status="active")
    february = company.month("2026-02")
    assert (february.gross_involuntary_churn, february.recovered_involuntary_churn) == (10_000, 2_000)
    assert february.end == 2_000
