"""What a subscription is worth a month, as tables and properties."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.events import snapshots
from billing.events.snapshots import Discount
from billing.ledger.items import Item, items_of
from billing.ledger.mrr import half_up, level, monthly
from billing.ledger.policy import DEFAULT, STRIPE_LIKE

NOW = datetime(2026, 3, 5, tzinfo=UTC)
SEATS = Item("si", "pro", "1000", 1, "month")
GRADUATED = ((10, "500", None), (None, "300", None))
WITH_FLAT = ((5, None, "2000"), (None, "400", None))

PRICES = [
    # item -> minor units a month
    (SEATS, 1_000),
    (replace(SEATS, quantity=12), 12_000),
    (replace(SEATS, unit_amount="12000", interval="year"), 1_000),
    (replace(SEATS, unit_amount="9000", interval="quarter"), 3_000),
    (replace(SEATS, interval="week"), 4_333),
    (replace(SEATS, interval="day", interval_count=7), 4_333),
    (replace(SEATS, unit_amount="3000", interval="day", interval_count=30), 3_042),
    (replace(SEATS, unit_amount="24000", interval="year", interval_count=2), 1_000),
    (replace(SEATS, unit_amount="30", interval="year"), 3),  # 2.5 cents
    (replace(SEATS, unit_amount="0.5", quantity=1_000), 500),
    (replace(SEATS, quantity=0), 0),
    (replace(SEATS, interval=None), 0),
    (replace(SEATS, metered=True), 0),
    (replace(SEATS, interval="fortnight"), 0),
    (replace(SEATS, unit_amount=None), 0),
    (replace(SEATS, unit_amount="1190", tax_inclusive_pct="19"), 1_000),
    (replace(SEATS, unit_amount=None, tiers_mode="graduated", tiers=GRADUATED, quantity=25), 9_500),
    (replace(SEATS, unit_amount=None, tiers_mode="volume", tiers=GRADUATED, quantity=25), 7_500),
    (replace(SEATS, unit_amount=None, tiers_mode="graduated", tiers=WITH_FLAT, quantity=5), 2_000),
    (replace(SEATS, unit_amount=None, tiers_mode="graduated", tiers=WITH_FLAT, quantity=8), 3_200),
    (replace(SEATS, unit_amount=None, tiers_mode="volume", tiers=((5, "1", None),), quantity=8), 0),
    (replace(SEATS, quantity=12, transform=(5, "up")), 3_000),
    (replace(SEATS, quantity=12, transform=(5, "down")), 2_000),
]


@pytest.mark.parametrize(("item", "minor"), PRICES)
def test_a_price_by_the_month(item: Item, minor: int) -> None:
    assert level((item,), (), DEFAULT, NOW).total == minor


COUPONS = [
    # duration, policy, counts
    ("forever", DEFAULT, True),
    ("repeating", DEFAULT, True),
    ("once", DEFAULT, False),
    ("repeating", STRIPE_LIKE, False),
    ("once", replace(DEFAULT, coupon_once=True), True),
]


@pytest.mark.parametrize(("duration", "policy", "counts"), COUPONS)
def test_a_coupon_subtracts_by_the_policy(duration: str, policy: object, counts: bool) -> None:
    assert isinstance(policy, type(DEFAULT))
    made = level((SEATS,), (Discount("c", duration, "40"),), policy, NOW)
    assert made.total == (600 if counts else 1_000)


def test_a_coupon_counts_from_its_start_until_just_before_its_end() -> None:
    coupon = Discount("c", "repeating", "50", starts=NOW, ends=NOW + timedelta(days=90))
    instants = [NOW - timedelta(seconds=1), NOW, coupon.ends, coupon.ends and coupon.ends - timedelta(seconds=1)]
    assert [level((SEATS,), (coupon,), DEFAULT, at).total for at in instants if at] == [1_000, 500, 1_000, 500]


def test_an_items_own_coupon_comes_before_the_subscriptions() -> None:
    fixed, percent = Discount("a", "forever", amount_off=200), Discount("b", "forever", "50", item="si")
    assert level((SEATS,), (fixed, percent), DEFAULT, NOW).total == 300  # half first, then 2.00 off


def test_a_fixed_amount_comes_off_each_billing_rhythm_once() -> None:
    yearly = Item("sj", "extra", "120000", 1, "year")
    twelve = Discount("c", "forever", amount_off=1_200)
    made = level((replace(SEATS, unit_amount="10000"), yearly), (twelve,), DEFAULT, NOW)
    assert {each.item.id: each.minor for each in made.items} == {"si": 8_800, "sj": 9_900}


def test_stripes_item_becomes_the_ledgers_without_its_period() -> None:
    seen = snapshots.Item("si", "price_1", None, "500", 2, "month", usage_type="metered", period_end=NOW)
    assert items_of((seen,)) == (Item("si", "price_1", "500", 2, "month", price="price_1", metered=True),)


items = st.builds(
    Item,
    id=st.just("x"),
    product=st.sampled_from(["pro", "basic"]),
    unit_amount=st.decimals(0, 10**6, places=2).map(str),
    quantity=st.integers(0, 500),
    interval=st.sampled_from(["day", "week", "month", "quarter", "year"]),
    interval_count=st.integers(1, 24),
)
carts = st.lists(items, min_size=1, max_size=4).map(
    lambda each: tuple(replace(item, id=f"si_{number}") for number, item in enumerate(each))
)
coupons = st.lists(
    st.one_of(
        st.integers(0, 100).map(lambda percent: Discount("p", "forever", str(percent))),
        st.integers(0, 10**6).map(lambda off: Discount("f", "forever", amount_off=off)),
    ),
    max_size=3,
)


@settings(max_examples=10, deadline=None)
@given(carts, coupons)
def test_items_sum_to_the_subscription_and_a_coupon_only_lowers(cart: tuple[Item, ...], off: list[Discount]) -> None:
    """Invariants 18 and 19."""
    gross, net = level(cart, (), DEFAULT, NOW), level(cart, off, DEFAULT, NOW)
    assert gross.total == half_up(sum((monthly(item) for item in cart), Fraction(0)))
    for made in (gross, net):
        assert sum(each.minor for each in made.items) == made.total
    assert all(abs(each.minor - monthly(each.item)) < 1 for each in gross.items)
    assert 0 <= net.total <= gross.total
    one_more = level(cart, [Discount("p", "forever", "1"), *off], DEFAULT, NOW)
    assert one_more.total <= net.total


@settings(max_examples=10, deadline=None)
@given(items, st.integers(1, 6))
def test_equal_schedules_are_worth_the_same(item: Item, count: int) -> None:
    """Invariant 16."""
    for one, other in (("day", "week"), ("month", "year"), ("month", "quarter")):
        times = {"week": 7, "year": 12, "quarter": 3}[other]
        first = replace(item, interval=one, interval_count=times * count)
        assert monthly(first) == monthly(replace(item, interval=other, interval_count=count))
