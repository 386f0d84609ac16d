"""What holds for every history, not only for the stories (metrics definitions, section 5; numbers as there)."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.events.snapshots import Discount
from billing.ledger.book import book
from billing.ledger.entry import Entry, balances, corrections, entries_of
from billing.ledger.items import Item
from billing.ledger.movement import Book, Line, Outcome
from billing.ledger.policy import DEFAULT, STRIPE_LIKE, LedgerPolicy
from billing.ledger.vocabulary import Cause, Kind, LedgerEvent
from billing.report.bridge import Basis, Bridge, bridge
from billing.report.currency import Currency
from billing.report.period import Period
from billing.report.products import by_product
from billing.report.rows import Row

START = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = datetime(2026, 8, 1, tzinfo=UTC)
MONTHS = [Period.month(f"2026-{month:02}") for month in range(1, 8)]
OPENING = {"eur": Fraction("1.10"), "jpy": Fraction("0.0066")}
CLOSING = {"eur": Fraction("1.05"), "jpy": Fraction("0.0071")}
RATED = Currency("usd", OPENING, CLOSING)
SUMS = [name for name in Row.__slots__ if name not in ("customer", "at_risk_since")]
SIGNS = {
    "expansion": 1,
    "downgrade": -1,
    "restructuring": -1,
    "voluntary_churn": -1,
    "gross_involuntary_churn": -1,
    "recovered_involuntary_churn": 1,
    "recovered_late": 1,
    "new_business": 1,
    "reactivation": 1,
    "fx": 1,
}
CHANGES = [
    Kind.SUB_ITEMS,
    Kind.SUB_ITEMS,
    Kind.SUB_DISCOUNTS,
    Kind.PAUSE,
    Kind.RESUME,
    Kind.CANCEL_SCHEDULED,
    Kind.CANCEL_UNSCHEDULED,
    Kind.TRIAL_CONVERTED,
    Kind.PAYMENT_FAILED,
    Kind.PAYMENT_FAILED,
    Kind.PAYMENT_FAILED,
    Kind.PAYMENT_SUCCEEDED,
    Kind.PAYMENT_SUCCEEDED,
    Kind.CASH_RECOVERED,
    Kind.FORGIVEN,
    Kind.MARK_UNPAID,
    Kind.SUB_CANCEL,
]


def history(seed: int, customers: int = 4, events: int = 12) -> list[LedgerEvent]:
    """A seeded company: hypothesis chooses the seed, so that a failure is one number."""
    dice = random.Random(seed)  # noqa: S311 - a story, not a secret
    told: list[LedgerEvent] = []
    for customer in range(customers):
        name, currency = f"cus_{customer}", dice.choice(["usd", "usd", "eur", "jpy"])
        subs = [f"{name}_{number}" for number in range(dice.choice([1, 1, 2, 3]))]
        for sub in subs:
            status = dice.choice(["active", "active", "active", "trialing"])
            at = START - timedelta(days=60) + timedelta(days=dice.randrange(120), hours=dice.randrange(24))
            start = LedgerEvent(Kind.SUB_START, at, name, sub, f"{sub}:start", currency=currency, status=status)
            told.append(replace(start, items=items(dice), discounts=discounts(dice, at)))
        for number in range(dice.randrange(events)):
            at = START + timedelta(days=dice.randrange(210), hours=dice.choice([0, 10, 23]))
            event = LedgerEvent(dice.choice(CHANGES), at, name, dice.choice(subs), f"{name}:{number}")
            told.append(
                replace(
                    event,
                    items=items(dice),
                    discounts=discounts(dice, at),
                    cause=dice.choice(list(Cause)),
                    behavior=dice.choice(["void", "keep_as_draft"]),
                    effective_at=at + timedelta(days=dice.randrange(40)),
                    invoice=dice.choice(["in_1", "in_2"]),
                    amount=dice.randrange(20_000),
                )
            )
    return told


def items(dice: random.Random) -> tuple[Item, ...]:
    products = dice.sample(["pro", "basic", "addon"], dice.choice([1, 1, 2, 3]))
    return tuple(
        Item(
            f"si_{product}",
            product,
            str(dice.randrange(30) * 333),
            dice.randrange(6),
            dice.choice(["month", "year", "week"]),
        )
        for product in products
    )


def discounts(dice: random.Random, at: datetime) -> tuple[Discount, ...]:
    if dice.random() < 0.6:
        return ()
    ends = at + timedelta(days=dice.randrange(1, 90)) if dice.random() < 0.5 else None
    percent = str(dice.choice([10, 33, 50, 100])) if dice.random() < 0.5 else None
    duration = dice.choice(["forever", "repeating", "once"])
    return (Discount("c", duration, percent, None if percent else dice.randrange(9_000), ends=ends),)


def values(made: Bridge) -> dict[str, int]:
    return {name: getattr(made, name) for name in SUMS}


def added(bridges: list[Bridge], names: list[str]) -> dict[str, int]:
    return {name: sum(getattr(each, name) for each in bridges) for name in names}


stories = st.integers(0, 10**9)
policies = st.sampled_from([DEFAULT, DEFAULT, STRIPE_LIKE, replace(DEFAULT, unpaid_is_loss=False, coupon_once=True)])
months = st.sampled_from(MONTHS)


@settings(max_examples=10, deadline=None)
@given(stories, policies, months)
def test_a_bridge_adds_up_in_both_bases_and_displays(seed: int, policy: LedgerPolicy, month: Period) -> None:
    """1, 2, 3, 4, 5, 9, 12: `check` raises when opening and lines do not give the closing."""
    made = book(history(seed), policy, UNTIL)
    netted, activity = bridge(made, month, RATED), bridge(made, month, RATED, Basis.ACTIVITY)
    assert (netted.start, netted.end, netted.fx) == (activity.start, activity.end, activity.fx)
    for each in (netted, activity):
        assert all(getattr(each, name) >= 0 for name in SIGNS if name != "fx")
        assert each.start + sum(sign * getattr(each, name) for name, sign in SIGNS.items()) == each.end
    net = netted.net()
    assert (net.nrr, net.grr, net.retained, net.end) == (netted.nrr, netted.grr, netted.retained, netted.end)
    assert net.check().recovered_involuntary_churn == 0
    assert netted.recovered_live <= netted.recovered_involuntary_churn
    if netted.nrr is not None and netted.grr is not None:
        assert 0 <= netted.grr <= min(Fraction(1), netted.nrr)
        lost = netted.losses - netted.recovered_involuntary_churn
        assert netted.grr == Fraction(netted.start - lost, netted.start)
    unmoved = bridge(made, month, Currency("usd", OPENING, OPENING))
    assert (unmoved.fx, unmoved.nrr, unmoved.grr) == (0, netted.nrr, netted.grr)


@settings(max_examples=10, deadline=None)
@given(stories, months, st.integers(0, 15))
def test_any_partition_of_the_customers_adds_up(seed: int, month: Period, chosen: int) -> None:
    """6 and 24: a customer outside the base changes neither ratio."""
    made = book(history(seed), DEFAULT, UNTIL)
    names = sorted({step.customer for step in made.steps} | {each.customer for each in made.movements})
    one = [name for number, name in enumerate(names) if chosen >> number & 1]
    other = [name for name in names if name not in one]
    whole = bridge(made, month, RATED)
    parts = [bridge(made, month, RATED, customers=part) for part in (one, other)]
    assert added(parts, SUMS) == values(whole)
    products = by_product(made, month, RATED).values()
    assert sum(row.start for row in products) == whole.start
    assert sum(row.end for row in products) == whole.end - whole.fx
    assert sum(row.transfer_in for row in products) == sum(row.transfer_out for row in products)
    for row in products:
        gained = row.transfer_in + row.expansion + row.cross_sell + row.new_business
        assert row.start + gained - row.transfer_out - row.loss == row.end
    base = [name for name in names if bridge(made, month, RATED, customers=[name]).start]
    only_base = bridge(made, month, RATED, customers=base)
    assert (only_base.nrr, only_base.grr) == (whole.nrr, whole.grr)


@settings(max_examples=10, deadline=None)
@given(stories, policies)
def test_periods_join_without_a_gap_and_activity_adds_up_over_them(seed: int, policy: LedgerPolicy) -> None:
    """7 and 8: recovered and recovered late add up together, their split does not."""
    made, rate = book(history(seed), policy, UNTIL), Currency("usd", OPENING, OPENING)
    parts = [bridge(made, month, rate, Basis.ACTIVITY) for month in MONTHS]
    whole = bridge(made, Period(date(2026, 1, 1), date(2026, 8, 1)), rate, Basis.ACTIVITY)
    assert [each.end for each in parts[:-1]] == [each.start for each in parts[1:]]
    split = ("recovered_involuntary_churn", "recovered_late", "fx")
    assert all(
        sum(getattr(each, name) for each in parts) == getattr(whole, name) for name in SIGNS if name not in split
    )
    together = [each.recovered_involuntary_churn + each.recovered_late for each in (*parts, whole)]
    assert sum(together[:-1]) == together[-1]


@settings(max_examples=10, deadline=None)
@given(stories, policies, st.randoms(use_true_random=False))
def test_order_and_repetition_of_events_mean_nothing(seed: int, policy: LedgerPolicy, dice: random.Random) -> None:
    """10"""
    events = history(seed)
    shuffled = [*events, *dice.sample(events, len(events) // 2)]
    dice.shuffle(shuffled)
    assert book(shuffled, policy, UNTIL) == book(events, policy, UNTIL)


@settings(max_examples=10, deadline=None)
@given(stories, policies)
def test_levels_are_sums_of_movements_and_never_negative(seed: int, policy: LedgerPolicy) -> None:
    """11 and 18, and every movement has a key of its own."""
    made = book(history(seed), policy, UNTIL)
    running: dict[tuple[str, str], int] = defaultdict(int)
    for movement in sorted(made.movements, key=lambda each: each.effective_at):
        running[movement.customer, movement.amount.unit] += movement.amount.minor
    last = {step.subscription: step for step in made.steps}
    held: dict[tuple[str, str], int] = defaultdict(int)
    for step in last.values():
        held[step.customer, f"{step.currency}/mo"] += step.minor
        assert step.minor == sum(minor for _, minor in step.products)
    assert all(step.minor >= 0 for step in made.steps)
    assert {key: minor for key, minor in running.items() if minor} == {key: each for key, each in held.items() if each}
    assert len({movement.key for movement in made.movements}) == len(made.movements)


@settings(max_examples=10, deadline=None)
@given(stories, policies)
def test_cases_close_once_and_the_risk_roll_forward_closes(seed: int, policy: LedgerPolicy) -> None:
    """20, 21 and 25"""
    made = book(history(seed), policy, UNTIL)
    entries = entries_of(made)
    sums = balances(entries)
    at_risk = sum(case.at_close for case in made.cases if case.outcome is Outcome.OPEN)
    assert sum(minor for (_, account, _), minor in sums.items() if account == "at_risk") == at_risk
    level = sum({step.subscription: step.minor for step in made.steps}.values())
    good = sum(minor for (_, account, _), minor in sums.items() if account == "good")
    assert good + at_risk == level
    closed = [case for case in made.cases if case.outcome is not Outcome.OPEN]
    assert all(case.closed_at is not None and case.closed_at >= case.opened_at for case in closed)
    assert all(case.recovered <= case.opened.minor for case in closed)
    by_sub = defaultdict(list)
    for case in made.cases:
        by_sub[case.subscription].append(case)
    for cases in by_sub.values():
        assert all(one.closed_at and one.closed_at <= two.opened_at for one, two in itertools.pairwise(cases))
    losses = {each.key: -each.amount.minor for each in made.movements if each.line is Line.INVOLUNTARY}
    for movement in made.movements:
        if movement.line is Line.RECOVERED:
            assert (movement.pair is None) != (movement.loss is None)
            if movement.loss:
                losses[movement.loss] -= movement.amount.minor
    assert all(left >= 0 for left in losses.values())
    assert all(minor >= 0 for (_, account, _), minor in sums.items() if account.startswith("cash"))


@settings(max_examples=10, deadline=None)
@given(stories, months, st.integers(0, 20), st.integers(0, 25))
def test_a_failure_and_its_payment_change_only_gross_and_recovered(
    seed: int, month: Period, failed: int, paid: int
) -> None:
    """14 and 15: wherever both fall, and also when a boundary lies between them."""
    events = [event for event in history(seed) if event.customer != "cus_0"]
    at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=failed)
    name = ("cus_0", "cus_0_0")
    seat = (Item("si", "pro", "5000", 1, "month"),)
    quiet = [LedgerEvent(Kind.SUB_START, START - timedelta(days=9), *name, "s", items=seat)]
    story = [
        LedgerEvent(Kind.PAYMENT_FAILED, at, *name, "f"),
        LedgerEvent(Kind.PAYMENT_SUCCEEDED, at + timedelta(days=paid), *name, "p"),
    ]
    before = bridge(book(events + quiet, DEFAULT, UNTIL), month, RATED)
    after = bridge(book(events + quiet + story, DEFAULT, UNTIL), month, RATED)
    grew = after.recovered_involuntary_churn - before.recovered_involuntary_churn
    assert grew == (5_000 if month.holds(at + timedelta(days=paid)) else 0)
    both = ("gross_involuntary_churn", "recovered_involuntary_churn", "recovered_live")
    risk = ("at_risk", "at_risk_base", "at_risk_cases")
    assert after.gross_involuntary_churn - before.gross_involuntary_churn == grew
    for each in SUMS:
        assert each in both + risk or getattr(after, each) == getattr(before, each)


@settings(max_examples=10, deadline=None)
@given(stories, st.lists(st.integers(0, 40), max_size=4), st.randoms(use_true_random=False))
def test_corrections_in_any_number_of_steps_end_where_booking_once_ends(
    seed: int, cuts: list[int], dice: random.Random
) -> None:
    """Facts become known in any order; what is appended sums to the fold of all of them."""
    events = history(seed, customers=2)
    dice.shuffle(events)
    booked: dict[str, Entry] = {}
    for known in [*(events[:cut] for cut in cuts), events]:
        wanted = entries_of(book(known, DEFAULT, UNTIL))
        appended = corrections(booked, wanted)
        assert not {entry.key for entry in appended} & booked.keys()
        booked |= {entry.key: entry for entry in appended}
        assert balances(booked.values(), of=lambda entry: entry.customer) == balances(
            wanted, of=lambda entry: entry.customer
        )
        assert corrections(booked, wanted) == ()


def test_the_histories_reach_every_line_and_every_outcome() -> None:
    """The properties above would be idle if their histories never lost or recovered anything."""
    made: list[Book] = [book(history(seed), DEFAULT, UNTIL) for seed in range(40)]
    assert {movement.line for each in made for movement in each.movements} == set(Line)
    assert {case.outcome for each in made for case in each.cases} == set(Outcome)
