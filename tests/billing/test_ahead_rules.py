"""Which renewals deserve a warning, and when: a table for each kind."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from billing.ahead.experiment import Arm, arm_of
from billing.ahead.renewal import Renewal, Standing, good_until, renewal_of
from billing.ahead.rules import Due, Not, awake, due, send_at
from billing.ahead.warnings import NONE, CardExpiring, RenewalComing, Updater, Warn, Warnings
from billing.events.snapshots import Card, Discount, Item, PaymentMethod, Subscription
from billing.money import Amount
from billing.notices.sequence import AHEAD, Step

NOW = datetime(2026, 4, 10, 9, tzinfo=UTC)
ALL = Warnings(CardExpiring(on=True), RenewalComing(on=True, min_amount={"usd": 50_000}), Warn(on=True, days_before=7))
CARD, COMING, MISSING = Step.CARD_EXPIRING, Step.RENEWAL_COMING, Step.METHOD_MISSING


def day(month: int, day: int, year: int = 2026) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


def renews(at: datetime, minor: int | None = 2000, months: int = 1, **more: Any) -> Renewal:
    return Renewal("sub_1", "cus_1", at, months, None if minor is None else Amount(minor, "usd"), **more)


def card(year: int | None, month: int | None, brand: str = "visa", kind: str = "card") -> PaymentMethod:
    return PaymentMethod("pm_1", "cus_1", kind, Card("fp", brand, "4242", month, year))


def told(step: Step, stands: Standing, warnings: Warnings = ALL, now: datetime = NOW) -> datetime | str:
    """The time of the warning, or why there is none."""
    found = due(step, stands, warnings, now)
    return found.at if isinstance(found, Due) else found.because


LATER = "the card is still good at the renewal"
UNKNOWN = "what pays this renewal is not a card whose expiry is known"
OTHER = replace(ALL, card_expiring=CardExpiring(on=True, updater=Updater.IGNORE))
TRUSTING = replace(ALL, card_expiring=CardExpiring(on=True, updater=Updater.TRUST))


@pytest.mark.parametrize(
    ("method", "renewal_at", "warnings", "expected"),
    [
        # A card is good until its month is over.
        (card(2026, 4), day(4, 30), ALL, LATER),
        (card(2026, 5), day(5, 1), ALL, LATER),
        (card(2026, 4), day(5, 1), ALL, day(4, 24)),
        (card(2026, 12), day(1, 1, 2027), ALL, day(12, 25)),
        # A network with an updater is given its time: the last days only, and never before the card's last month.
        (card(2026, 4), day(5, 20), ALL, day(5, 13)),
        (
            card(2026, 5),
            day(6, 1),
            replace(ALL, card_expiring=CardExpiring(True, 60, updater_days_before=60)),
            day(5, 1),
        ),
        # Others are warned of as the policy says.
        (card(2026, 4, "diners"), day(5, 20), ALL, day(5, 6)),
        (card(2026, 4), day(5, 20), OTHER, day(5, 6)),
        (card(2026, 4), day(5, 20), TRUSTING, "the network's updater is expected to replace the card"),
        (card(2026, 4, "diners"), day(5, 20), TRUSTING, day(5, 6)),
        # What is not known is no reason to write.
        (card(None, None), day(5, 1), ALL, UNKNOWN),
        (card(2026, None), day(5, 1), ALL, UNKNOWN),
        (card(2026, 13), day(5, 1), ALL, UNKNOWN),
        (card(99, 4), day(5, 1), ALL, UNKNOWN),
        (PaymentMethod("pm_1", "cus_1", "sepa_debit"), day(5, 1), ALL, UNKNOWN),
        (None, day(5, 1), ALL, UNKNOWN),
        (card(2026, 4), day(5, 1), NONE, "the policy has this kind of warning switched off"),
    ],
)
def test_a_card_is_warned_of_when_a_renewal_falls_after_its_end(
    method: PaymentMethod | None, renewal_at: datetime, warnings: Warnings, expected: datetime | str
) -> None:
    assert told(CARD, Standing(renews(renewal_at), method), warnings) == expected


@pytest.mark.parametrize(
    ("renewal", "expected"),
    [
        (renews(day(5, 1), 120_000, 12), day(4, 17)),
        (renews(day(5, 1), 900, 24), day(4, 17)),
        (renews(day(5, 1), None, 12), day(4, 17)),  # usage decides; Stripe's preview will tell the amount
        (renews(day(5, 1), 50_000), day(4, 17)),
        (renews(day(5, 1), 49_999), "the period is short and the amount is not large"),
        (renews(day(5, 1), None), "the period is short and the amount is not large"),
        (
            replace(renews(day(5, 1)), amount=Amount(9_000_000, "jpy")),
            "the period is short and the amount is not large",
        ),
        (renews(day(5, 1), 0, 12), "nothing will be charged"),
        (renews(day(5, 1), 120_000, 12, trial=True), "a trial ends, which is no renewal"),
    ],
)
def test_a_large_renewal_is_announced(renewal: Renewal, expected: datetime | str) -> None:
    assert told(COMING, Standing(renewal, card(2030, 1))) == expected


@pytest.mark.parametrize(
    ("stands", "expected"),
    [
        (Standing(renews(day(5, 1)), None), day(4, 24)),
        (Standing(renews(day(5, 1), trial=True), None), day(4, 24)),
        (Standing(renews(day(5, 1)), None, known=False), "it is not known what the customer's default is"),
        (Standing(renews(day(5, 1)), card(2020, 1)), "there is a payment method"),
        (Standing(renews(day(5, 1), 0), None), "nothing, or too little, will be charged"),
    ],
)
def test_a_missing_payment_method_is_asked_for(stands: Standing, expected: datetime | str) -> None:
    assert told(MISSING, stands) == expected


@pytest.mark.parametrize("step", sorted(AHEAD))
def test_no_warning_comes_after_the_renewal_or_hours_before_it(step: Step) -> None:
    stands = Standing(renews(day(5, 1), 120_000, 12), None if step is MISSING else card(2026, 4))
    late = "the renewal is past, or too near to be of use"
    assert isinstance(due(step, stands, ALL, day(5, 1) - timedelta(hours=12)), Due)
    assert told(step, stands, now=day(5, 1) - timedelta(hours=11)) == late
    assert told(step, stands, now=day(5, 2)) == late


@pytest.mark.parametrize("step", [CARD, MISSING])
def test_a_small_renewal_is_left_alone(step: Step) -> None:
    small = replace(
        ALL,
        card_expiring=CardExpiring(True, min_amount={"usd": 2001}),
        method_missing=Warn(True, min_amount={"usd": 2001}),
    )
    method = None if step is MISSING else card(2026, 4)
    assert isinstance(due(step, Standing(renews(day(5, 1), 2000), method), small, NOW), Not)
    assert isinstance(due(step, Standing(renews(day(5, 1), 2001), method), small, NOW), Due)
    other = replace(renews(day(5, 1)), amount=Amount(1, "eur"))
    assert isinstance(due(step, Standing(other, method), small, NOW), Due)


def subject(step: Step, renewal: Renewal, method: PaymentMethod | None) -> str:
    found = due(step, Standing(renewal, method), ALL, NOW)
    assert isinstance(found, Due)
    return found.subject


def test_one_card_or_one_renewal_is_one_subject() -> None:
    assert subject(CARD, renews(day(5, 1)), card(2026, 4)) == "pm_1:2026-04"
    assert subject(CARD, replace(renews(day(5, 9)), subscription="sub_2"), card(2026, 4)) == "pm_1:2026-04"
    assert subject(CARD, renews(day(6, 1)), card(2026, 5)) == "pm_1:2026-05"
    assert subject(COMING, renews(day(5, 1), 120_000, 12), None) == "sub_1:2026-05-01"


# ---------------------------------------------------------------- what renews


ITEM = Item("si_1", "price_1", "prod_1", "2000", 1, "month", period_end=day(5, 1))
SEEN = Subscription("sub_1", "cus_1", "active", "usd", (ITEM,), period_end=day(5, 1))


@pytest.mark.parametrize(
    "change",
    [
        {"status": "past_due"},
        {"status": "canceled"},
        {"status": "paused"},
        {"collection_method": "send_invoice"},
        {"cancel_at_period_end": True},
        {"cancel_at": day(5, 1)},
        {"pause_behavior": "void"},
        {"period_end": None},
        {"customer": None},
    ],
)
def test_what_is_not_charged_by_itself_is_no_renewal(change: dict[str, Any]) -> None:
    assert renewal_of(SEEN, NOW) is not None
    assert renewal_of(replace(SEEN, **change), NOW) is None


@pytest.mark.parametrize(
    ("items", "discounts", "amount", "months"),
    [
        ((ITEM,), (), 2000, 1),
        ((replace(ITEM, quantity=3),), (), 6000, 1),
        ((replace(ITEM, interval="year", unit_amount="120000"),), (), 120_000, 12),
        ((replace(ITEM, interval_count=6),), (), 2000, 6),
        ((replace(ITEM, interval="week"),), (), 2000, 0),
        ((ITEM,), (Discount("c", "forever", percent_off="50"),), 1000, 1),
        ((replace(ITEM, usage_type="metered", quantity=0),), (), None, 0),
        # Flexible billing: only what ends its period now is charged now.
        (
            (ITEM, replace(ITEM, id="si_2", interval="year", unit_amount="120000", period_end=day(1, 1, 2027))),
            (),
            2000,
            1,
        ),
    ],
)
def test_the_amount_is_that_of_the_period_that_begins(
    items: tuple[Item, ...], discounts: tuple[Discount, ...], amount: int | None, months: int
) -> None:
    found = renewal_of(replace(SEEN, items=items, discounts=discounts), NOW)
    assert found is not None
    assert found.amount == (None if amount is None else Amount(amount, "usd"))
    assert found.months == months


def test_a_card_is_good_through_december() -> None:
    assert good_until(card(2026, 12)) == day(1, 1, 2027)


# ---------------------------------------------------------------- when on the customer's clock


@pytest.mark.parametrize(
    ("at", "zone", "expected"),
    [
        (datetime(2026, 4, 24, 0, tzinfo=UTC), "UTC", datetime(2026, 4, 24, 10, tzinfo=UTC)),
        (datetime(2026, 4, 24, 11, tzinfo=UTC), "UTC", datetime(2026, 4, 25, 10, tzinfo=UTC)),
        (datetime(2026, 4, 24, 0, tzinfo=UTC), "Asia/Tokyo", datetime(2026, 4, 24, 1, tzinfo=UTC)),
        (datetime(2026, 4, 24, 0, tzinfo=UTC), "America/New_York", datetime(2026, 4, 24, 14, tzinfo=UTC)),
        # The night in which summer time begins
        (datetime(2026, 3, 28, 23, 30, tzinfo=UTC), "Europe/Berlin", datetime(2026, 3, 29, 8, tzinfo=UTC)),
    ],
)
def test_messages_go_out_at_an_hour_of_the_customers_day(at: datetime, zone: str, expected: datetime) -> None:
    found = send_at(at, 10, ZoneInfo(zone))
    assert found == expected
    assert awake(found, ZoneInfo(zone))


# ---------------------------------------------------------------- the draw


def test_the_draw_is_the_same_for_everybody_who_asks_and_about_as_large_as_wanted() -> None:
    drawn = [arm_of("s", "acct_1", True, CARD, f"cus_{n}", 0.3) for n in range(4000)]
    assert drawn == [arm_of("s", "acct_1", True, CARD, f"cus_{n}", 0.3) for n in range(4000)]
    assert 0.27 < drawn.count(Arm.CONTROL) / len(drawn) < 0.33
    assert {arm_of("s", "a", True, CARD, f"cus_{n}", 0.0) for n in range(50)} == {Arm.TOLD}


@pytest.mark.parametrize(
    "other", [("t", "a", True, CARD), ("s", "b", True, CARD), ("s", "a", False, CARD), ("s", "a", True, COMING)]
)
def test_another_seed_account_mode_or_kind_is_another_draw(other: tuple[str, str, bool, Step]) -> None:
    mine = [arm_of("s", "a", True, CARD, f"cus_{n}", 0.5) for n in range(400)]
    theirs = [arm_of(*other, f"cus_{n}", 0.5) for n in range(400)]
    assert 140 < sum(a is b for a, b in zip(mine, theirs, strict=True)) < 260


def test_a_larger_control_group_keeps_those_who_were_in_it() -> None:
    small = {n for n in range(500) if arm_of("s", "a", True, CARD, f"cus_{n}", 0.2) is Arm.CONTROL}
    large = {n for n in range(500) if arm_of("s", "a", True, CARD, f"cus_{n}", 0.5) is Arm.CONTROL}
    assert small < large
