"""What is known and moves nothing; who decided an end; and what is one day in the company's time zone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from billing.events.occurrences import SubscriptionSeen
from billing.ledger.movement import Known
from billing.ledger.policy import DEFAULT
from billing.report.currency import Currency
from billing.report.memos import Memo, memo_table, memos
from billing.report.period import Period
from tests.billing.ledger_story import Company, lines, monthly, on, past_due

USD = Currency("usd")


def memo(company: Company, month: str) -> Memo:
    return memos([company.book()], [(Period.month(month), USD)])[0]


def begun() -> Company:
    company = Company()
    company.created(on("01-05"), period_end=on("03-05"))
    return company


def test_an_announced_end_is_a_memo_until_it_comes() -> None:
    company = begun()
    company.subscription(on("02-10"), cancel_at_period_end=True)
    february = memo(company, "2026-02")
    assert (february.end, february.scheduled, february.scheduled_cases, february.committed) == (10_000, 10_000, 1, 0)
    assert company.book(until=on("02-20")).marks[0].due == on("03-05")
    assert lines(company.book(until=on("02-20"))) == [("01-05", "new", 10_000)]
    company.subscription(on("03-05"), status="canceled", ended_at=on("03-05"))
    assert (memo(company, "2026-03").scheduled, memo(company, "2026-03").end) == (0, 0)


def test_an_end_taken_back_leaves_no_trace() -> None:
    company = begun()
    before = company.book()
    company.subscription(on("02-10"), cancel_at=on("04-01"))
    company.subscription(on("02-12"), cancel_at=None)
    after = company.book()
    assert (after.movements, after.steps) == (before.movements, before.steps)
    assert [memo(company, month).scheduled for month in ("2026-02", "2026-03", "2026-04")] == [0, 0, 0]


def test_drafts_are_deferred_and_still_counted() -> None:
    company = begun()
    company.subscription(on("02-10"), pause_behavior="keep_as_draft")
    assert (memo(company, "2026-02").deferred, memo(company, "2026-02").end) == (10_000, 10_000)
    company.subscription(on("03-10"), pause_behavior=None)
    assert [mark.kind for mark in company.book().marks] == [Known.DEFERRED]
    assert (memo(company, "2026-02").deferred, memo(company, "2026-03").deferred) == (10_000, 0)


def test_from_drafts_to_void_is_no_longer_deferred_but_paused() -> None:
    company = begun()
    company.subscription(on("02-10"), pause_behavior="keep_as_draft")
    company.subscription(on("02-12"), pause_behavior="void")
    assert (memo(company, "2026-02").deferred, memo(company, "2026-03").end) == (0, 0)


def test_a_term_of_a_year_is_told_apart() -> None:
    company = begun()
    yearly = replace(monthly(120_000), interval="year")
    company.subscription(on("02-10"), items=(yearly,))
    assert (memo(company, "2026-01").yearly, memo(company, "2026-02").yearly) == (0, 10_000)


def test_books_one_by_one_come_to_the_same_memos_as_one_book() -> None:
    one, two = begun(), begun()
    two.subscription(on("02-10"), cancel_at_period_end=True)
    asked = [(Period.month("2026-02"), USD), (Period.month("2026-03"), USD)]
    apart = memos([one.book()], asked), memos([two.book()], asked)
    added = [(a.end + b.end, a.scheduled + b.scheduled) for a, b in zip(*apart, strict=True)]
    renamed = replace(
        two.book(),
        movements=tuple(replace(each, customer="cus_2") for each in two.book().movements),
        steps=tuple(replace(each, customer="cus_2") for each in two.book().steps),
        marks=tuple(replace(each, customer="cus_2") for each in two.book().marks),
    )
    assert [(each.end, each.scheduled) for each in memos([one.book(), renamed], asked)] == added
    assert len(memo_table(memos([renamed], asked), asked).rows) == 2


# ---------------------------------------------------------------- who decided (D19)

ENDED: dict[str, Any] = {"status": "canceled", "ended_at": on("03-20"), "cancel_reason": "cancellation_requested"}
ENDS: list[tuple[str, dict[str, Any], str | None, str]] = [
    ("03-01", {}, None, "voluntary_churn"),  # scheduled before the failure
    ("03-10", {}, None, "involuntary_churn"),  # scheduled after it, and nothing says by whom
    ("03-10", {"cancel_feedback": "too_expensive"}, None, "voluntary_churn"),  # the customer said why
    ("", {"cancel_feedback": "other"}, None, "voluntary_churn"),
    ("", {}, "staff_1", "involuntary_churn"),  # through the API with an open case
    ("03-01", {}, "dn1_x", "involuntary_churn"),  # by our own service
]


@pytest.mark.parametrize(("asked", "more", "key", "line"), ENDS)
def test_an_end_while_past_due_is_whose_the_evidence_says(
    asked: str, more: dict[str, Any], key: str | None, line: str
) -> None:
    company = Company()
    company.created(on("01-05"))
    if asked and asked < "03-05":
        company.subscription(on(asked), cancel_at=on("03-20"))
    company.fails(on("03-05"))
    company.subscription(on("03-05"), status="past_due")
    if asked > "03-05":
        company.subscription(on(asked), cancel_at=on("03-20"))
    company.now = replace(company.now, **ENDED, **more)
    company.tell(on("03-20"), SubscriptionSeen(company.now, "deleted", "past_due"), key=key)
    assert lines(company.book())[-1] == ("03-20", line, -10_000)


def test_our_own_end_of_a_subscription_that_owes_nothing_is_no_decision_of_the_customer() -> None:
    company = Company()
    company.created(on("01-05"))
    company.now = replace(company.now, **ENDED)
    company.tell(on("03-20"), SubscriptionSeen(company.now, "deleted"), key="dn1_x")
    assert lines(company.book())[-1][1] == "involuntary_churn"


def test_a_schedule_behind_a_mended_failure_counts_as_before_the_next() -> None:
    company = past_due(on("02-05"))
    company.subscription(on("02-06"), cancel_at=on("03-20"))
    company.pays(on("02-08"))
    company.subscription(on("02-08"), status="active")
    company.fails(on("03-05"), "in_2")
    company.subscription(on("03-05"), status="past_due")
    company.subscription(on("03-20"), **ENDED)
    assert lines(company.book())[-1][1] == "voluntary_churn"


def test_an_announced_end_comes_when_and_why_stripe_says() -> None:
    company = past_due(on("03-05"))
    company.subscription(on("03-10"), cancel_at=on("03-20"))
    late = on("03-20", "10:00:07")
    company.subscription(late, **ENDED | {"ended_at": late, "cancel_reason": "payment_failed"})
    last = company.book().movements[-1]
    assert (last.line, last.effective_at) == ("involuntary_churn", late)


# ---------------------------------------------------------------- one local day (D15)

DAYS = [("UTC", ["voluntary_churn", "reactivation"]), ("America/New_York", ["downgrade"])]


@pytest.mark.parametrize(("zone", "told"), DAYS)
def test_an_end_and_a_beginning_on_one_local_day_are_one_change(zone: str, told: list[str]) -> None:
    company = Company()
    company.created(on("01-05"))
    company.subscription(on("03-10", "23:50:00"), status="canceled", ended_at=on("03-10", "23:50:00"))
    company.now = replace(
        company.now, id="sub_2", status="active", ended_at=None, items=(replace(monthly(6_000, "basic"), id="si_2"),)
    )
    company.created(on("03-11", "00:10:00"))
    made = company.book(replace(DEFAULT, zone=zone))
    assert [line for day, line, _ in lines(made) if day in ("03-10", "03-11")] == told
