"""Double entry: what may be booked, and what is appended when a late fact changes the story."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from billing.ledger.book import book
from billing.ledger.entry import Entry, Posting, Unbalanced, balances, corrections, entries_of
from billing.ledger.items import Item
from billing.ledger.policy import DEFAULT
from billing.ledger.vocabulary import Cause, Kind, LedgerEvent
from billing.money import Amount

DAY = datetime(2026, 3, 1, 10, tzinfo=UTC)
LATER = datetime(2026, 12, 1, tzinfo=UTC)


def event(kind: Kind, day: int, **more: object) -> LedgerEvent:
    made = LedgerEvent(kind, DAY + timedelta(days=day), "cus", "sub", f"{kind}:{day}")
    return replace(made, **more)  # type: ignore[arg-type]  # the fields of each story are its own


START = event(Kind.SUB_START, -30, items=(Item("si", "pro", "10000", 1, "month"),))
FAILED = event(Kind.PAYMENT_FAILED, 2, invoice="in_1", amount=10_000)
CASH = event(Kind.CASH_RECOVERED, 9, invoice="in_1", amount=10_000)
PAID = event(Kind.PAYMENT_SUCCEEDED, 9)
UNPAID = event(Kind.MARK_UNPAID, 5)
ENDED = event(Kind.SUB_CANCEL, 5, cause=Cause.PAYMENT_FAILED)
LEFT = event(Kind.SUB_CANCEL, 5)
FORGIVEN = event(Kind.FORGIVEN, 6)


def sums(*events: LedgerEvent) -> dict[str, int]:
    made = entries_of(book(events, DEFAULT, DAY + timedelta(days=20)))
    return {account: minor for (_, account, _), minor in balances(made).items()}


STORIES = [
    ([START], {"good": 100, "new": -100}),
    ([START, FAILED], {"at_risk": 100, "new": -100, "cash_at_risk": 100, "receivable": -100}),
    (
        [START, FAILED, CASH, PAID],
        {"good": 100, "new": -100, "involuntary_churn": 100, "recovered": -100, "cash_collected": 100}
        | {"receivable": -100},
    ),
    (
        [START, FAILED, ENDED],
        {"new": -100, "involuntary_churn": 100, "cash_lost": 100, "receivable": -100},
    ),
    (
        [START, FAILED, ENDED, CASH],
        {"new": -100, "involuntary_churn": 100, "cash_collected": 100, "receivable": -100},
    ),
    (
        [START, FAILED, UNPAID, CASH, PAID],
        {"good": 100, "new": -100, "involuntary_churn": 100, "recovered": -100, "cash_collected": 100}
        | {"receivable": -100},
    ),
    ([START, FAILED, LEFT], {"new": -100, "voluntary_churn": 100, "cash_lost": 100, "receivable": -100}),
    ([START, FAILED, FORGIVEN], {"good": 100, "new": -100, "cash_forgiven": 100, "receivable": -100}),
]


@pytest.mark.parametrize(("events", "hundreds"), STORIES)
def test_the_accounts_after_a_story(events: list[LedgerEvent], hundreds: dict[str, int]) -> None:
    assert sums(*events) == {account: minor * 100 for account, minor in hundreds.items()}


def test_an_entry_that_does_not_balance_cannot_be_made() -> None:
    one = Posting("good", Amount(100, "usd/mo"))
    other_unit = Posting("new", Amount(-100, "usd"))
    for postings in ((one,), (one, other_unit), (one, Posting("new", Amount(-99, "usd/mo")))):
        with pytest.raises(Unbalanced, match="entry k"):
            Entry("k", DAY, "because", postings, "cus", "sub")


def test_a_late_fact_appends_and_never_changes() -> None:
    booked: dict[str, Entry] = {}

    def learn(*events: LedgerEvent) -> tuple[Entry, ...]:
        appended = corrections(booked, entries_of(book(events, DEFAULT, LATER)))
        assert not {entry.key for entry in appended} & booked.keys()
        booked.update({entry.key: entry for entry in appended})
        return appended

    learn(START, FAILED)  # nothing more came: lost by the end of the window
    first = dict(booked)
    late = learn(START, FAILED, PAID)  # it had been paid all along
    assert first.items() <= booked.items()
    reversals = [entry for entry in late if entry.reverses]
    assert {entry.reverses for entry in reversals} <= first.keys()
    assert {posting.account for entry in reversals for posting in entry.postings} >= {"involuntary_churn", "at_risk"}
    assert balances(booked.values()) == balances(entries_of(book([START, FAILED, PAID], DEFAULT, LATER)))
    again = learn(START, FAILED)  # the payment turns out to be somebody else's
    assert any("#2" in entry.key for entry in again)
    assert balances(booked.values()) == balances(entries_of(book([START, FAILED], DEFAULT, LATER)))
    assert learn(START, FAILED) == ()


def test_two_invoices_that_fail_at_one_instant_are_two_cases_with_entries_of_their_own() -> None:
    at = FAILED.at
    told = [
        START,
        FAILED,
        replace(PAID, at=at),
        replace(FAILED, invoice="in_2", evidence="another failure"),
        replace(UNPAID, at=at),
    ]
    made = book(told, DEFAULT, DAY + timedelta(days=20))
    keys = [entry.key for entry in entries_of(made)]
    assert len(made.cases) == 2
    assert len(set(keys)) == len(keys)
    assert sums(*told).get("at_risk", 0) == 0
