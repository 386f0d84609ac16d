"""Marking as paid outside: Stripe is told once, nobody is charged, and the books say so, whatever line was the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from billing.case import State
from billing.ledger.sources import RecoveredBy
from sandbox import FINE, debit
from tests.fault.process import wait_until, working
from tests.fault.stage import Stage, staged
from tests.queue.conftest import RICH, failing
from tests.world import DAY, HOUR, SELF
from worker import flow, queue_acts
from worker import tables as t
from worker.columns import db_in

POINTS = ("S1", "S2", "S3", "S4", "S5")


def settled(stage: Stage) -> bool:
    return stage.count(t.action.c.kind == "settle", t.action.c.state == "done") == 1


def told(w: Any, invoice: str) -> int:
    """How often Stripe says that this invoice was paid."""
    return sum(invoice.encode() in row.body for row in w.rows(t.inbox, type="invoice.paid"))


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_here_tells_stripe_once_and_charges_nobody(
    point: str, database_url: str, tmp_path: Path
) -> None:
    with staged(database_url, tmp_path) as stage:
        w, (invoice,) = stage.world, stage.invoices
        assert queue_acts.act(w.app, SELF, "paid-outside", invoice, "ann", {}).changed
        log = tmp_path / "worker.log"
        with working(w.app.settings, log, crash=f"{point}:1") as worker:
            wait_until(lambda: worker.dead, f"a worker dies at {point}")
            assert worker.killed
        assert settled(stage) is False
        with working(w.app.settings, log) as worker:
            wait_until(lambda: settled(stage), "Stripe was told")
            worker.stop()
        stage.hear_everything()
        case = w.case(invoice)
        assert (case.state, case.recovered_by) == (State.RECOVERED, RecoveredBy.OUTSIDE_STRIPE)
        assert w.sb.bank.charged(invoice) == []
        assert told(w, invoice) == 1
        assert any("paid after all: outside_stripe" in row.because for row in w.rows(t.entry))


def test_a_payment_under_way_is_waited_for(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path) as story:
        story.w.sb.issuer.set(story.sub.payment_method, debit(3))
        story.act("retry-now")
        story.w.settle()
        assert story.w.case(story.invoice).in_flight
        assert story.refused("paid-outside") == "under_way"
        story.w.pass_time(4 * DAY)
        assert story.w.case(story.invoice).state is State.RECOVERED
        assert len(story.w.sb.bank.charged(story.invoice)) == 1
        assert not story.act("paid-outside").changed


def test_what_the_customer_paid_meanwhile_is_not_called_paid_outside(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path) as story:
        story.w.sb.issuer.set(story.sub.payment_method, FINE)
        story.act("paid-outside")
        story.w.client.v1.invoices.pay(story.invoice)
        assert flow.perform_due(story.w.app) == 1  # before Stripe's event comes
        assert not story.w.case(story.invoice).operator.outside
        story.w.settle()
        case = story.w.case(story.invoice)
        assert (case.state, case.recovered_by) == (State.RECOVERED, RecoveredBy.CUSTOMER)


def test_nothing_is_tried_while_stripe_cannot_be_told(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path) as story:
        story.w.sb.faults.add("answer", "GET", r"/v1/invoices/[^/]+", status=500, count=0)
        story.act("paid-outside")
        assert not story.act("paid-outside").changed
        story.w.pass_time(2 * DAY)
        assert story.w.case(story.invoice).state is State.HELD
        assert story.w.mails() == []
        story.w.sb.faults.clear()
        story.w.pass_time(2 * HOUR, step=HOUR)
        assert story.w.case(story.invoice).recovered_by is RecoveredBy.OUTSIDE_STRIPE
        assert story.w.sb.bank.charged(story.invoice) == []


@pytest.mark.parametrize("trouble", ["drop_before", "drop_after", "garbage", "answer_after"])
def test_where_the_answer_never_came_reading_tells_or_the_same_request_is_sent_again(
    trouble: str, database_url: str, tmp_path: Path
) -> None:
    with failing(database_url, tmp_path) as story:
        story.w.sb.faults.add(trouble, path=r"/v1/invoices/[^/]+/pay")
        story.act("paid-outside")
        story.w.settle()
        with story.w.app.db.begin() as db:
            begun = update(t.action).where(t.action.c.kind == "settle", t.action.c.state == "sending")
            assert db.execute(begun.values(lease_until=db_in(-1))).rowcount == (trouble == "drop_before")
        story.w.settle()
        assert story.w.case(story.invoice).recovered_by is RecoveredBy.OUTSIDE_STRIPE
        assert told(story.w, story.invoice) == 1
        assert story.w.sb.bank.charged(story.invoice) == []


def test_a_lost_case_that_was_paid_outside_is_recovered_late(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path, RICH) as story:
        story.w.pass_time(29 * DAY, step=DAY)
        assert story.w.case(story.invoice).state is State.LOST
        story.act("paid-outside")
        story.w.settle()
        assert story.w.case(story.invoice).recovered_by is RecoveredBy.OUTSIDE_STRIPE


def test_a_voided_invoice_cannot_be_marked(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path) as story:
        story.w.client.v1.invoices.void_invoice(story.invoice)
        story.w.settle()
        assert story.refused("paid-outside") == "voided"


def test_an_invoice_voided_meanwhile_ends_the_wish(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path) as story:
        story.act("paid-outside")
        story.w.client.v1.invoices.void_invoice(story.invoice)
        story.w.settle()
        case = story.w.case(story.invoice)
        assert (case.state, case.operator.outside) == (State.FORGIVEN, False)
