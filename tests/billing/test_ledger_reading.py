"""How facts are kept, and how they are read when Stripe tells them late, twice or out of order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from billing.events import stripe_objects as read
from billing.events.occurrences import Answer, AttemptAnswered, Event, InvoicePaymentPaid, InvoiceRead, SubscriptionSeen
from billing.events.reading import Reader
from billing.ledger.facts import facts_of
from billing.ledger.interpret import ledger_events
from billing.ledger.movement import Outcome
from billing.ledger.vocabulary import Kind
from tests.billing.ledger_story import Company, lines, monthly, on, past_due, usd


def test_our_answered_attempt_is_enough_when_stripes_event_never_comes() -> None:
    company = past_due(on("03-05"))
    company.tell(on("03-09"), AttemptAnswered("in_1", 1, Answer.PAID, charge="ch_1"), "reprieve.attempt")
    assert [(case.outcome, case.source) for case in company.book().cases] == [(Outcome.RECOVERED, "our_retry")]


def test_an_older_invoice_paid_while_stripe_still_says_past_due_recovers_nothing_yet() -> None:
    company = past_due(on("03-05"))
    company.pays(on("03-09"))
    company.subscription(on("03-12"), items=(monthly(10_000, quantity=2),))
    assert company.now.status == "past_due"
    assert company.book(until=on("03-13")).cases[0].outcome is Outcome.OPEN


def test_snapshots_of_one_second_follow_each_others_statuses() -> None:
    """By event id the renewal's failure would come last, and the paid subscription would stay behind."""
    company = Company()
    company.created(on("01-05"))
    active, behind = (replace(company.now, status=status) for status in ("active", "past_due"))
    company.tell(on("03-05"), SubscriptionSeen(active, "updated", "past_due"))
    company.tell(on("03-05"), SubscriptionSeen(behind, "updated", "active"))
    company.fails(on("03-05"))
    company.subscription(on("03-20"), items=(monthly(10_000, quantity=2),))
    kinds = [event.kind for event in ledger_events(company.facts)]
    assert kinds.index(Kind.PAYMENT_SUCCEEDED) < kinds.index(Kind.SUB_ITEMS)


def test_a_read_that_is_older_than_it_looks_does_not_undo_a_recovery() -> None:
    company = past_due(on("03-05"))
    company.subscription(on("03-19"), status="unpaid")
    stale = company.now
    company.pays(on("03-28"))
    company.subscription(on("03-28"), status="active")
    company.tell(on("03-28", "10:00:03"), InvoiceRead(company.invoice("open"), stale), "reprieve.read")
    assert lines(company.book())[-1] == ("03-28", "recovered", 10_000)


def test_a_read_is_enough_when_stripe_told_nothing() -> None:
    company = Company()
    company.created(on("01-05"))
    now = replace(company.now, status="unpaid")
    company.tell(on("03-19"), InvoiceRead(company.invoice("open"), now), "reprieve.read")
    assert lines(company.book())[1:] == [("03-19", "involuntary_churn", -10_000)]


def test_our_attempt_is_the_source_even_when_stripes_event_does_not_name_our_key() -> None:
    company = past_due(on("03-05"))
    company.tell(on("03-09"), AttemptAnswered("in_1", 1, Answer.PAID, charge="ch_1"), "reprieve.attempt")
    company.pays(on("03-09", "10:00:02"))
    assert company.book().cases[0].source == "our_retry"


def test_a_subscription_first_seen_late_starts_when_it_says_and_says_so() -> None:
    company = Company()
    company.now = replace(company.now, created=on("01-05"), started_at=on("01-05"))
    company.fails(on("03-05"))
    company.subscription(on("03-05"), status="past_due")
    made = company.book(until=on("03-06"))
    assert lines(made) == [("01-05", "new", 10_000)]
    assert (str(made.movements[0].confidence), made.movements[0].evidence) == ("assumed", "first seen 2026-03-05")
    assert made.cases[0].opened.minor == 10_000


def test_an_event_that_does_not_name_its_customer_is_kept_for_whom_the_store_names() -> None:
    paid = InvoicePaymentPaid("in_1", "pi_1", "ch_1", False, usd(10_000))
    event = Event("evt_1", "invoice_payment.paid", on("03-05"), "acct_1", False, paid)
    assert facts_of(event) == ()
    assert [fact.customer for fact in facts_of(event, customer="cus_1")] == ["cus_1"]


def test_a_thin_event_and_its_snapshot_twin_are_one_fact() -> None:
    company = past_due(on("03-05"))
    thin = [replace(event, id=f"thin_{event.id}", snapshot_id=event.id) for event in company.events]
    twins = [fact for event in thin for fact in facts_of(event)]
    assert {fact.source for fact in twins} == {fact.source for fact in company.facts}


GERMAN = {"percentage": 19.0, "inclusive": True}
CITY = {"percentage": 1.5, "inclusive": True}
ON_TOP = {"percentage": 8.0, "inclusive": False}
RATES = [
    # the subscription's default rates, the item's own -> percent within the price
    ([], [], None),
    ([GERMAN], [], "19"),
    ([GERMAN], [CITY], "1.5"),
    ([], [GERMAN, CITY, ON_TOP], "20.5"),
    ([ON_TOP], [], None),
]


@pytest.mark.parametrize(("default", "own", "percent"), RATES)
def test_tax_within_a_price_comes_from_the_items_rates_or_the_subscriptions(
    default: list[Any], own: list[Any], percent: str | None
) -> None:
    row = {"id": "si_1", "tax_rates": own, "quantity": 1, "price": {"id": "p", "unit_amount": 1190}}
    told = {"id": "sub_1", "status": "active", "default_tax_rates": default, "items": {"data": [row]}}
    assert read.subscription(Reader(told)).items[0].tax_inclusive_pct == percent
    before = {"items": {"data": [{**row, "quantity": 2}]}}
    (item,) = read.previous_items(Reader(told), Reader(before)) or ()
    assert (item.quantity, item.tax_inclusive_pct) == (2, percent)


def line(item: str, amount: object, **more: Any) -> dict[str, Any]:
    return {"subscription_item": item, "amount": amount, **more}


def test_an_invoice_says_what_its_items_were_charged_as_far_as_they_may_be_usage() -> None:
    licensed = {"price": {"recurring": {"usage_type": "licensed"}}}
    metered = {"plan": {"usage_type": "metered"}}
    since_basil = {"parent": {"subscription_item_details": {"subscription_item": "si_2", "proration": False}}}
    lines_told = [
        line("si_0", 500, **licensed),
        line("si_1", 100, **metered),
        line("si_1", 11, **metered),
        line("si_1", -70, proration=True, **metered),
        {"amount": 5, **since_basil},
        line("si_3", "many"),
        {"amount": 900},
    ]
    told = {"id": "in_1", "currency": "usd", "amount_due": 1, "lines": {"data": lines_told}}
    assert read.invoice(Reader(told)).charged == (("si_1", 111), ("si_2", 5))
