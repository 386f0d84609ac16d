"""What is known of cards and renewals: the newest by Stripe's clock, whatever the order, and from the back-fill too."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text

from billing.events.occurrences import CustomerSeen, Event, PaymentMethodSeen, SubscriptionSeen, What
from billing.events.snapshots import Card, Customer, Item, PaymentMethod, Subscription
from config.settings import Settings
from sandbox import Sandbox
from tests.ahead.conftest import ALL_TOLD, looking_ahead, policy_with
from tests.world import DAY, SELF, START
from worker import backfill
from worker import tables as t
from worker.ahead import known, plan
from worker.ahead_tables import ahead_default, ahead_method, ahead_renewal, ahead_warning
from worker.app import App, build
from worker.broker import NoBell
from worker.db import Database
from worker.store import Owner


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    yield made
    made.close()


def event(n: int, what: What, day: float = 0) -> Event:
    return Event(f"evt_{n}", f"test.{n}", START + timedelta(days=day), "self", False, what, customer="cus_1")


def card(month: int) -> PaymentMethod:
    return PaymentMethod("pm_1", "cus_1", "card", Card("fp", "visa", "4242", month, 2026))


SUBSCRIPTION = Subscription(
    "sub_1", "cus_1", "active", "usd", (Item("si", "p", "q", "2000", 1, "month"),), period_end=START + 31 * DAY
)
STORY = [
    event(1, PaymentMethodSeen(card(2), "attached")),
    event(2, CustomerSeen(Customer("cus_1", default_payment_method="pm_1")), 0.1),
    event(3, SubscriptionSeen(SUBSCRIPTION, "created"), 0.2),
    event(4, PaymentMethodSeen(card(9), "automatically_updated"), 3),
    event(5, CustomerSeen(Customer("cus_1", default_payment_method="pm_2")), 4),
    event(6, SubscriptionSeen(replace(SUBSCRIPTION, cancel_at_period_end=True), "updated"), 5),
    event(7, PaymentMethodSeen(replace(card(9), customer=None), "detached"), 6),
]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_order_and_however_often_the_newest_is_known(db: Database, seed: int) -> None:
    told = STORY * 2
    random.Random(seed).shuffle(told)  # noqa: S311 - an order to be had again
    for n in range(0, len(told), 3):
        with db.begin() as connection:
            known.learn(connection, SELF, told[n : n + 3])
    with db.read() as connection:
        (method,) = connection.execute(select(ahead_method)).all()
        (default,) = connection.execute(select(ahead_default)).all()
        (renewal,) = connection.execute(select(ahead_renewal)).all()
    assert (method.exp_month, method.customer) == (9, None)
    assert default.method == "pm_2"
    assert (renewal.renews_at, renewal.period_end) == (None, START + 31 * DAY)


def test_test_events_and_other_accounts_are_kept_apart(db: Database) -> None:
    with db.begin() as connection:
        known.learn(connection, SELF, STORY[:3])
        known.learn(connection, Owner("self", True), [event(9, PaymentMethodSeen(card(12), "attached"), 9)])
        known.learn(connection, Owner("acct_2", False), [event(9, PaymentMethodSeen(card(11), "attached"), 9)])
    with db.read() as connection:
        (mine,) = known.methods_of(connection, SELF, ["sub_1"]).values()
    assert known.expires(mine) == "2026-02"


def test_a_price_beyond_all_measure_is_kept_without_its_amount(db: Database) -> None:
    item = replace(SUBSCRIPTION.items[0], unit_amount=str(10**15), quantity=2**31 - 1)
    with db.begin() as connection:
        known.learn(connection, SELF, [event(1, SubscriptionSeen(replace(SUBSCRIPTION, items=(item,)), "created"))])
        (renewal,) = connection.execute(select(ahead_renewal)).all()
    assert (renewal.amount, renewal.mrr, renewal.renews_at) == (None, None, START + 31 * DAY)


@pytest.fixture
def later(database_url: str, tmp_path: Path) -> Iterator[tuple[Sandbox, App]]:
    """An account that lived before anybody listened: the app has the key, and heard nothing."""
    with Sandbox(start=START) as sb:
        settings = Settings(
            database_url=database_url,
            stripe_api_key="rk_test_reprieve",
            stripe_api_base=sb.url,
            stripe_requests_per_second=10_000,
            mode="own",
            mailbox_dir=tmp_path,
            link_secret="a secret of thirty-two characters",
            **policy_with(tmp_path / "policies", ALL_TOLD),
        )
        app = build(settings, NoBell(), now=sb.clock, sleep=lambda _: None)
        app.policies.load()
        yield sb, app
        app.close()


def test_the_back_fill_learns_what_pays_each_renewal(later: tuple[Sandbox, App]) -> None:
    sb, app = later
    one, other = sb.subscribe(amount=2000), sb.subscribe(amount=120_000, interval="year")
    own = sb.new_card(other.customer, "pm_card_mastercard", default=False)
    sb.get(other.subscription)["default_payment_method"] = own
    sb.get(one.payment_method)["card"] |= {"exp_month": 3, "exp_year": 2026}
    sb.advance(45 * DAY)
    backfill.run(app, SELF)
    with app.db.read() as db:
        found = known.methods_of(db, SELF, [one.subscription, other.subscription])
        renewals = {row.subscription: row for row in db.execute(select(ahead_renewal))}
    assert known.expires(found[one.subscription]) == "2026-03"
    assert (found[other.subscription].id, found[other.subscription].card) == (
        own,
        Card(None, "mastercard", "4444", 12, 2029),
    )
    assert renewals[other.subscription].months == 12


MANY = 20_000


def test_one_look_over_many_renewals_reads_pages_by_the_index_and_no_row_by_itself(
    database_url: str, tmp_path: Path
) -> None:
    with looking_ahead(database_url, tmp_path) as w:
        now = w.app.now()
        owner = SELF.key
        renewals, methods, defaults = [], [], []
        for n in range(MANY):
            ids = {"customer": f"cus_{n}", "subscription": f"sub_{n}"}
            at = now + timedelta(minutes=n * 3)
            terms = {"months": 1, "amount": 2000, "currency": "usd", "mrr": 2000, "trial": False, "told_at": now}
            renewals.append({**owner, **ids, "period_end": at, "renews_at": at, **terms, "own_method": None})
            year = 2025 if n % 100 == 0 else 2030
            shown = {"kind": "card", "brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": year}
            methods.append({**owner, "method": f"pm_{n}", "customer": f"cus_{n}", **shown, "told_at": now})
            defaults.append({**owner, "customer": f"cus_{n}", "method": f"pm_{n}", "told_at": now})
        with w.app.db.begin() as db:
            for table, rows in ((ahead_renewal, renewals), (ahead_method, methods), (ahead_default, defaults)):
                db.execute(insert(table), rows)
        statements = counted(w.app.db)
        # Cards that are good no more, of the renewals within nine days: seven of the policy and two of looking ahead.
        expected = sum(n % 100 == 0 and 12 * 60 <= n * 3 <= 9 * 24 * 60 for n in range(MANY))
        assert plan.run(w.app, SELF) == f"{expected} warnings planned"
        pages = 16 * 24 * 60 / 3 / plan.PAGE
        assert len(statements) < 14 * pages
        with w.app.db.read() as db:
            assert db.scalar(select(func.count()).select_from(ahead_warning)) == expected
            actions = select(func.count()).select_from(t.action).where(t.action.c.kind == "ahead")
            assert db.scalar(actions) == expected
            if w.app.db.sqlite:
                soon = "SELECT * FROM ahead_renewal WHERE account = 'self' AND livemode = 0 AND"
                place = (
                    "(renews_at, subscription) > ('2026', '') AND renews_at <= '2027' ORDER BY renews_at, subscription"
                )
                (*_, how) = db.execute(text(f"EXPLAIN QUERY PLAN {soon} {place}")).one()
                assert "ix_ahead_renewal_renews_at" in how


def counted(db: Database) -> list[str]:
    """Every statement from now on."""
    from sqlalchemy import event as happens

    statements: list[str] = []
    happens.listen(db.engine, "before_cursor_execute", lambda *it: statements.append(it[2]))
    return statements
