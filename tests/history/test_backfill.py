"""An account that had a past before anybody listened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import stripe
from sqlalchemy import select

from sandbox import SMART_RETRIES, Sandbox, company, declines, until
from tests.world import DAY, SELF, START, World, settings_for, world
from worker import backfill, books, store
from worker import tables as t
from worker.app import App, build
from worker.broker import NoBell
from worker.dispatcher import sweep
from worker.stripe_gateway import Gateway

BROKE = declines("insufficient_funds")


def movements(app: App) -> list[tuple[Any, ...]]:
    """What the books say of every customer, without how sure it is."""
    found: list[tuple[Any, ...]] = []
    with app.db.read() as db:
        customers = sorted({name for name in db.scalars(select(t.fact.c.customer)) if name})
        for facts in store.facts_of(db, SELF, customers).values():
            made = books.fold(facts, app.now()).movements
            found += [(m.effective_at, m.line, m.amount, m.reason, m.subscription) for m in made]
    return sorted(found, key=repr)


def rows(app: App, table: Any) -> list[Any]:
    with app.db.read() as db:
        return list(db.execute(select(table)))


@contextmanager
def newcomer(
    url: str, folder: Path, sb: Sandbox, now: Callable[[], datetime] | None = None, **settings: Any
) -> Iterator[App]:
    """An installation of today, with no endpoint."""
    app = build(settings_for(url, sb, folder / "newcomer", **settings), NoBell(), now=now or sb.clock)
    app.policies.load()
    try:
        yield app
    finally:
        app.close()


def a_past(w: World) -> None:
    """Four months: more seats, a trial that is left, a recovery, an end by decision, two losses for non-payment."""
    grows, recovers = w.sb.subscribe(amount=2000), w.sb.subscribe(amount=5000, quantity=2)
    trial, lost, later = (
        w.sb.subscribe(amount=900, trial_days=14),
        w.sb.subscribe(amount=700),
        w.sb.subscribe(amount=600),
    )
    w.sb.issuer.set(recovers.payment_method, until(datetime(2026, 2, 6, tzinfo=UTC)))
    w.sb.issuer.set(lost.payment_method, BROKE)
    w.pass_time(START + 40 * DAY, step=2 * DAY)
    item = w.sb.get(grows.subscription)["items"][0]["id"]
    w.client.v1.subscriptions.update(grows.subscription, {"items": [{"id": item, "quantity": 3}]})
    w.client.v1.subscriptions.update(trial.subscription, {"cancel_at_period_end": True})
    w.pass_time(START + 75 * DAY, step=2 * DAY)
    w.client.v1.subscriptions.cancel(recovers.subscription)
    w.sb.issuer.set(later.payment_method, BROKE)
    w.pass_time(START + 115 * DAY, step=2 * DAY)


def test_a_past_that_is_loaded_is_a_past_that_was_watched(database_url: str, sqlite_url_2: str, tmp_path: Path) -> None:
    with world(sqlite_url_2, tmp_path, mode="observe", sandbox={"dunning": SMART_RETRIES}) as w:
        a_past(w)
        with newcomer(database_url, tmp_path, w.sb, mode="observe") as app:
            backfill.run(app, SELF)
            assert movements(app) == movements(w.app)
            assert len(movements(app)) >= 10
            entries = len(rows(app, t.entry))
            facts = len(rows(app, t.fact))
            # Once more: nothing is added.
            backfill.run(app, SELF)
            assert (len(rows(app, t.entry)), len(rows(app, t.fact))) == (entries, facts)


class Killed(BaseException):
    """The process is gone between two pages."""


def test_each_page_is_kept_with_its_cursor(
    database_url: str, sqlite_url_2: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(start=START, seed=1, dunning=SMART_RETRIES) as sb:
        company.build(sb, subscriptions=40, days=50, failing=0.3)
        sb.advance(50 * DAY)
        with newcomer(sqlite_url_2, tmp_path, sb) as app:
            backfill.run(app, SELF)
            whole = movements(app)
            sources = {row.source for row in rows(app, t.fact)}
        small_pages(monkeypatch, 9)
        with newcomer(database_url, tmp_path, sb) as app:
            read: list[tuple[str, int]] = []
            for _ in range(200):
                try:
                    backfill.run(app, SELF, killing(read, every=7))
                    break
                except Killed:
                    continue
            assert movements(app) == whole
            assert {row.source for row in rows(app, t.fact)} == sources
            assert len(read) == len(set(read))  # no page was loaded twice


def small_pages(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    page = Gateway.page

    def smaller(self: Gateway, path: str, params: Any, after: str | None = None) -> Any:
        return page(self, path, {"limit": size, **params}, after)

    monkeypatch.setattr(Gateway, "page", smaller)


def killing(read: list[tuple[str, int]], every: int) -> backfill.Tell:
    calls = 0

    def tell(stage: str, objects: int) -> None:
        nonlocal calls
        calls += 1
        if stage != "books":
            read.append((stage, objects))
        if calls == every:
            raise Killed

    return tell


def test_history_charges_nobody_and_writes_to_nobody(sqlite_url: str, tmp_path: Path) -> None:
    with Sandbox(start=START, seed=1) as sb:  # no retries of Stripe's: everything stays open
        old = sb.subscribe(amount=2000, email="ann@example.com", behaviour=BROKE)
        sb.advance(55 * DAY)
        recent = sb.subscribe(amount=3000, email="bob@example.com", behaviour=BROKE)
        paid = sb.subscribe(amount=4000, email="cyd@example.com", behaviour=until(START + 90 * DAY))
        sb.advance(35 * DAY)
        invoice = sb.latest_invoice(paid.subscription)["id"]
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": sb.url})
        sb.issuer.set(paid.payment_method, until(START))
        client.v1.invoices.pay(invoice)
        attempts = len(sb.bank.movements)
        with newcomer(sqlite_url, tmp_path, sb, mode="own") as app:
            backfill.run(app, SELF)
            cases = {row.invoice: row.state for row in rows(app, t.recovery_case)}
            assert invoice not in cases  # it failed and was paid: history, no case
            assert cases[sb.latest_invoice(recent.subscription)["id"]] == "open"
            open_long = [row for row in rows(app, t.recovery_case) if row.subscription == old.subscription]
            assert open_long
            for _ in range(10):
                sweep(app)
            failed_long_ago = {row.invoice for row in open_long if row.deadline < app.now()}
            assert failed_long_ago
            done = [row for row in rows(app, t.action) if row.invoice in failed_long_ago]
            assert {row.kind for row in done if row.state == "done"} <= {"deadline", "look"}
            assert {row.state for row in rows(app, t.recovery_case) if row.invoice in failed_long_ago} == {"lost"}
            assert not [row for row in rows(app, t.notice) if row.invoice in failed_long_ago]
            assert len(sb.bank.movements) == attempts


def test_a_cursor_whose_object_is_gone_starts_its_list_again(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pages(monkeypatch, 2)
    with Sandbox(start=START, seed=1) as sb:
        people = [sb.subscribe(amount=1000).customer for _ in range(5)]
        sb.advance(timedelta(days=1))
        with newcomer(sqlite_url, tmp_path, sb) as app:
            with pytest.raises(Killed):
                backfill.run(app, SELF, killing_at("customers"))
            with app.db.begin() as db:
                cursor = t.backfill_cursor
                db.execute(cursor.update().where(cursor.c.resource == "customers").values(after="cus_gone"))
            backfill.run(app, SELF)
            assert {row.id for row in rows(app, t.customer)} == set(people)


def killing_at(stage: str) -> backfill.Tell:
    def tell(now: str, objects: int) -> None:
        if now == stage:
            raise Killed

    return tell
