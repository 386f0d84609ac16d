"""The 25 invariants of the metrics definitions (section 5), each by its number: 1 to 15, about the bridge.

16 to 25, about levels, cases and entries, are in `test_invariants_books.py`.

The histories have three currencies, and every event may arrive late, twice and in any order. INVARIANT_EXAMPLES raises
the number of histories for each: `INVARIANT_EXAMPLES=1000 pytest tests/billing/test_invariants*.py`.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.ledger.book import book
from billing.ledger.items import Item
from billing.ledger.movement import Book
from billing.ledger.policy import CHARTMOGUL_LIKE, DEFAULT, PROFITWELL_LIKE, STRIPE_LIKE, LedgerPolicy
from billing.ledger.vocabulary import Kind, LedgerEvent
from billing.report.bridge import Basis, Bridge, bridge
from billing.report.currency import Currency
from billing.report.period import Period
from billing.report.products import by_product
from tests.billing.test_bridge_properties import (
    CLOSING,
    MONTHS,
    OPENING,
    RATED,
    SIGNS,
    START,
    SUMS,
    UNTIL,
    added,
    history,
    values,
)

EXAMPLES = int(os.environ.get("INVARIANT_EXAMPLES", "4"))
many = settings(max_examples=EXAMPLES, deadline=None)
FLAT = Currency("usd", OPENING, OPENING)
BASE_LINES = [name for name in SIGNS if name not in ("recovered_late", "new_business", "reactivation", "fx")]

stories = st.integers(0, 10**9)
chance = st.randoms(use_true_random=False)
months = st.sampled_from(MONTHS)
policies = st.sampled_from(
    [DEFAULT, DEFAULT, STRIPE_LIKE, CHARTMOGUL_LIKE, PROFITWELL_LIKE, replace(DEFAULT, unpaid_is_loss=False)]
)


def late(events: list[LedgerEvent], dice: random.Random) -> list[LedgerEvent]:
    """The same events, some learnt weeks after they happened, some twice, in any order."""
    told = [replace(each, recorded_at=each.at + timedelta(days=dice.choice([0, 0, 0, 3, 40, 90]))) for each in events]
    again = [replace(each, recorded_at=(each.recorded_at or each.at) + timedelta(days=9)) for each in told[::3]]
    told += again
    dice.shuffle(told)
    return told


def made(seed: int, policy: LedgerPolicy = DEFAULT) -> Book:
    return book(late(history(seed), random.Random(seed)), policy, UNTIL)  # noqa: S311 - a story, not a secret


def both(of: Book, month: Period) -> list[Bridge]:
    return [bridge(of, month, RATED, basis) for basis in Basis]


def lines(of: Bridge) -> dict[str, int]:
    return {name: getattr(of, name) for name in SIGNS}


def moved(of: Bridge, names: list[str]) -> int:
    return sum(SIGNS[name] * getattr(of, name) for name in names)


@many
@given(stories, policies, months)
def test_01_the_lines_lead_from_start_to_end(seed: int, policy: LedgerPolicy, month: Period) -> None:
    for each in both(made(seed, policy), month):
        assert each.start + moved(each, list(SIGNS)) == each.end


@many
@given(stories, policies, months)
def test_02_the_lines_of_the_base_lead_to_what_it_retained(seed: int, policy: LedgerPolicy, month: Period) -> None:
    of = made(seed, policy)
    one = bridge(of, month, RATED)
    assert one.start + moved(one, BASE_LINES) == one.retained
    base = sorted({step.customer for step in of.steps})
    kept = [bridge(of, month, RATED, customers=[name]) for name in base]
    assert sum(each.end - each.fx for each in kept if each.start) == one.retained


@many
@given(stories, policies, months)
def test_03_gross_and_net_display_differ_in_two_lines_only(seed: int, policy: LedgerPolicy, month: Period) -> None:
    one = bridge(made(seed, policy), month, RATED)
    net = one.net().check()
    assert one.gross_involuntary_churn - one.recovered_involuntary_churn == net.gross_involuntary_churn
    assert net.recovered_involuntary_churn == 0
    shown = {"gross_involuntary_churn", "recovered_involuntary_churn"}
    assert {name: value for name, value in values(one).items() if name not in shown} == {
        name: value for name, value in values(net).items() if name not in shown
    }
    assert (one.nrr, one.grr) == (net.nrr, net.grr)


@many
@given(stories, policies, months)
def test_04_recovered_is_never_more_than_gross_and_no_line_is_negative(
    seed: int, policy: LedgerPolicy, month: Period
) -> None:
    for each in both(made(seed, policy), month):
        assert 0 <= each.recovered_involuntary_churn <= each.gross_involuntary_churn
        assert all(value >= 0 for name, value in lines(each).items() if name != "fx")
        assert each.recovered_live <= each.recovered_involuntary_churn


@many
@given(stories, policies, months)
def test_05_gross_retention_is_the_lines_and_at_most_all_and_at_most_net(
    seed: int, policy: LedgerPolicy, month: Period
) -> None:
    one = bridge(made(seed, policy), month, RATED)
    if one.grr is None or one.nrr is None:
        assert one.start == 0
        return
    lost = one.downgrade + one.restructuring + one.voluntary_churn
    lost += one.gross_involuntary_churn - one.recovered_involuntary_churn
    assert one.grr == Fraction(one.start - lost, one.start)
    assert 0 <= one.grr <= min(Fraction(1), one.nrr)


@many
@given(stories, months, st.integers(0, 15))
def test_06_any_partition_adds_up(seed: int, month: Period, chosen: int) -> None:
    of = made(seed)
    names = sorted({step.customer for step in of.steps})
    one = [name for number, name in enumerate(names) if chosen >> number & 1]
    for basis in Basis:
        parts = [bridge(of, month, RATED, basis, customers=part) for part in (one, [n for n in names if n not in one])]
        assert added(parts, SUMS) == values(bridge(of, month, RATED, basis))
    whole, products = bridge(of, month, RATED), by_product(of, month, RATED).values()
    assert sum(row.start for row in products) == whole.start
    assert sum(row.end for row in products) == whole.end - whole.fx
    assert sum(row.transfer_in for row in products) == sum(row.transfer_out for row in products)
    for row in products:
        gained = row.transfer_in + row.expansion + row.cross_sell + row.new_business
        assert row.start + gained - row.transfer_out - row.loss == row.end


@many
@given(stories, policies)
def test_07_a_period_opens_where_the_one_before_closed(seed: int, policy: LedgerPolicy) -> None:
    parts = [bridge(made(seed, policy), month, FLAT) for month in MONTHS]
    assert [each.end for each in parts[:-1]] == [each.start for each in parts[1:]]


@many
@given(stories, policies, st.integers(1, 6))
def test_08_activity_adds_up_over_time(seed: int, policy: LedgerPolicy, cut: int) -> None:
    of = made(seed, policy)
    middle = MONTHS[cut].start
    periods = [Period(date(2026, 1, 1), middle), Period(middle, date(2026, 8, 1))]
    parts = [bridge(of, period, FLAT, Basis.ACTIVITY) for period in periods]
    whole = bridge(of, Period(date(2026, 1, 1), date(2026, 8, 1)), FLAT, Basis.ACTIVITY)
    split = ("recovered_involuntary_churn", "recovered_late")  # their sum is additive, the split is not
    alone = [name for name in SIGNS if name not in split]
    assert added(parts, alone) == {name: getattr(whole, name) for name in alone}
    together = [sum(getattr(each, name) for name in split) for each in (*parts, whole)]
    assert sum(together[:-1]) == together[-1]


@many
@given(stories, policies, months)
def test_09_both_bases_start_and_end_at_the_same_figures(seed: int, policy: LedgerPolicy, month: Period) -> None:
    netted, activity = both(made(seed, policy), month)
    assert (netted.start, netted.end, netted.fx) == (activity.start, activity.end, activity.fx)
    assert activity.start + moved(activity, list(SIGNS)) == activity.end


@many
@given(stories, policies, chance)
def test_10_order_and_repetition_mean_nothing(seed: int, policy: LedgerPolicy, dice: random.Random) -> None:
    events = history(seed)
    wanted = book(events, policy, UNTIL)
    assert book(late(events, dice), policy, UNTIL) == wanted


@many
@given(stories, policies)
def test_11_levels_are_the_sums_of_movements_and_never_negative(seed: int, policy: LedgerPolicy) -> None:
    of = made(seed, policy)
    running: dict[tuple[str, str], int] = defaultdict(int)
    for movement in sorted(of.movements, key=lambda each: each.effective_at):
        running[movement.customer, movement.amount.unit] += movement.amount.minor
    held: dict[tuple[str, str], int] = defaultdict(int)
    for step in {step.subscription: step for step in of.steps}.values():
        held[step.customer, f"{step.currency}/mo"] += step.minor
    assert len({movement.key for movement in of.movements}) == len(of.movements)
    assert all(step.minor >= 0 for step in of.steps)
    assert {key: each for key, each in running.items() if each} == {key: each for key, each in held.items() if each}
    standing = {each.customer: each.alive for each in of.standings}
    assert not any(held[key] for key in held if not standing.get(key[0], False))


@many
@given(stories, months)
def test_12_closing_rates_change_neither_ratio(seed: int, month: Period) -> None:
    of = made(seed)
    moving, still = bridge(of, month, Currency("usd", OPENING, CLOSING)), bridge(of, month, FLAT)
    assert (moving.nrr, moving.grr, moving.retained) == (still.nrr, still.grr, still.retained)
    assert still.fx == 0


@many
@given(stories, months, chance)
def test_13_noise_changes_no_line(seed: int, month: Period, dice: random.Random) -> None:
    events = history(seed)
    of = book(events, DEFAULT, UNTIL)
    noise = [
        LedgerEvent(kind, each.at + timedelta(hours=1), each.customer, each.subscription, f"noise {number}", **more)
        for number, each in enumerate(dice.sample(events, len(events) // 2))
        for kind, more in (
            (Kind.NOISE, {}),
            (Kind.USAGE, {"usage": (("si_pro", 5_000),)}),
            (Kind.CASH_REFUNDED, {"amount": 900}),
        )
    ]
    for number, case in enumerate(of.cases):  # attempts inside a case that is open
        middle = case.opened_at + ((case.closed_at or UNTIL) - case.opened_at) / 2
        if case.opened_at < middle < (case.closed_at or UNTIL):
            failed = LedgerEvent(Kind.PAYMENT_FAILED, middle, case.customer, case.subscription, f"again {number}")
            noise.append(replace(failed, invoice="in_1", amount=700))
    loud = book(events + noise, DEFAULT, UNTIL)
    for basis in Basis:
        assert values(bridge(loud, month, RATED, basis)) == values(bridge(of, month, RATED, basis))


QUIET = ("cus_0", "cus_0_0")
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def with_a_failure(seed: int, failed: float | None, paid: float = 40) -> Book:
    """Others' history, and one customer of 50.00 whose payment fails and comes so many days after the 1st of March."""
    events = [event for event in history(seed) if event.customer != "cus_0"]
    seat = (Item("si", "pro", "5000", 1, "month"),)
    events.append(LedgerEvent(Kind.SUB_START, START - timedelta(days=9), *QUIET, "s", items=seat))
    if failed is not None:
        events.append(LedgerEvent(Kind.PAYMENT_FAILED, MARCH + timedelta(days=failed), *QUIET, "f"))
        events.append(LedgerEvent(Kind.PAYMENT_SUCCEEDED, MARCH + timedelta(days=paid), *QUIET, "p"))
    return book(events, DEFAULT, UNTIL)


