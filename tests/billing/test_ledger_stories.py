"""Dated stories, told by Stripe events and read out of the books."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from billing.events.occurrences import (
    ChargeRefunded,
    DeadlinePassed,
    InvoicePaymentPaid,
    InvoiceUncollectible,
    InvoiceVoided,
    NoticeEnded,
    PaymentMethodSeen,
)
from billing.events.snapshots import Discount, Item, PaymentMethod
from billing.ledger.book import book
from billing.ledger.entry import balances, entries_of
from billing.ledger.interpret import ledger_events
from billing.ledger.movement import Outcome
from billing.ledger.policy import DEFAULT
from billing.ledger.vocabulary import Cause, Kind
from tests.billing.ledger_story import LATER, Company, lines, monthly, on, past_due, usd


def test_a_failed_payment_that_is_paid_is_a_pair_at_the_payment() -> None:
    company = past_due(on("03-05"))
    company.pays(on("03-09"), key="dn1_abc")
    company.subscription(on("03-09", "10:00:01"), status="active")
    made = company.book()
    assert lines(made) == [
        ("01-05", "new", 10_000),
        ("03-09", "involuntary_churn", -10_000),
        ("03-09", "recovered", 10_000),
    ]
    assert [(case.outcome, case.source, case.recovered) for case in made.cases] == [
        (Outcome.RECOVERED, "our_retry", 10_000)
    ]
    march = company.month("2026-03")
    assert (march.recovered_involuntary_churn, march.recovered_live, march.end) == (10_000, 10_000, 10_000)


def test_lost_and_then_paid_late_is_a_recovery_of_the_loss() -> None:
    company = past_due(on("03-05"))
    company.subscription(on("03-19"), status="unpaid")
    company.pays(on("03-28"))
    company.subscription(on("03-28"), status="active")
    made = company.book()
    assert lines(made)[1:] == [("03-19", "involuntary_churn", -10_000), ("03-28", "recovered", 10_000)]
    assert made.movements[2].loss == made.movements[1].key
    assert [(str(cash.kind), cash.amount.minor) for cash in made.cash] == [
        ("failed", 10_000),
        ("lost", 10_000),
        ("recovered_after_loss", 10_000),
    ]
    march = company.month("2026-03")
    assert (march.gross_involuntary_churn, march.recovered_involuntary_churn, march.end) == (10_000, 10_000, 10_000)


def test_paid_after_the_window_of_the_loss_is_a_return_and_no_recovery() -> None:
    company = past_due(on("03-05"))
    company.subscription(on("03-19"), status="unpaid")
    company.pays(on("04-20"))
    company.subscription(on("04-20"), status="active")
    assert lines(company.book())[1:] == [("03-19", "involuntary_churn", -10_000), ("04-20", "reactivation", 10_000)]


def test_a_subscription_canceled_for_non_payment_is_lost_and_its_invoice_paid_later_is_only_cash() -> None:
    company = past_due(on("03-05"))
    company.subscription(
        on("03-19"), "deleted", status="canceled", ended_at=on("03-19"), cancel_reason="payment_failed"
    )
    company.pays(on("03-25"))
    made = company.book()
    assert lines(made)[1:] == [("03-19", "involuntary_churn", -10_000)]
    assert [str(cash.kind) for cash in made.cash] == ["failed", "lost", "recovered_after_loss"]


def test_nothing_but_a_failure_is_lost_after_thirty_days() -> None:
    company = past_due(on("03-05"))
    waiting = company.book(until=on("04-04", "09:59:59"))
    assert (lines(waiting)[1:], waiting.next_due) == ([], on("04-04"))
    assert lines(company.book(until=on("04-04")))[1:] == [("04-04", "involuntary_churn", -10_000)]
    unlimited = replace(DEFAULT, max_past_due_days=None)
    assert lines(company.book(unlimited))[1:] == []


def test_our_own_deadline_is_a_loss_only_when_the_policy_says_so() -> None:
    company = past_due(on("03-05"))
    company.tell(on("03-20"), DeadlinePassed("in_1"), "reprieve.deadline")
    assert lines(company.book())[1:] == [("04-04", "involuntary_churn", -10_000)]
    assert lines(company.book(replace(DEFAULT, deadline_is_loss=True)))[1:] == [("03-20", "involuntary_churn", -10_000)]


CANCELLATIONS = [
    # reason, feedback, scheduled before -> cause
    ("payment_failed", None, False, Cause.PAYMENT_FAILED),
    ("payment_disputed", None, False, Cause.DISPUTE),
    ("cancellation_requested", "too_expensive", False, Cause.CUSTOMER),
    ("cancellation_requested", None, True, Cause.CUSTOMER),
    ("cancellation_requested", None, False, Cause.PAYMENT_FAILED),
    (None, None, False, Cause.PAYMENT_FAILED),
    (None, "unused", False, Cause.CUSTOMER),
]


@pytest.mark.parametrize(("reason", "feedback", "scheduled", "cause"), CANCELLATIONS)
def test_the_cause_of_an_end_while_past_due(
    reason: str | None, feedback: str | None, scheduled: bool, cause: Cause
) -> None:
    company = Company()
    company.created(on("01-05"))
    if scheduled:
        company.subscription(on("02-20"), cancel_at_period_end=True, period_end=on("03-31"))
    company.fails(on("03-05"))
    company.subscription(on("03-05"), status="past_due")
    company.subscription(
        on("03-09"),
        "deleted",
        status="canceled",
        ended_at=on("03-09"),
        cancel_reason=reason,
        cancel_feedback=feedback,
    )
    ends = [event.cause for event in ledger_events(company.facts) if event.kind is Kind.SUB_CANCEL]
    assert ends == [cause]
    outcome = Outcome.LOST if cause is Cause.PAYMENT_FAILED else Outcome.VOLUNTARY
    assert [case.outcome for case in company.book().cases] == [outcome]


def test_a_smaller_plan_inside_a_case_is_a_downgrade_and_the_rest_is_recovered() -> None:
    company = past_due(on("03-03"))
    company.subscription(on("03-08"), items=(monthly(6_000, "basic"),))
    company.pays(on("03-08", "10:05:00"))
    company.subscription(on("03-08", "10:05:00"), status="active")
    made = company.book()
    assert lines(made)[1:] == [
        ("03-08", "downgrade", -4_000),
        ("03-08", "involuntary_churn", -6_000),
        ("03-08", "recovered", 6_000),
    ]
    assert (made.cases[0].remeasured, made.cases[0].recovered, made.cases[0].at_close) == (-4_000, 6_000, 6_000)


def test_an_annual_renewal_that_fails_puts_a_twelfth_of_it_at_risk() -> None:
    company = Company()
    annual = Item("si_1", "price_year", "pro", "1200000", 1, "year")
    company.created(on("01-05"), items=(annual,))
    company.fails(on("03-05"), minor=1_200_000)
    company.subscription(on("03-05"), status="past_due")
    march = company.month("2026-03", replace(DEFAULT, max_past_due_days=None))
    assert (march.start, march.end, march.at_risk, march.at_risk_cases) == (100_000, 100_000, 100_000, 1)
    assert [cash.amount for cash in company.book(until=on("03-31")).cash] == [usd(1_200_000)]


def test_a_trial_counts_from_its_first_payment() -> None:
    company = Company()
    company.created(on("01-05"), status="trialing", trial_end=on("01-19"))
    company.pays(on("01-05"), id="in_0", minor=0, billing_reason="subscription_create")
    company.subscription(on("01-19"), status="active")
    company.fails(on("01-19", "11:00:00"))
    company.subscription(on("01-19", "11:00:01"), status="past_due")
    company.pays(on("01-23"))
    company.subscription(on("01-23", "10:00:01"), status="active")
    made = company.book()
    assert (lines(made), made.cases) == ([("01-23", "new", 10_000)], ())
    ungated = company.book(replace(DEFAULT, first_payment_gate=False))
    assert lines(ungated)[0] == ("01-19", "new", 10_000)
    assert [case.outcome for case in ungated.cases] == [Outcome.RECOVERED]


def test_a_first_payment_that_never_comes_is_neither_new_nor_churn() -> None:
    company = Company()
    company.created(on("01-05"), status="incomplete")
    company.fails(on("01-05"), billing_reason="subscription_create")
    company.subscription(on("01-06"), status="incomplete_expired", ended_at=on("01-06"))
    assert (company.book().movements, company.book().cases) == ((), ())


def test_a_voided_invoice_forgives_the_case() -> None:
    company = past_due(on("03-05"))
    company.tell(on("03-12"), InvoiceVoided(company.invoice("void")))
    company.subscription(on("03-12", "10:00:02"), status="active")
    made = company.book()
    assert (lines(made)[1:], made.cases[0].outcome) == ([], Outcome.FORGIVEN)
    assert [str(cash.kind) for cash in made.cash] == ["failed", "forgiven"]


def test_writing_off_the_invoice_with_the_subscription_is_a_loss() -> None:
    company = past_due(on("03-05"))
    company.tell(on("03-19"), InvoiceUncollectible(company.invoice("uncollectible"), "max_payment_attempts"))
    company.subscription(
        on("03-19", "10:00:02"), "deleted", status="canceled", ended_at=on("03-19"), cancel_reason="payment_failed"
    )
    assert [case.outcome for case in company.book().cases] == [Outcome.LOST]


def test_paying_one_of_two_failed_invoices_does_not_bring_the_subscription_back() -> None:
    company = past_due(on("03-05"))
    company.fails(on("04-03"), id="in_2")
    company.pays(on("04-03", "12:00:00"), id="in_1")
    made = company.book(until=on("04-03", "23:00:00"))
    assert made.cases[0].outcome is Outcome.OPEN
    company.pays(on("04-03", "13:00:00"), id="in_2")
    assert company.book().cases[0].outcome is Outcome.RECOVERED


def test_a_pause_stops_the_revenue_at_the_end_of_the_paid_period() -> None:
    company = Company()
    company.created(on("01-05"), period_end=on("03-01"))
    company.subscription(on("02-10"), pause_behavior="void")
    company.subscription(on("04-20"), pause_behavior=None)
    assert lines(company.book())[1:] == [("03-01", "downgrade", -10_000), ("04-20", "reactivation", 10_000)]


def test_a_repeating_coupon_restructures_and_its_end_expands() -> None:
    company = Company()
    company.created(on("01-05"))
    company.subscription(on("02-10"), discounts=(Discount("half", "repeating", "50", ends=on("05-10")),))
    assert lines(company.book())[1:] == [("02-10", "restructuring", -5_000), ("05-10", "expansion", 5_000)]


def test_a_renewal_that_changes_nothing_but_the_period_is_no_movement() -> None:
    company = Company()
    company.created(on("01-05"), items=(replace(monthly(10_000), period_end=on("02-05")),))
    company.subscription(on("02-05"), items=(replace(monthly(10_000), period_end=on("03-05")),))
    assert lines(company.book()) == [("01-05", "new", 10_000)]


SOURCES = [
    # key of the request, paid outside, card replaced, message taken -> source
    ("dn1_x", False, True, True, "our_retry"),
    (None, True, False, False, "outside_stripe"),
    (None, False, True, False, "card_updater"),
    (None, False, False, True, "stripe_retry"),
    ("staff_anna", False, True, True, "staff"),
    ("staff_anna", True, False, False, "outside_stripe"),
    ("other", False, False, True, "our_message"),
    ("other", False, False, False, "customer"),
]


@pytest.mark.parametrize(("key", "outside", "updated", "told", "source"), SOURCES)
def test_one_source_for_each_recovery(key: str | None, outside: bool, updated: bool, told: bool, source: str) -> None:
    company = past_due(on("03-05"))
    if updated:
        company.tell(on("03-06"), PaymentMethodSeen(PaymentMethod("pm_1", "cus_1", "card"), "automatically_updated"))
    if told:
        company.tell(on("03-07"), NoticeEnded("in_1", "first", "accepted"), "reprieve.notice")
    company.pays(on("03-09"), key=key, paid_out_of_band=outside)
    assert company.book().cases[0].source == source
    assert company.book().cases[0].evidence.startswith("invoice paid; ")


def test_a_refund_of_a_recovered_payment_is_cash_and_no_movement() -> None:
    company = past_due(on("03-05"))
    company.pays(on("03-09"))
    company.tell(on("03-09"), InvoicePaymentPaid("in_1", "pi_1", "ch_1", False, usd(10_000)))
    for total in (4_000, 10_000, 10_000):
        company.tell(on("03-20"), ChargeRefunded("ch_1", None, "cus_1", usd(total)))
    made = company.book()
    assert [(str(cash.kind), cash.amount.minor) for cash in made.cash][2:] == [("refunded", 4_000), ("refunded", 6_000)]
    assert lines(made)[-1] == ("03-09", "recovered", 10_000)


def test_facts_in_any_order_and_with_repetition_give_the_same_book() -> None:
    company = past_due(on("03-05"))
    company.pays(on("03-28"))
    company.subscription(on("03-28"), status="active")
    facts, wanted = company.facts, company.book()
    for order in itertools.permutations(facts):
        assert book(ledger_events([*order, order[0]]), DEFAULT, LATER) == wanted


def test_a_payment_and_the_failure_before_it_in_one_second_recover() -> None:
    company = Company()
    company.created(on("01-05"))
    company.pays(on("03-05"))
    company.fails(on("03-05"))
    company.subscription(on("03-05"), status="past_due")
    company.subscription(on("03-05"), status="active")
    assert [case.outcome for case in company.book().cases] == [Outcome.RECOVERED]


def test_the_books_of_a_story_balance_and_hold_the_level() -> None:
    company = past_due(on("03-05"))
    company.subscription(on("03-19"), status="unpaid")
    company.pays(on("03-28"))
    company.subscription(on("03-28"), status="active")
    sums = balances(entries_of(company.book()))
    assert sums == {
        ("", "good", "usd/mo"): 10_000,
        ("", "new", "usd/mo"): -10_000,
        ("", "involuntary_churn", "usd/mo"): 10_000,
        ("", "recovered", "usd/mo"): -10_000,
        ("", "receivable", "usd"): -10_000,
        ("", "cash_collected", "usd"): 10_000,
    }
