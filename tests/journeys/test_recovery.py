"""The whole path as dated stories: over real HTTP, on both engines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billing.case import State
from billing.declines import DeclineClass
from billing.ledger.sources import RecoveredBy
from sandbox import FINE, SMART_RETRIES, Chaos, Dunning, authenticates, declines, until
from tests.world import DAY, HOUR, START, World, world
from worker import tables as t

PAYDAY = until(datetime(2026, 2, 6, tzinfo=UTC))  # no money before that instant
BROKE = declines("insufficient_funds")


def renewal_fails(w: World, behaviour: Any, card: str = "pm_card_visa") -> tuple[Any, str]:
    """1 January: somebody subscribes for 20.00 a month. 1 February: the renewal is declined."""
    sub = w.sb.subscribe(card, amount=2000, email="ann@example.com", name="Ann Lee")
    w.sb.issuer.set(sub.payment_method, behaviour)
    w.pass_time(START + 32 * DAY, step=DAY)
    return sub, w.sb.latest_invoice(sub.subscription)["id"]


def attempts(w: World, invoice: str) -> list[str]:
    return [row.state for row in w.rows(t.attempt, invoice=invoice)]


def test_a_declined_renewal_is_retried_and_recovered(database_url: str, tmp_path: Path) -> None:
    with world(database_url, tmp_path) as w:
        _, invoice = renewal_fails(w, PAYDAY)
        assert w.case(invoice).state in (State.OPEN, State.RECOVERING)
        # The ladder: on days two and four in vain, on day seven there is money.
        w.pass_time(START + 45 * DAY)
        case = w.case(invoice)
        assert case.state is State.RECOVERED
        assert case.recovered_by is RecoveredBy.OUR_RETRY
        assert attempts(w, invoice) == ["failed", "failed", "succeeded"]
        assert len(w.sb.bank.charged(invoice)) == 1
        # One message that it failed, one that it is mended.
        assert [row.step for row in w.rows(t.notice)] == ["payment_failed", "recovered"]
        assert len(w.mails()) == 2


def test_every_webhook_twice_late_and_in_any_order_ends_the_same(database_url: str, tmp_path: Path) -> None:
    chaos = Chaos(duplicate=0.5, reorder=0.5, delay=0.5)
    with world(database_url, tmp_path, sandbox={"chaos": chaos}) as w:
        invoices = [renewal_fails(w, PAYDAY)[1]]
        w.pass_time(START + 50 * DAY)
        for invoice in invoices:
            assert w.case(invoice).state is State.RECOVERED
            assert len(w.sb.bank.charged(invoice)) == 1
            assert len(w.rows(t.notice, invoice=invoice)) == 2


def test_thin_events_do_what_snapshots_do(database_url: str, tmp_path: Path) -> None:
    with world(database_url, tmp_path, endpoint={"thin": True}) as w:
        _, invoice = renewal_fails(w, PAYDAY)
        w.pass_time(START + 45 * DAY)
        assert w.case(invoice).state is State.RECOVERED
        assert not w.rows(t.inbox, state="quarantined")
        assert not w.rows(t.inbox, state="fetching")


@pytest.mark.parametrize("version", ["2022-11-15", "2024-06-20", "2025-03-31.basil", "2026-03-25.dahlia"])
def test_every_api_version_of_the_endpoint_leads_to_the_same_end(sqlite_url: str, tmp_path: Path, version: str) -> None:
    with world(sqlite_url, tmp_path, endpoint={"api_version": version}) as w:
        _, invoice = renewal_fails(w, PAYDAY)
        w.pass_time(START + 45 * DAY)
        assert w.case(invoice).state is State.RECOVERED
        assert w.case(invoice).decline_class is DeclineClass.INSUFFICIENT_FUNDS
        assert not w.rows(t.inbox, state="quarantined")


def test_observing_sends_nothing_and_still_knows(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, mode="observe", sandbox={"dunning": SMART_RETRIES}) as w:
        _, invoice = renewal_fails(w, PAYDAY)
        w.pass_time(START + 50 * DAY)
        assert w.case(invoice).state is State.RECOVERED
        assert w.case(invoice).recovered_by is RecoveredBy.STRIPE_RETRY
        assert attempts(w, invoice) == []
        assert w.mails() == []


def test_notifying_writes_and_leaves_the_retries_to_stripe(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, mode="notify", sandbox={"dunning": SMART_RETRIES}) as w:
        _, invoice = renewal_fails(w, PAYDAY)
        w.pass_time(START + 50 * DAY)
        assert w.case(invoice).recovered_by is RecoveredBy.STRIPE_RETRY
        assert attempts(w, invoice) == []
        assert len(w.mails()) == 2


def test_weaving_keeps_a_day_away_from_every_attempt_of_stripe(sqlite_url: str, tmp_path: Path) -> None:
    dunning = Dunning(retries=(3 * DAY, 10 * DAY, 17 * DAY), end="past_due")
    with world(sqlite_url, tmp_path, mode="weave", sandbox={"dunning": dunning}) as w:
        _, invoice = renewal_fails(w, BROKE)
        w.pass_time(START + 62 * DAY, step=3 * HOUR)
        moves = w.sb.bank.attempts(invoice)
        ours = [datetime.fromisoformat(move.at) for move in moves if (move.key or "").startswith("dn1_")]
        stripes = [datetime.fromisoformat(move.at) for move in moves if not (move.key or "").startswith("dn1_")]
        assert ours
        assert len(stripes) > 1
        assert min(abs(a - b) for a in ours for b in stripes) >= timedelta(hours=23)


def test_own_mode_never_drives_beside_stripe(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, mode="own", sandbox={"dunning": SMART_RETRIES}) as w:
        _, invoice = renewal_fails(w, BROKE)
        w.pass_time(START + 40 * DAY)
        assert attempts(w, invoice) == []


def test_a_lost_card_is_never_tried_again_until_there_is_a_new_one(database_url: str, tmp_path: Path) -> None:
    with world(database_url, tmp_path) as w:
        sub, invoice = renewal_fails(w, declines("lost_card"))
        w.pass_time(START + 40 * DAY)
        assert w.case(invoice).state is State.NEEDS_CUSTOMER
        assert attempts(w, invoice) == []
        # Day 40: the customer brings a new card; minutes later it is charged.
        w.sb.new_card(sub.customer, "pm_card_visa")
        w.pass_time(HOUR, step=HOUR / 4)
        assert w.case(invoice).state is State.RECOVERED
        assert attempts(w, invoice) == ["succeeded"]


def test_authentication_is_left_to_the_customer(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path) as w:
        _, invoice = renewal_fails(w, authenticates("off_session"))
        w.pass_time(START + 40 * DAY)
        assert w.case(invoice).state is State.NEEDS_CUSTOMER
        assert w.case(invoice).decline_class is DeclineClass.AUTHENTICATION
        assert attempts(w, invoice) == []
        assert len(w.mails()) == 1


def test_a_case_that_nobody_pays_is_lost_at_its_deadline_and_late_money_is_still_told(
    database_url: str, tmp_path: Path
) -> None:
    with world(database_url, tmp_path) as w:
        sub, invoice = renewal_fails(w, BROKE)
        w.pass_time(START + 61 * DAY, step=12 * HOUR)
        case = w.case(invoice)
        assert case.state is State.LOST
        assert 0 < len(case.attempts) <= 8
        # Day 62: the customer pays after all, by hand.
        w.sb.issuer.set(sub.payment_method, FINE)
        w.client.v1.invoices.pay(invoice)
        w.pass_time(DAY)
        assert w.case(invoice).state is State.RECOVERED
        assert w.case(invoice).recovered_by is not RecoveredBy.OUR_RETRY


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (lambda w, sub, invoice: w.client.v1.invoices.void_invoice(invoice), State.FORGIVEN),
        (lambda w, sub, invoice: w.client.v1.invoices.mark_uncollectible(invoice), State.FORGIVEN),
        (
            lambda w, sub, invoice: w.client.v1.subscriptions.cancel(
                sub.subscription, {"cancellation_details": {"feedback": "too_expensive"}}
            ),
            State.CANCELLED,
        ),
    ],
    ids=["voided", "written off", "cancelled by the customer"],
)
def test_an_end_stops_everything(sqlite_url: str, tmp_path: Path, end: Any, state: State) -> None:
    with world(sqlite_url, tmp_path) as w:
        sub, invoice = renewal_fails(w, BROKE)
        before = len(w.sb.bank.attempts(invoice))
        end(w, sub, invoice)
        w.pass_time(20 * DAY)
        assert w.case(invoice).state is state
        assert len(w.sb.bank.attempts(invoice)) == before
        assert not w.rows(t.action, state="waiting")


def test_stripes_own_last_action_ends_the_case_as_lost(sqlite_url: str, tmp_path: Path) -> None:
    dunning = Dunning(retries=(3 * DAY, 5 * DAY), end="cancel")
    with world(sqlite_url, tmp_path, mode="notify", sandbox={"dunning": dunning}) as w:
        _, invoice = renewal_fails(w, BROKE)
        w.pass_time(START + 50 * DAY, step=DAY)
        assert w.case(invoice).state is State.LOST


def test_every_live_case_has_a_next_step(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path) as w:
        for behaviour in (BROKE, declines("lost_card"), declines("do_not_honor"), authenticates("off_session")):
            sub = w.sb.subscribe(amount=2000, email="ann@example.com")
            w.sb.issuer.set(sub.payment_method, behaviour)
        w.pass_time(START + 45 * DAY, step=DAY)
        live = {invoice for invoice, state in w.cases().items() if state in ("open", "recovering", "needs_customer")}
        assert len(live) == 4
        waiting = {row.invoice for row in w.rows(t.action, state="waiting")}
        assert live <= waiting


def test_a_dispute_holds_every_case_of_the_customer(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path) as w:
        sub, invoice = renewal_fails(w, BROKE)
        made = len(w.sb.bank.attempts(invoice))
        # The bank tells of a dispute about the first, paid invoice: it names a charge, and no customer.
        paid = w.sb.bank.charged(sub.invoice)[0]
        assert paid.charge
        dispute = w.sb.dispute(paid.charge, "fraudulent")
        w.pass_time(15 * DAY)
        assert w.case(invoice).state is State.HELD
        assert len(w.sb.bank.attempts(invoice)) == made
        # It is won: the ladder goes on.
        w.sb.close_dispute(dispute["id"], "won")
        w.pass_time(5 * DAY)
        assert len(w.sb.bank.attempts(invoice)) > made


def test_a_thin_event_without_a_key_waits_for_a_person_and_runs_when_there_is_one(
    sqlite_url: str, tmp_path: Path
) -> None:
    with world(sqlite_url, tmp_path, endpoint={"thin": True}, stripe_api_key=None) as w:
        w.sb.subscribe(amount=2000)
        w.settle()
        stuck = w.rows(t.inbox, state="quarantined")
        assert stuck
        assert all("no Stripe key" in row.because for row in stuck)