@many
@given(stories, months, st.integers(0, 30), st.integers(0, 29))
def test_14_a_failure_and_its_recovery_change_gross_and_recovered_equally(
    seed: int, month: Period, failed: int, after: int
) -> None:
    before, after_it = (bridge(with_a_failure(seed, at, failed + after), month, RATED) for at in (None, failed))
    grew = after_it.recovered_involuntary_churn - before.recovered_involuntary_churn
    assert grew == (5_000 if month.holds(MARCH + timedelta(days=failed + after)) else 0)
    assert after_it.gross_involuntary_churn - before.gross_involuntary_churn == grew
    free = ("gross_involuntary_churn", "recovered_involuntary_churn", "recovered_live")
    risk = ("at_risk", "at_risk_base", "at_risk_cases")
    assert all(each in free + risk or getattr(after_it, each) == getattr(before, each) for each in SUMS)


@many
@given(stories, st.integers(15, 30), st.integers(31, 40))
def test_15_when_it_failed_changes_the_risk_at_the_boundary_and_no_line(seed: int, earlier: int, later: int) -> None:
    """Paid on the 11th of April; the failure is moved from March to April."""
    early, moved_later = (with_a_failure(seed, failed, 41) for failed in (earlier, later))
    for month in MONTHS:
        one, other = bridge(early, month, RATED), bridge(moved_later, month, RATED)
        assert lines(one) == lines(other)
        risk = 5_000 if month.closes == MARCH + timedelta(days=31) else 0
        assert one.at_risk - other.at_risk == risk
