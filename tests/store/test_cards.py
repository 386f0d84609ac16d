"""Declined charges as rows: each once, the same from any order and any mixture of sources, on both engines."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, select

from billing.events.occurrences import ChargeFailed, ChargeSucceeded, Event, InvoiceRead, PaymentMethodSeen
from billing.events.snapshots import Card, Charge, Decline, PaymentMethod
from config.policies import declines
from tests.billing.stories import BUSY, DAY, DAY0, VISA, charge_failed, event, invoice, usd
from tests.store.conftest import SELF
from worker import cards
from worker import tables as t
from worker.cards import name_of
from worker.db import Database

FULL = Decline("card_declined", "do_not_honor", "try_again_later", "05", None, "issuer_declined", "do_not_honor")
BARE = Charge("ch_1", "cus_1", usd(2000), False, None, "pi_1", "pm_1", None, BUSY, created=DAY0 + DAY)
LOOKED = replace(BARE, card=VISA, decline=FULL, created=DAY0)
SOURCES: list[Event] = [
    event(ChargeFailed(BARE), 1, "bare"),  # an old API version: no card, no codes of the network
    charge_failed(0, BUSY, basil=True),  # names the card
    event(InvoiceRead(invoice(), declined=(LOOKED,)), 2, "look"),  # names the invoice and says most
]


def learn(db: Database, *events: Event) -> None:
    with db.begin() as connection:
        cards.learn(connection, SELF, events, declines(), DAY0 + 3 * DAY)


def rows(db: Database, table: Any = t.declined_charge) -> list[dict[str, Any]]:
    with db.read() as connection:
        found = connection.execute(select(table).order_by(*table.primary_key.columns))
        return [dict(row._mapping) for row in found]


def test_any_order_and_repetition_gives_one_row_with_all_that_is_known(db: Database) -> None:
    for order in itertools.permutations([*SOURCES, SOURCES[0]]):
        for one in order:
            learn(db, one)
        (row,) = rows(db)
        assert (row["charge"], row["card"], row["invoice"], row["intent"]) == ("ch_1", "card:fp_1", "in_1", "pi_1")
        assert (row["amount"], row["currency"], row["at"]) == (2000, "usd", DAY0)
        assert row["decline"]["network_decline_code"] == "05"
        with db.begin() as connection:
            connection.execute(delete(t.declined_charge))


def test_one_batch_knows_as_much_as_one_at_a_time(db: Database) -> None:
    learn(db, *SOURCES, *SOURCES)
    (row,) = rows(db)
    assert (row["card"], row["invoice"], row["decline"]["network_decline_code"]) == ("card:fp_1", "in_1", "05")


def test_what_teaches_nothing_new_takes_no_lock(db: Database) -> None:
    learn(db, *SOURCES)
    before = rows(db, t.card_budget)
    with db.begin() as connection:
        cards.learn(connection, SELF, SOURCES, declines(), DAY0 + 30 * DAY)
    assert rows(db, t.card_budget) == before


def test_another_card_that_pays_is_not_kept(db: Database) -> None:
    paid = Charge("ch_9", "cus_9", usd(500), True, card=Card("fp_9", "visa"), created=DAY0)
    learn(db, event(ChargeSucceeded(paid), 0))
    assert rows(db, t.card_budget) == []


def test_an_approval_and_new_details_are_noted_on_a_card_that_was_declined(db: Database) -> None:
    learn(db, *SOURCES)
    paid = Charge("ch_2", "cus_1", usd(2000), True, card=VISA, created=DAY0 + 2 * DAY)
    fresh = PaymentMethod("pm_1", "cus_1", "card", VISA)
    later = [event(ChargeSucceeded(paid), 2), event(PaymentMethodSeen(fresh, "automatically_updated"), 4)]
    earlier = [event(ChargeSucceeded(replace(paid, id="ch_0", created=DAY0)), 0, "early")]
    learn(db, *later)
    learn(db, *earlier)
    budget = {row["card"]: row for row in rows(db, t.card_budget)}["card:fp_1"]
    assert (budget["brand"], budget["approved_at"], budget["updated_at"]) == ("visa", DAY0 + 2 * DAY, DAY0 + 4 * DAY)


@pytest.mark.parametrize(
    ("card", "method", "customer", "expected"),
    [
        (Card("fp_1"), "pm_1", "cus_1", "card:fp_1"),
        (Card(None, "visa"), "pm_1", "cus_1", "method:pm_1"),
        (None, None, "cus_1", "customer:cus_1"),
        (None, None, None, "invoice:in_1"),
    ],
)
def test_a_card_is_named_by_the_surest_that_is_known(
    card: Card | None, method: str | None, customer: str | None, expected: str
) -> None:
    assert name_of(card, method, customer, "in_1") == expected


def test_codes_that_nobody_knows_are_listed_with_the_charge(db: Database) -> None:
    odd = Decline("card_declined", "zzz", "perhaps", "05", "77")
    learn(db, charge_failed(0, odd))
    (row,) = rows(db)
    assert row["unknown"] == "advice code perhaps, network advice visa 77, decline code zzz"
