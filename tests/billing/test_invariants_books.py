"""Invariants 16 to 25: levels, cases, closed months and entries. The others: `test_invariants.py`."""

from __future__ import annotations

import itertools
import json
import random
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from billing.events.snapshots import Discount
from billing.ledger.book import book
from billing.ledger.entry import Entry, balances, corrections, entries_of
from billing.ledger.items import Item
from billing.ledger.movement import Book, Line, Outcome
from billing.ledger.mrr import level, monthly
from billing.ledger.policy import DEFAULT, LedgerPolicy
from billing.ledger.vocabulary import Kind, LedgerEvent, known_at
from billing.report import render
from billing.report.bridge import Basis, Bridge, bridge, bridges
from billing.report.currency import Currency
from billing.report.period import Period
from tests.billing.test_bridge_properties import (
    MONTHS,
    RATED,
    UNTIL,
    discounts,
    history,
    items,
    values,
)
from tests.billing.test_invariants import FLAT, chance, late, made, many, months, policies, stories


@many
@given(st.integers(1, 10**6), st.integers(1, 40), st.integers(1, 24))
def test_16_equal_schedules_have_equal_revenue(minor: int, quantity: int, count: int) -> None:
    def worth(interval: str, count: int) -> Fraction:
        return monthly(Item("si", "pro", str(minor), quantity, interval, count))

    assert worth("day", 7 * count) == worth("week", count)
    assert worth("month", 12 * count) == worth("year", count)
    assert worth("month", 3 * count) == worth("quarter", count)


