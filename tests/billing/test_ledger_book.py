"""The fold's rules one by one, on neutral events."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from billing.events.snapshots import Discount
from billing.ledger.book import book
from billing.ledger.changes import compare
from billing.ledger.entry import balances, entries_of
from billing.ledger.items import Item
from billing.ledger.movement import Line, Outcome
from billing.ledger.mrr import level
from billing.ledger.neutral import NotNeutral, read_events
from billing.ledger.policy import DEFAULT, LedgerPolicy
from billing.ledger.vocabulary import Cause, Kind, LedgerEvent, in_order

UNTIL = datetime(2026, 12, 1, tzinfo=UTC)


def at(day: str) -> datetime:
    return datetime.fromisoformat(f"2026-{day}T10:00:00+00:00")


def seats(quantity: int, product: str = "pro", unit: int = 1_000, interval: str = "month") -> tuple[Item, ...]:
    return (Item(f"si_{product}", product, str(unit), quantity, interval),)


def event(kind: Kind, day: str, sub: str = "a", **more: object) -> LedgerEvent:
    made = LedgerEvent(kind, at(day), "cus", sub, f"{sub}:{kind}:{day}")
    return replace(made, **more)  # type: ignore[arg-type]  # the fields of each story are its own


START = event(Kind.SUB_START, "01-05", items=seats(10))
FAILED = event(Kind.PAYMENT_FAILED, "03-05", invoice="in_1")
LOST = event(Kind.SUB_CANCEL, "03-09", cause=Cause.PAYMENT_FAILED)


def lines(*events: LedgerEvent, policy: LedgerPolicy = DEFAULT) -> list[tuple[str, int]]:
    made = book(events, policy, UNTIL)
    return [(f"{each.line} {each.reason}", each.amount.minor) for each in made.movements]


CHANGES = [
    # before, after -> line and reason, minor units
    (seats(10), seats(12), [("expansion quantity", 2_000)]),
    (seats(10), seats(8), [("downgrade quantity", -2_000)]),
    (seats(10), seats(0), [("downgrade quantity", -10_000)]),
    (seats(0), seats(3), [("expansion quantity", 3_000)]),
    (seats(10), seats(10, unit=1_100), [("expansion price", 1_000)]),
    (seats(10), seats(10, unit=900), [("restructuring renegotiation", -1_000)]),
    (seats(10), seats(10, unit=10_000, interval="year"), [("restructuring interval", -1_667)]),
    (seats(10, unit=10_000, interval="year"), seats(10), [("expansion interval", 1_667)]),
    (seats(10), seats(8, unit=900), [("downgrade quantity", -2_000), ("restructuring renegotiation", -800)]),
    (seats(10), seats(12, unit=900), [("expansion quantity", 2_000), ("restructuring renegotiation", -1_200)]),
    (seats(10), seats(6, "basic"), [("downgrade tier", -4_000)]),
    (seats(10), seats(15, "max"), [("expansion tier", 5_000)]),
    (seats(10), seats(1, "free", 0), [("downgrade free_plan", -10_000)]),
    (seats(10), seats(10) + seats(2, "addon"), [("expansion cross_sell", 2_000)]),
    (seats(10) + seats(2, "addon"), seats(10), [("downgrade product_removed", -2_000)]),
    (seats(10) + seats(2, "addon"), seats(11, "bundle"), [("restructuring consolidation", -1_000)]),
    (seats(10) + seats(2, "addon"), seats(13, "bundle"), [("expansion tier", 1_000)]),
]


@pytest.mark.parametrize(("before", "after", "expected"), CHANGES)
def test_the_kind_of_a_change(
    before: tuple[Item, ...], after: tuple[Item, ...], expected: list[tuple[str, int]]
) -> None:
    was, becomes = (level(items, (), DEFAULT, UNTIL) for items in (before, after))
    parts = compare(was.items, becomes.items)
    assert [(f"{part.line} {part.reason}", part.minor) for part in parts] == expected
    assert sum(part.minor for part in parts) == becomes.total - was.total


def test_recovered_on_a_larger_plan_is_what_had_failed_and_the_rest_is_expansion() -> None:
    larger = event(Kind.SUB_ITEMS, "03-08", items=seats(14))
    paid = event(Kind.PAYMENT_SUCCEEDED, "03-09")
    assert lines(START, FAILED, larger, paid)[1:] == [
        ("expansion quantity", 4_000),
        ("involuntary_churn recovered", -10_000),
        ("recovered paid", 10_000),
    ]


def test_a_plan_change_by_cancelling_and_creating_ends_the_case_and_leaves_nothing_at_risk() -> None:
    events = [START, FAILED, event(Kind.SUB_CANCEL, "03-09"), event(Kind.SUB_START, "03-09", "b", items=seats(6))]
    made = book(events, DEFAULT, UNTIL)
    assert [case.outcome for case in made.cases] == [Outcome.VOLUNTARY]
    assert balances(entries_of(made)) == {
        ("", "good", "usd/mo"): 6_000,
        ("", "new", "usd/mo"): -10_000,
        ("", "downgrade", "usd/mo"): 4_000,
    }


def test_a_loss_is_recovered_only_once() -> None:
    again = [event(Kind.SUB_START, f"03-{day}", f"b{day}", items=seats(7)) for day in (15, 20, 25)]
    assert lines(START, FAILED, LOST, *again)[2:] == [
        ("recovered bought_again", 7_000),
        ("recovered bought_again", 3_000),
        ("expansion subscription_added", 4_000),
        ("expansion subscription_added", 7_000),
    ]


def test_a_case_of_a_subscription_that_was_never_seen_failing_opens_at_its_loss() -> None:
    made = book([START, LOST], DEFAULT, UNTIL)
    assert [(case.opened_at, case.closed_at, case.outcome) for case in made.cases] == [(LOST.at, LOST.at, Outcome.LOST)]


def test_an_overdue_invoice_is_lost_sixty_days_after_it_was_due() -> None:
    overdue = replace(FAILED, by_invoice=True, due_at=at("03-01"))
    made = book([START, overdue], DEFAULT, UNTIL)
    assert [(case.closed_at, case.because) for case in made.cases] == [(at("04-30"), "past_due_limit")]


def test_a_scheduled_end_happens_unless_it_is_taken_back() -> None:
    asked = event(Kind.CANCEL_SCHEDULED, "03-05", effective_at=at("04-01"))
    undone = event(Kind.CANCEL_UNSCHEDULED, "03-20")
    assert lines(START, asked)[1:] == [("voluntary_churn canceled", -10_000)]
    assert lines(START, asked, undone)[1:] == []
    assert lines(START, asked, event(Kind.SUB_CANCEL, "04-01"))[1:] == [("voluntary_churn canceled", -10_000)]


def test_a_draft_pause_and_a_pause_taken_back_in_time_change_nothing() -> None:
    for behavior, back in (("keep_as_draft", "05-01"), ("void", "03-20")):
        pause = event(Kind.PAUSE, "03-05", behavior=behavior, effective_at=at("04-01"))
        assert lines(START, pause, event(Kind.RESUME, back))[1:] == []


def test_a_dispute_ends_a_subscription_by_decision() -> None:
    assert lines(START, FAILED, event(Kind.SUB_CANCEL, "03-09", cause=Cause.DISPUTE))[1:] == [
        ("voluntary_churn dispute", -10_000)
    ]


def test_forgiving_a_lost_subscription_brings_it_back_without_a_recovery() -> None:
    unpaid, forgiven = event(Kind.MARK_UNPAID, "03-09"), event(Kind.FORGIVEN, "03-12")
    assert lines(START, FAILED, unpaid, forgiven)[1:] == [
        ("involuntary_churn unpaid", -10_000),
        ("reactivation forgiven", 10_000),
    ]


def test_a_coupon_that_begins_later_begins_later() -> None:
    coupon = Discount("c", "repeating", "50", starts=at("04-01"), ends=at("05-01"))
    told = event(Kind.SUB_DISCOUNTS, "03-05", discounts=(coupon,))
    assert lines(START, told)[1:] == [("restructuring discount_start", -5_000), ("expansion discount_expiry", 5_000)]


def test_events_of_one_instant_apply_in_one_order_whatever_the_order_of_arrival() -> None:
    day = "03-05"
    told = [
        event(Kind.SUB_START, day, items=seats(10)),
        event(Kind.SUB_ITEMS, day, items=seats(12)),
        FAILED,
        event(Kind.PAYMENT_SUCCEEDED, day),
        event(Kind.SUB_CANCEL, day),
    ]
    orders = {tuple(in_order(order)) for order in itertools.permutations(told)}
    assert orders == {tuple(told)}
    assert [case.outcome for case in book(told, DEFAULT, UNTIL).cases] == [Outcome.RECOVERED]


def test_nothing_follows_the_end() -> None:
    after = [
        event(kind, "03-20", items=seats(1), behavior="void")
        for kind in Kind
        if kind not in (Kind.SUB_START, Kind.CASH_RECOVERED)
    ]
    assert lines(START, event(Kind.SUB_CANCEL, "03-10"), *after)[1:] == [("voluntary_churn canceled", -10_000)]


def test_every_line_of_the_fold_is_a_movement_type() -> None:
    assert {line.value for line in Line} == {
        "new",
        "expansion",
        "downgrade",
        "restructuring",
        "voluntary_churn",
        "involuntary_churn",
        "recovered",
        "reactivation",
    }


BAD = [
    ({"type": "sub_start", "at": "2026-01-01T00:00:00Z"}, "'sub'"),
    ({"type": "sub_flip", "sub": "s", "at": "2026-01-01T00:00:00Z"}, "sub_flip"),
    ({"type": "sub_cancel", "sub": "s", "at": "yesterday"}, "yesterday"),
    ({"type": "sub_items", "sub": "s", "at": "2026-01-01T00:00:00Z", "items": [{"product": "p"}]}, "'id'"),
]


@pytest.mark.parametrize(("value", "named"), BAD)
def test_a_neutral_event_that_cannot_be_read_names_its_field(value: dict[str, object], named: str) -> None:
    with pytest.raises(NotNeutral, match=named):
        read_events([value])
