"""What webhooks missed, found by the list of events and by Stripe's present state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

from sandbox import declines
from tests.world import DAY, HOUR, SELF, START, World, world
from worker import reconcile, schedule
from worker import tables as t
from worker.dispatcher import sweep

BROKE = declines("insufficient_funds")


@contextmanager
def a_world(url: str, folder: Path) -> Iterator[World]:
    with world(url, folder, mode="observe") as w:
        yield w


def lost_in_delivery(w: World, span: timedelta) -> None:
    """Time passes, and nothing that Stripe has to tell arrives: the endpoint is gone for it."""
    endpoints = list(w.sb.world.store.all("webhook_endpoint"))
    for each in endpoints:
        each["status"] = "disabled"
    w.sb.advance(span)
    for each in endpoints:
        each["status"] = "enabled"


def unheard(w: World) -> tuple[str, str]:
    """A subscription that we know of, whose renewal fails without a word to us: (subscription, invoice)."""
    sub = w.sb.subscribe(amount=2000)
    w.sb.issuer.set(sub.payment_method, BROKE)
    w.settle()
    lost_in_delivery(w, 32 * DAY)
    return sub.subscription, w.sb.latest_invoice(sub.subscription)["id"]


def handle(w: World) -> None:
    while sweep(w.app):
        pass


def objects(found: list[reconcile.Finding]) -> set[str]:
    return {each.object for each in found}


def test_events_that_never_arrived_are_found_and_handled(database_url: str, tmp_path: Path) -> None:
    with a_world(database_url, tmp_path) as w:
        reconcile.events(w.app, SELF)
        _, invoice = unheard(w)
        assert invoice not in w.cases()
        found = reconcile.events(w.app, SELF)
        assert {each.found for each in found} >= {"invoice.payment_failed never arrived"}
        handle(w)
        assert w.case(invoice).state == "open"
        listed = {each["id"] for each in w.sb.world.store.all("event")}
        assert {row.event_id for row in w.rows(t.inbox)} <= listed
        # The overlap is read again, and what is known is not found twice.
        assert reconcile.events(w.app, SELF) == []


def test_a_state_that_no_event_tells_is_booked_from_the_state(database_url: str, tmp_path: Path) -> None:
    with a_world(database_url, tmp_path) as w:
        subscription, invoice = unheard(w)
        found = reconcile.state(w.app, SELF)
        assert objects(found) == {subscription, invoice}
        assert w.case(invoice).state == "open"
        handle(w)
        assert reconcile.state(w.app, SELF) == []


def test_a_case_whose_invoice_was_settled_in_silence_is_closed(database_url: str, tmp_path: Path) -> None:
    with a_world(database_url, tmp_path) as w:
        sub = w.sb.subscribe(amount=2000, behaviour=BROKE)
        w.pass_time(START + 33 * DAY, step=DAY)
        invoice = w.sb.latest_invoice(sub.subscription)["id"]
        assert w.case(invoice).live
        mute(w)
        w.client.v1.invoices.pay(invoice, {"paid_out_of_band": True})
        w.sb.advance(HOUR)
        found = reconcile.state(w.app, SELF)
        assert invoice in objects(found)
        assert w.case(invoice).state == "recovered"


def mute(w: World) -> None:
    for each in w.sb.world.store.all("webhook_endpoint"):
        each["status"] = "disabled"


def test_a_quantity_that_changed_in_silence_is_booked(sqlite_url: str, tmp_path: Path) -> None:
    with a_world(sqlite_url, tmp_path) as w:
        sub = w.sb.subscribe(amount=2000)
        w.settle()
        mute(w)
        w.sb.advance(DAY)
        item = w.sb.get(sub.subscription)["items"][0]["id"]
        w.client.v1.subscriptions.update(sub.subscription, {"items": [{"id": item, "quantity": 3}]})
        w.sb.advance(HOUR)
        assert [each.found for each in reconcile.state(w.app, SELF)] == ["other prices or quantities"]
        handle(w)
        postings = w.rows(t.posting)
        assert sum(row.minor for row in postings if row.name == "good") == 6000


def test_nothing_is_found_where_everything_arrived(sqlite_url: str, tmp_path: Path) -> None:
    with a_world(sqlite_url, tmp_path) as w:
        for behaviour in (None, BROKE):
            w.sb.subscribe(amount=2000, behaviour=behaviour)
        w.sb.subscribe(amount=900, trial_days=14)
        w.pass_time(START + 40 * DAY, step=DAY)
        w.sb.advance(HOUR)
        w.settle()
        assert reconcile.state(w.app, SELF) == []


def test_of_any_number_of_workers_one_does_what_is_due(database_url: str, tmp_path: Path, monkeypatch: Any) -> None:
    ran: list[str] = []
    monkeypatch.setattr(reconcile, "JOBS", {"a": noted(ran, "a", HOUR), "b": noted(ran, "b", DAY)})
    with a_world(database_url, tmp_path) as w:
        together(w)
        assert ran == []  # due one period after it was first seen
        for _ in range(24):
            w.sb.advance(HOUR)
            together(w)
        assert (ran.count("a"), ran.count("b")) == (24, 1)


def noted(ran: list[str], name: str, every: timedelta) -> reconcile.Job:
    def work(app: Any, owner: Any) -> list[reconcile.Finding]:
        ran.append(name)
        return []

    return reconcile.Job(every, work)


def together(w: World) -> None:
    workers = [Thread(target=reconcile.run_due, args=(w.app,)) for _ in range(3)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()


def test_what_a_dead_worker_took_is_due_again(sqlite_url: str, tmp_path: Path, monkeypatch: Any) -> None:
    class Dead(BaseException):
        pass

    def dies(app: Any, owner: Any) -> list[reconcile.Finding]:
        raise Dead

    ran: list[str] = []
    with a_world(sqlite_url, tmp_path) as w:
        monkeypatch.setattr(reconcile, "JOBS", {"a": reconcile.Job(HOUR, dies)})
        reconcile.run_due(w.app)
        w.sb.advance(HOUR)
        try:
            reconcile.run_due(w.app)
        except Dead:
            ran.append("died")
        monkeypatch.setattr(reconcile, "JOBS", {"a": noted(ran, "a", HOUR)})
        reconcile.run_due(w.app)
        assert ran == ["died"]
        w.sb.advance(schedule.WORK_LASTS)
        reconcile.run_due(w.app)
        assert ran == ["died", "a"]


def test_stripe_away_is_tried_again_sooner_and_said(sqlite_url: str, tmp_path: Path) -> None:
    with a_world(sqlite_url, tmp_path) as w:
        reconcile.run_due(w.app)
        w.sb.advance(HOUR)
        w.sb.faults.add("answer", method="GET", path="/v1/events", status=500, count=10)
        reconcile.run_due(w.app)
        row = w.rows(t.schedule, name="reconcile events")[0]
        assert row.due_at == w.sb.clock() + reconcile.TRY_AGAIN
        assert "500" in row.because
