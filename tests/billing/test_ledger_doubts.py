"""What is certain is booked, what is not is listed: contradictions, identities, and why two figures differ."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from billing.events.occurrences import DiscountSeen, InvoiceVoided, SubscriptionSeen
from billing.events.snapshots import Discount, Invoice, Subscription
from billing.ledger.book import book
from billing.ledger.difference import CAUSES, differences, levels
from billing.ledger.identity import Circular, identities, members, renamed
from billing.ledger.interpret import ledger_events
from billing.ledger.policy import CHARTMOGUL_LIKE, DEFAULT, PRESETS, PROFITWELL_LIKE, STRIPE_LIKE, LedgerPolicy
from billing.ledger.problems import problems
from billing.ledger.recoveries import recoveries
from billing.money import Amount
from tests.billing.ledger_story import LATER, Company, lines, monthly, on, past_due
from tests.billing.test_bridge_properties import UNTIL, history

# ---------------------------------------------------------------- problems


def kinds(company: Company) -> list[tuple[str, str | None]]:
    return [(each.kind, each.subscription) for each in problems(company.facts)]


def test_a_clean_history_has_no_problems() -> None:
    company = past_due(on("03-05"))
    company.pays(on("03-09"))
    company.subscription(on("03-09"), status="active")
    company.subscription(on("05-09"), status="canceled", ended_at=on("05-09"))
    assert kinds(company) == []


def test_an_ended_subscription_that_changes_stays_ended_and_is_listed() -> None:
    company = Company()
    company.created(on("01-05"))
    company.subscription(on("03-05"), status="canceled", ended_at=on("03-05"))
    before = company.book()
    company.subscription(on("04-05"), status="active", items=(monthly(20_000),))
    assert kinds(company) == [("ended_changed", "sub_1")]
    assert company.book() == before
    assert "cus_1" in repr(problems(company.facts)[0])
    assert problems(company.facts)[0].what_to_do


def test_a_late_update_from_before_the_end_is_no_problem() -> None:
    company = Company()
    company.created(on("01-05"))
    running = company.now
    company.subscription(on("03-05"), status="canceled", ended_at=on("03-05"))
    company.tell(on("02-05"), SubscriptionSeen(running, "updated"))
    assert kinds(company) == []


def test_another_currency_is_listed_and_what_was_certain_stays_booked() -> None:
    company = Company()
    company.created(on("01-05"))
    company.subscription(on("03-05"), currency="eur", items=(monthly(90_000),))
    company.fails(on("04-05"))
    assert kinds(company) == [("currency_switch", "sub_1")]
    made = company.book(until=on("04-06"))
    assert lines(made) == [("01-05", "new", 10_000)]
    assert made.cases[0].opened == Amount(10_000, "usd/mo")


def test_an_invoice_of_a_subscription_never_seen_is_listed_once() -> None:
    company = Company()
    company.fails(on("03-05"))
    company.fails(on("03-09"))
    assert kinds(company) == [("never_seen", "sub_1")]
    assert company.book().movements == ()


LACKING = [
    ({"items_complete": False}, "items_incomplete"),
    ({"items": (replace(monthly(1), unit_amount=None),)}, "no_price"),
    ({"discounts_complete": False}, "discount_unknown"),
    ({"items": (replace(monthly(1), tax_behavior="inclusive"),)}, "tax_unknown"),
]


@pytest.mark.parametrize(("changes", "kind"), LACKING)
def test_what_a_figure_lacks_is_listed(changes: dict[str, Any], kind: str) -> None:
    company = Company()
    company.created(on("01-05"), **changes)
    assert kinds(company) == [(kind, "sub_1")]


def test_a_discount_whose_event_told_its_terms_is_no_problem() -> None:
    company = Company()
    company.created(on("01-05"), discounts_complete=False)
    company.tell(on("01-05"), DiscountSeen("sub_1", "cus_1", Discount("c", "forever", "10"), "created", "di_1"))
    assert kinds(company) == []


def test_an_invoice_that_was_paid_and_voided_is_listed() -> None:
    company = past_due(on("03-05"))
    company.pays(on("03-09"))
    company.tell(on("03-10"), InvoiceVoided(company.invoice("void")))
    assert ("paid_and_void", "sub_1") in kinds(company)


def test_an_invoice_in_another_currency_is_listed() -> None:
    company = past_due(on("03-05"))
    foreign = Amount(900, "eur")
    invoice: Invoice = replace(company.invoice("open", "in_2"), due=foreign, remaining=foreign)
    company.tell(on("03-06"), InvoiceVoided(invoice))
    assert kinds(company) == [("invoice_currency", "sub_1")]


def test_problems_do_not_depend_on_the_order_of_facts() -> None:
    company = Company()
    company.created(on("01-05"), items_complete=False)
    company.subscription(on("03-05"), currency="eur")
    company.subscription(on("04-05"), status="canceled", ended_at=on("04-05"))
    company.subscription(on("05-05"), status="active")
    facts = company.facts
    wanted = problems(facts)
    assert len(wanted) == 3
    assert problems([*reversed(facts), *facts]) == wanted


# ---------------------------------------------------------------- identities


def test_two_stripe_customers_that_are_one_account_do_not_churn_and_begin() -> None:
    company = Company()
    company.created(on("01-05"))
    company.subscription(on("03-05"), status="canceled", ended_at=on("03-05"))
    other = Subscription("sub_2", "cus_2", "active", "usd", (monthly(10_000),), created=on("03-05"))
    twin = Company()
    twin.tell(on("03-05", "12:00:00"), SubscriptionSeen(other, "created"))
    twin.events = [replace(event, customer="cus_2") for event in twin.events]
    events = ledger_events(company.facts) + ledger_events(twin.facts)
    alone = book(events, DEFAULT, LATER)
    assert {each.line.value for each in alone.movements} == {"new", "voluntary_churn"}
    together = book(renamed(events, identities([("cus_2", "cus_1")])), DEFAULT, LATER)
    assert lines(together) == [("01-05", "new", 10_000)]


STATEMENTS = [
    # statements, in their order -> who is booked as whom
    ([], {}),
    ([("b", "a")], {"b": "a"}),
    ([("b", "a"), ("b", "b")], {}),
    ([("c", "b"), ("b", "a")], {"c": "a", "b": "a"}),
    ([("b", "a"), ("b", "c")], {"b": "c"}),
    ([("b", "a"), ("b", "b"), ("a", "b")], {"a": "b"}),
]


@pytest.mark.parametrize(("statements", "known"), STATEMENTS)
def test_the_last_statement_about_a_customer_holds(statements: list[tuple[str, str]], known: dict[str, str]) -> None:
    assert identities(statements) == known


def test_a_circle_of_identities_is_refused() -> None:
    for statements in ([("b", "a"), ("a", "b")], [("b", "a"), ("c", "b"), ("a", "c")]):
        with pytest.raises(Circular):
            identities(statements)


def test_everybody_of_one_account_is_its_member() -> None:
    assert members({"b": "a", "c": "a", "y": "x"}) == {"a": {"a", "b", "c"}, "x": {"x", "y"}}


# ---------------------------------------------------------------- differences


@pytest.mark.parametrize("theirs", [STRIPE_LIKE, CHARTMOGUL_LIKE, PROFITWELL_LIKE])
def test_the_causes_of_every_difference_sum_to_it(theirs: LedgerPolicy) -> None:
    found = set()
    for seed in range(30):
        events = history(seed)
        random.Random(seed).shuffle(events)  # noqa: S311 - a story, not a secret
        at = UNTIL - timedelta(days=seed)
        sums: dict[tuple[str, str], int] = defaultdict(int, levels(book(events, DEFAULT, at)))
        for each in differences(events, at, DEFAULT, theirs):
            sums[each.subscription, each.amount.currency] += each.amount.minor
            found.add(each.cause)
        assert {key: minor for key, minor in sums.items() if minor} == levels(book(events, theirs, at))
    assert len(found) >= 2


def test_every_switch_of_a_policy_has_a_cause() -> None:
    switches = [switch for _, turned in CAUSES for switch in turned]
    assert sorted([*switches, "name"]) == sorted(LedgerPolicy.__slots__)
    assert set(PRESETS) == {"default", "stripe_like", "chartmogul_like", "profitwell_like"}


CAUSED = [
    ({"discounts": (Discount("c", "repeating", "50"),)}, "coupons for some months", 5_000),
    ({"discounts": (Discount("c", "once", "50"),)}, None, 0),
    ({"pause_behavior": "void", "period_end": on("04-05")}, "collection paused", 10_000),
]


@pytest.mark.parametrize(("changes", "cause", "minor"), CAUSED)
def test_why_stripe_shows_another_figure(changes: dict[str, Any], cause: str | None, minor: int) -> None:
    company = Company()
    company.created(on("01-05"))
    company.subscription(on("03-05"), **changes)
    found = differences(ledger_events(company.facts), on("06-01"))
    assert [(each.subscription, each.cause, each.amount.minor) for each in found] == (
        [("sub_1", cause, minor)] if cause else []
    )


def test_past_due_for_too_long_is_a_cause() -> None:
    company = past_due(on("03-05"))
    found = differences(ledger_events(company.facts), on("06-01"))
    assert [(each.cause, each.amount) for each in found] == [("past due for too long", Amount(10_000, "usd/mo"))]


# ---------------------------------------------------------------- recoveries


def test_a_recovery_says_who_brought_it_what_shows_that_and_how_long_it_lasted() -> None:
    company = past_due(on("03-05"))
    company.pays(on("03-09"), key="dn1_x")
    company.subscription(on("03-09"), status="active")
    company.subscription(on("04-20"), items=(monthly(4_000),))
    company.subscription(on("05-20"), status="canceled", ended_at=on("05-20"))
    (found,) = recoveries(company.book(until=on("06-01")))
    assert (found.source, found.amount, found.after_loss) == ("our_retry", Amount(10_000, "usd/mo"), False)
    assert "the key of our attempt" in found.evidence
    assert found.live == ((30, 10_000), (60, 4_000), (90, None))
    assert found.live_now == 0
    assert company.book().cases[0].evidence == found.evidence


def test_a_recovery_after_the_loss_keeps_its_source() -> None:
    company = past_due(on("03-05"))
    company.subscription(on("03-19"), status="unpaid")
    company.pays(on("03-28"), key="staff_anna_1")
    company.subscription(on("03-28"), status="active")
    (found,) = recoveries(company.book())
    assert (found.source, found.after_loss) == ("staff", True)
    assert found.evidence.endswith("asked for by the company's own tools")