@many
@given(stories, st.integers(2, 9))
def test_17_scaling_prices_scales_levels_and_leaves_retention(seed: int, k: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a story, not a secret
    cart, off = items(dice), discounts(dice, UNTIL)

    def by(k: int, cart: tuple[Item, ...]) -> tuple[Item, ...]:
        return tuple(replace(item, unit_amount=str(int(item.unit_amount or 0) * k)) for item in cart)

    more = tuple(replace(each, amount_off=each.amount_off and each.amount_off * k) for each in off)
    one, other = level(cart, off, DEFAULT, UNTIL).total, level(by(k, cart), more, DEFAULT, UNTIL).total
    assert abs(other - k * one) <= Fraction(k + 1, 2)

    def whole(event: LedgerEvent, k: int) -> LedgerEvent:  # monthly and without coupons: nothing is rounded
        return replace(
            event, currency="usd", discounts=(), items=by(k, tuple(replace(i, interval="month") for i in event.items))
        )

    for month in MONTHS:
        small, large = (bridge(book([whole(e, n) for e in history(seed)], DEFAULT, UNTIL), month, FLAT) for n in (1, k))
        assert (small.nrr, small.grr, small.start * k) == (large.nrr, large.grr, large.start)


@many
@given(stories, policies)
def test_18_items_sum_to_their_subscription(seed: int, policy: LedgerPolicy) -> None:
    dice = random.Random(seed)  # noqa: S311 - a story, not a secret
    cart, off = items(dice), discounts(dice, UNTIL)
    found = level(cart, off, policy, UNTIL)
    assert sum(each.minor for each in found.items) == found.total
    bare = level(cart, (), policy, UNTIL)
    assert all(abs(each.minor - monthly(each.item)) < 1 for each in bare.items)
    assert all(step.minor == sum(minor for _, minor in step.products) for step in made(seed, policy).steps)


@many
@given(stories, st.integers(0, 100), st.integers(0, 100))
def test_19_a_coupon_takes_off_at_most_everything_and_more_percent_takes_more(seed: int, one: int, other: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a story, not a secret
    cart, off = items(dice), discounts(dice, UNTIL)
    gross, net = (level(cart, each, DEFAULT, UNTIL).total for each in ((), off))
    assert 0 <= net <= gross
    less, more = (level(cart, (Discount("c", "forever", str(p)),), DEFAULT, UNTIL).total for p in sorted((one, other)))
    assert more <= less <= gross


@many
@given(stories, policies)
def test_20_every_case_opens_once_and_ends_once(seed: int, policy: LedgerPolicy) -> None:
    """Also when the customer takes something smaller while the case is open."""
    events = history(seed)
    smaller = (Item("si_pro", "pro", "150", 1, "month"),)
    between = [
        LedgerEvent(
            Kind.SUB_ITEMS, case.opened_at + timedelta(hours=1), case.customer, case.subscription, items=smaller
        )
        for case in book(events, policy, UNTIL).cases
        if case.outcome is Outcome.RECOVERED
    ]
    of = book(events + between, policy, UNTIL)
    by_sub = defaultdict(list)
    for case in of.cases:
        by_sub[case.subscription].append(case)
        assert (case.outcome is Outcome.OPEN) == (case.closed_at is None)
        assert case.closed_at is None or case.opened_at <= case.closed_at <= UNTIL
        assert 0 <= case.recovered <= min(case.opened.minor, case.at_close)
    for cases in by_sub.values():
        assert all(one.closed_at and one.closed_at <= two.opened_at for one, two in itertools.pairwise(cases))
    left = {case: minor for (case, account, _), minor in by_case(of).items() if account == "at_risk"}
    assert left == {case.key: case.at_close for case in of.cases if case.outcome is Outcome.OPEN and case.at_close}


def by_case(of: Book) -> dict[tuple[str, str, str], int]:
    return balances(entries_of(of), of=lambda entry: entry.case or "")


@many
@given(stories, policies)
def test_21_a_recovery_has_a_pair_or_one_earlier_loss(seed: int, policy: LedgerPolicy) -> None:
    """Also when what was lost is paid after all, and bought once more on the days after."""
    events = history(seed)
    again = [
        back
        for each in book(events, policy, UNTIL).movements
        if each.line is Line.INVOLUNTARY
        for back in (
            LedgerEvent(
                Kind.PAYMENT_SUCCEEDED, each.effective_at + timedelta(days=1), each.customer, each.subscription
            ),
            LedgerEvent(
                Kind.SUB_START,
                each.effective_at + timedelta(days=2),
                each.customer,
                f"again {each.key}",
                currency=each.amount.currency,
                items=tuple(Item(name, name, "90000", 1, "month") for name in ("addon", "basic", "pro")),
            ),
        )
    ]
    of = book(events + again, policy, UNTIL)
    losses = {each.key: each for each in of.movements if each.line is Line.INVOLUNTARY}
    pairs = {each.pair: each for each in losses.values() if each.pair}
    left = {key: -each.amount.minor for key, each in losses.items()}
    for each in of.movements:
        if each.line is Line.RECOVERED:
            assert (each.pair is None) != (each.loss is None)
            if each.pair:
                assert each.amount.minor == -pairs[each.pair].amount.minor
            if each.loss:
                assert losses[each.loss].customer == each.customer
                assert losses[each.loss].effective_at <= each.effective_at
                left[each.loss] -= each.amount.minor
    assert all(minor >= 0 for minor in left.values())


@many
@given(stories, months, st.sampled_from([-11, -5, 3, 8]))
def test_22_a_zone_only_moves_the_boundaries(seed: int, month: Period, hours: int) -> None:
    """Local midnight is `hours` before that of UTC, so the same story told so much later is the same in UTC."""
    zone, span = f"Etc/GMT{-hours:+d}", timedelta(hours=hours)

    def later(event: LedgerEvent) -> LedgerEvent:
        ends = tuple(replace(each, ends=each.ends and each.ends + span) for each in event.discounts)
        effective = event.effective_at and event.effective_at + span
        return replace(event, at=event.at + span, effective_at=effective, discounts=ends)

    events = history(seed)
    local = book(events, replace(DEFAULT, zone=zone), UNTIL)
    told_in_utc = book([later(event) for event in events], DEFAULT, UNTIL + span)
    here = Period(month.start, month.end, zone)
    for basis in Basis:
        assert values(bridge(local, here, RATED, basis)) == values(bridge(told_in_utc, month, RATED, basis))


@many
@given(stories, st.integers(0, 4), st.integers(0, 25), chance)
def test_23_a_closed_month_stays_and_the_next_one_is_adjusted(
    seed: int, number: int, after: int, dice: random.Random
) -> None:
    month, following = MONTHS[number], MONTHS[number + 1]
    events = late(history(seed), dice)
    closed_at = month.closes + timedelta(days=after)
    then = book(known_at(events, closed_at), DEFAULT, closed_at)
    printed = text(bridges(then, month))
    dice.shuffle(events)
    assert text(bridges(book(known_at(events, closed_at), DEFAULT, closed_at), month)) == printed
    # What was booked until the close is posted to the month or before; all that comes later is posted to the next.
    booked: dict[str, Entry] = {entry.key: entry for entry in entries_of(then)}
    posted = [entry for entry in booked.values() if entry.effective_at < month.closes]
    now = book(events, DEFAULT, UNTIL)
    later = corrections(booked, entries_of(now))
    for code in ("usd", "eur", "jpy"):
        closed = bridge(then, month, Currency(code))
        restated = bridge(now, following, Currency(code)).after_close(closed.end)
        assert closed.end + restated.prior_period == restated.start
        assert revenue(posted, code) == closed.end
        adjustment = revenue([entry for entry in later if entry.effective_at < month.closes], code)
        assert adjustment == restated.prior_period


def text(of: tuple[Bridge, ...]) -> str:
    return json.dumps([render.to_json(each) for each in of])


def revenue(entries: list[Entry], code: str) -> int:
    sums = balances(entries)
    return sum(sums.get(("", account, f"{code}/mo"), 0) for account in ("good", "at_risk"))


@many
@given(stories, months, stories)
def test_24_a_customer_outside_the_base_changes_no_ratio(seed: int, month: Period, other: int) -> None:
    events = history(seed)
    came = [
        replace(event, customer="new", subscription=f"new {event.subscription}", id=f"new {event.id}")
        for event in history(other, customers=1)
        if event.at >= month.opens
    ]
    before, after = (bridge(book(told, DEFAULT, UNTIL), month, RATED) for told in (events, events + came))
    assume(bridge(book(came, DEFAULT, UNTIL), month, RATED).start == 0)
    assert (before.nrr, before.grr, before.start) == (after.nrr, after.grr, after.start)


@many
@given(stories, policies)
def test_25_the_entries_balance_and_hold_the_revenue(seed: int, policy: LedgerPolicy) -> None:
    of = made(seed, policy)
    entries = entries_of(of)
    for entry in entries:
        by_unit: dict[str, int] = defaultdict(int)
        for posting in entry.postings:
            by_unit[posting.amount.unit] += posting.amount.minor
        assert not any(by_unit.values())
    sums = balances(entries, of=lambda entry: entry.customer)
    held: dict[tuple[str, str], int] = defaultdict(int)
    for step in {step.subscription: step for step in of.steps}.values():
        held[step.customer, f"{step.currency}/mo"] += step.minor
    for (customer, unit), minor in held.items():
        assert sums.get((customer, "good", unit), 0) + sums.get((customer, "at_risk", unit), 0) == minor
    risk: dict[str, int] = defaultdict(int)
    for case in of.cases:  # opened + remeasured - what its outcome took away
        risk[case.opened.unit] += case.at_close if case.outcome is Outcome.OPEN else 0
    whole = balances(entries)
    assert {unit: whole.get(("", "at_risk", unit), 0) for unit in risk} == dict(risk)
