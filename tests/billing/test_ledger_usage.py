"""What is billed by usage, whole-customer coupons and prices with tax in them, told by Stripe events."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from billing.events.occurrences import DiscountSeen, SubscriptionSeen
from billing.events.snapshots import Discount, Subscription
from billing.ledger.policy import CHARTMOGUL_LIKE, DEFAULT, PROFITWELL_LIKE, LedgerPolicy, NotAPolicy
from tests.billing.ledger_story import Company, lines, monthly, on

METERED = replace(monthly(0, "api"), id="si_api", unit_amount=None, usage_type="metered", quantity=0)


def metered_company() -> Company:
    """50.00 a month for seats, and calls by usage: 10.00, 40.00, 10.00, none."""
    company = Company()
    company.created(on("01-05"), items=(monthly(5_000), METERED))
    for month, minor in (("02", 1_000), ("03", 4_000), ("04", 1_000), ("05", 0)):
        at = on(f"{month}-05")
        bill = (("si_1", 5_000), ("si_api", minor))
        company.pays(at + timedelta(hours=2), f"in_{month}", 5_000 + minor, finalized_at=at, charged=bill)
    return company


USAGE = [
    (DEFAULT, []),
    (CHARTMOGUL_LIKE, [("02-05", 1_000), ("03-05", 3_000), ("04-05", -3_000), ("05-05", -1_000)]),
    # means of the last three: 10.00, 25.00, 20.00, 16.67
    (PROFITWELL_LIKE, [("02-05", 1_000), ("03-05", 1_500), ("04-05", -500), ("05-05", -333)]),
]


@pytest.mark.parametrize(("policy", "moved"), USAGE)
def test_usage_counts_as_the_policy_says_and_never_in_silence(
    policy: LedgerPolicy, moved: list[tuple[str, int]]
) -> None:
    made = metered_company().book(policy)
    assert lines(made)[0] == ("01-05", "new", 5_000)
    found = [(f"{each.effective_at:%m-%d}", each.amount.minor) for each in made.movements[1:]]
    assert found == moved
    assert {each.reason for each in made.movements[1:]} <= {"usage"}


def test_usage_of_a_customer_without_anything_else_is_new_business() -> None:
    company = Company()
    company.created(on("01-05"), items=(METERED,))
    company.pays(on("02-05"), minor=700, charged=(("si_api", 700),))
    assert lines(company.book(CHARTMOGUL_LIKE)) == [("02-05", "new", 700)]


def test_a_policy_that_nobody_knows_cannot_be_made() -> None:
    with pytest.raises(NotAPolicy, match="excluded, as_invoiced, included"):
        replace(DEFAULT, metered="mostly")


HALF = Discount("half", "forever", "50")


def coupon(
    change: str = "created", of: str | None = None, terms: Discount | None = HALF, id: str = "di_1"
) -> DiscountSeen:
    return DiscountSeen(of, "cus_1", terms, change, id)


def test_a_coupon_of_the_customer_lowers_every_subscription_without_one_of_its_own() -> None:
    company = Company()
    company.created(on("01-05"))
    own = Subscription(
        "sub_2", "cus_1", "active", "usd", (monthly(4_000),), discounts=(Discount("c", "forever", "10"),)
    )
    company.tell(on("01-05"), SubscriptionSeen(replace(own, created=on("01-05")), "created"))
    company.tell(on("03-05"), coupon())
    company.tell(on("05-05"), coupon("deleted", terms=None))
    assert lines(company.book())[2:] == [("03-05", "restructuring", -5_000), ("05-05", "expansion", 5_000)]


def test_a_coupon_that_was_there_before_the_subscription_counts_from_its_beginning() -> None:
    company = Company()
    company.tell(on("01-01"), coupon())
    company.created(on("01-05"))
    assert lines(company.book()) == [("01-05", "new", 5_000)]


def test_an_amount_in_another_currency_is_not_taken_off() -> None:
    company = Company()
    company.created(on("01-05"))
    company.tell(on("03-05"), coupon(terms=Discount("ten", "forever", None, 1_000, "eur")))
    assert lines(company.book()) == [("01-05", "new", 10_000)]


def test_terms_come_from_the_coupons_event_when_the_subscription_names_only_its_id() -> None:
    company = Company()
    company.created(on("01-05"))
    company.tell(on("03-05"), coupon(of="sub_1"))
    company.subscription(on("03-05"), discounts=(), discounts_complete=False)
    company.subscription(on("04-05"), items=(monthly(10_000, quantity=2),))
    company.tell(on("05-05"), coupon("deleted", of="sub_1", terms=None))
    company.subscription(on("05-05"), discounts_complete=True)
    assert lines(company.book())[1:] == [
        ("03-05", "restructuring", -5_000),
        ("04-05", "expansion", 5_000),
        ("05-05", "expansion", 10_000),
    ]


def test_a_coupon_told_by_its_event_and_by_the_subscription_counts_once() -> None:
    company = Company()
    company.created(on("01-05"))
    company.subscription(on("03-05"), discounts=(HALF,))
    company.tell(on("03-05"), coupon(of="sub_1"))
    assert lines(company.book())[1:] == [("03-05", "restructuring", -5_000)]


def test_tax_in_the_price_is_no_revenue() -> None:
    company = Company()
    company.created(on("01-05"), items=(replace(monthly(11_900), tax_inclusive_pct="19"),))
    assert lines(company.book()) == [("01-05", "new", 10_000)]
