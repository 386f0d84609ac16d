"""An end and a beginning on one day of the company's time zone are one change, from the facts to the entries (D15)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import select

from billing.events.occurrences import Event, SubscriptionSeen
from billing.events.snapshots import Item, Subscription
from config.settings import Settings
from tests.ledger.conftest import SELF, Clock, Teller, day
from worker import tables as t
from worker import verify
from worker.app import build
from worker.broker import NoBell


def test_a_change_of_plan_at_the_days_edge_is_no_churn_where_the_company_is(database_url: str) -> None:
    clock = Clock()
    settings = Settings(database_url=database_url, mode="observe", reporting_timezone="America/New_York")
    app = build(settings, NoBell(), now=clock)
    teller = Teller(app, clock)
    teller.begins("sub_1", "01-05", customer="cus_1")
    ended = datetime.fromisoformat("2026-03-10T23:50:00+00:00")
    begun = datetime.fromisoformat("2026-03-11T00:10:00+00:00")
    gone = replace(teller.subs["sub_1"], status="canceled", ended_at=ended)
    item = Item("si_2", "price", "basic", "6000", 1, "month")
    again = Subscription("sub_2", "cus_1", "active", "usd", (item,), created=begun, started_at=begun)
    for id, at, what in (
        ("evt_e", ended, SubscriptionSeen(gone, "deleted")),
        ("evt_b", begun, SubscriptionSeen(again, "created")),
    ):
        teller.keep(Event(id, "stripe", at, SELF.account, SELF.livemode, what, customer="cus_1"))
    teller.book("03-20")
    with app.db.read() as db:
        keys = list(db.scalars(select(t.entry.c.key).order_by(t.entry.c.effective_at)))
    assert [key.partition(":")[0] for key in keys] == ["new", "downgrade"]
    assert verify.findings(app, SELF) == []
    clock.at = day("04-02")
    app.close()
