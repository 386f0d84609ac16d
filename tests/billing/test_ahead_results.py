"""What may be concluded from the arms, and what not yet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from billing.ahead.experiment import Arm
from billing.ahead.results import FEWEST, Results, Seen, needed, results
from billing.money import Amount
from billing.notices.sequence import Step

AT = datetime(2026, 4, 1, tzinfo=UTC)


def arm(which: Arm, failed: int, of: int, gone: int = 0) -> list[Seen]:
    ends = ["failed"] * failed + ["gone"] * gone + ["paid"] * (of - failed - gone)
    return [Seen(f"{which}_{n}", which, AT, end, mrr=Amount(1000, "usd/mo")) for n, end in enumerate(ends)]


def compared(told: list[Seen], control: list[Seen]) -> Results:
    return results(Step.CARD_EXPIRING, [*told, *control])


@pytest.mark.parametrize(
    ("told", "control", "verdict"),
    [
        ([], [], "Nobody was to be warned yet."),
        (arm(Arm.TOLD, 1, 500), [], "There is no control group, so nothing can be said of what the messages do."),
        (arm(Arm.TOLD, 0, 500), arm(Arm.CONTROL, 90, 99), "Nothing can be concluded yet: 500 told and 99 control"),
        (arm(Arm.TOLD, 20, 200), arm(Arm.CONTROL, 24, 200), "No effect on failed renewals is shown"),
        (arm(Arm.TOLD, 10, 200), arm(Arm.CONTROL, 40, 200), "Fewer renewals fail when customers are told"),
        (arm(Arm.TOLD, 40, 200), arm(Arm.CONTROL, 10, 200), "More renewals fail when customers are told"),
    ],
)
def test_the_verdict_says_no_more_than_the_numbers(told: list[Seen], control: list[Seen], verdict: str) -> None:
    assert compared(told, control).verdict.startswith(verdict)


def test_customers_who_leave_because_they_were_reminded_are_named() -> None:
    said = compared(arm(Arm.TOLD, 10, 200, gone=60), arm(Arm.CONTROL, 40, 200, gone=10)).verdict
    assert "More of the told left before the renewal (+25.0 points)" in said
    assert "left" not in compared(arm(Arm.TOLD, 10, 200, gone=10), arm(Arm.CONTROL, 40, 200, gone=10)).verdict


def test_a_customer_counts_once_by_the_first_subject() -> None:
    again = Seen("told_0", Arm.TOLD, AT + timedelta(days=30), "failed")
    found = compared([again, *arm(Arm.TOLD, 0, 3)], [])
    assert (found.told.ended, found.told.failed.hits) == (3, 0)


def test_a_renewal_to_come_is_in_no_share() -> None:
    found = compared([*arm(Arm.TOLD, 1, 2), Seen("new", Arm.TOLD, AT)], arm(Arm.CONTROL, 1, 1))
    assert (found.told.ended, found.told.open, found.told.failed) == (2, 1, (1, 2))
    assert found.failed is not None
    assert found.failed.points == pytest.approx(-0.5)
    assert (found.told.mrr, found.told.mrr_failed) == ((Amount(2000, "usd/mo"),), (Amount(1000, "usd/mo"),))


def test_money_of_two_currencies_is_not_added() -> None:
    euro = Seen("e", Arm.TOLD, AT, "paid", mrr=Amount(5, "eur/mo"))
    assert compared([euro, *arm(Arm.TOLD, 0, 1)], []).told.mrr == (Amount(5, "eur/mo"), Amount(1000, "usd/mo"))


def test_a_difference_of_five_points_takes_hundreds_in_each_arm() -> None:
    assert FEWEST < needed(0.1) == 565
    assert needed(0.0) == 63  # where nothing ever failed the guess is cautious, and FEWEST holds
