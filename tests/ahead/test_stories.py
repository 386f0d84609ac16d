"""Dated stories: what customers hear before anything failed, on both engines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from billing.case import State
from billing.notices import address
from sandbox import declines
from tests.ahead.conftest import ALL_TOLD, Ahead, looking_ahead
from worker import suppression
from worker import tables as t
from worker.ahead import plan
from worker.ahead_tables import ahead_assignment, ahead_method
from worker.store import Owner

NOBODY_TOLD = ALL_TOLD.replace("control = 0.0", "control = 0.9")


def on(month: int, day: int, hour: int = 0) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


def expiring(w: Ahead, email: str = "ann@example.com", month: int = 2, **more: Any) -> Any:
    """1 January: somebody subscribes by the month with a Visa that expires in February."""
    sub = w.sb.subscribe("pm_card_visa", amount=2000, email=email, name="Ann Lee", **more)
    w.card(sub.payment_method, 2026, month)
    return sub


def subject_of(mail: Path) -> str:
    return str(message_from_bytes(mail.read_bytes(), policy=policy.default)["Subject"])


def test_a_card_that_nobody_mends_is_warned_of_once_and_its_failure_is_an_ordinary_case(
    database_url: str, tmp_path: Path
) -> None:
    with looking_ahead(database_url, tmp_path) as w:
        sub = expiring(w)
        w.live(on(2, 21))
        assert w.mails() == []
        # 22 February: the updater had its time, and a week is left.
        w.live(on(2, 23))
        (mail,) = w.mails()
        assert subject_of(mail) == "Your card for Acme: expiry date February 2026"
        # 1 March: the renewal fails all the same.
        w.sb.issuer.set(sub.payment_method, declines("expired_card"))
        w.live(on(3, 3))
        invoice = w.sb.latest_invoice(sub.subscription)["id"]
        assert w.case(invoice).state is State.NEEDS_CUSTOMER
        assert [subject_of(each) for each in w.mails()][1:] == ["Your payment of $20.00 to Acme did not go through"]
        w.live(on(3, 6))
        (warning,) = w.warnings()
        assert (warning.arm, warning.sent, warning.mended_at, warning.outcome) == ("told", "accepted", None, "failed")
        assert warning.mrr == 2000


def test_what_the_updater_mends_in_time_is_not_warned_of(database_url: str, tmp_path: Path) -> None:
    with looking_ahead(database_url, tmp_path) as w:
        sub = expiring(w)
        w.live(on(2, 21))
        (planned,) = w.warnings()
        assert (planned.state, planned.arm) == ("planned", None)
        # 21 February: the network tells Stripe the new card, a day before the message was to go out.
        w.sb.update_card(sub.payment_method)
        w.live(on(3, 10))
        (withdrawn,) = w.warnings()
        assert (withdrawn.state, withdrawn.because) == ("withdrawn", "the card is still good at the renewal")
        assert (w.mails(), w.rows(ahead_assignment)) == ([], [])
        (action,) = w.rows(t.action, kind="ahead")
        assert action.state == "cancelled"


def test_who_is_told_and_gives_a_new_card_has_mended_it_in_time(database_url: str, tmp_path: Path) -> None:
    with looking_ahead(database_url, tmp_path) as w:
        sub = expiring(w)
        w.live(on(2, 23))
        w.sb.new_card(sub.customer, "pm_card_mastercard")
        w.live(on(3, 10))
        (warning,) = w.warnings()
        assert (warning.outcome, warning.mended_by) == ("paid", "customer")
        assert warning.arm_at < warning.mended_at < warning.renewal_at
        assert len(w.mails()) == 1


def test_the_updater_after_the_message_is_told_apart_from_the_customer(sqlite_url: str, tmp_path: Path) -> None:
    with looking_ahead(sqlite_url, tmp_path) as w:
        sub = expiring(w)
        w.live(on(2, 23))
        w.sb.update_card(sub.payment_method)
        w.live(on(3, 10))
        (warning,) = w.warnings()
        assert (warning.outcome, warning.mended_by) == ("paid", "updater")


def test_the_control_hears_nothing_and_is_judged_alike(database_url: str, tmp_path: Path) -> None:
    with looking_ahead(database_url, tmp_path, NOBODY_TOLD, experiment_seed="7") as w:
        subs = [expiring(w, f"payer{n}@example.com") for n in range(6)]
        w.live(on(2, 27))
        arms = {row.customer: row.arm for row in w.warnings()}
        told = [sub for sub in subs if arms[sub.customer] == "told"]
        control = [sub for sub in subs if arms[sub.customer] == "control"]
        assert len(control) >= 3
        assert len(w.mails()) == len(told)
        assert {row.customer: row.arm for row in w.rows(ahead_assignment)} == arms
        for sub in control[:2]:
            w.sb.issuer.set(sub.payment_method, declines("expired_card"))
        w.sb.new_card(control[2].customer)
        w.live(on(3, 10))
        ended = {row.customer: row for row in w.warnings()}
        assert [ended[sub.customer].outcome for sub in control[:3]] == ["failed", "failed", "paid"]
        assert ended[control[2].customer].mended_by == "customer"
        assert all(row.sent is None for row in ended.values() if row.arm == "control")


def test_an_annual_renewal_is_announced_with_the_amount_of_stripes_preview(database_url: str, tmp_path: Path) -> None:
    with looking_ahead(database_url, tmp_path) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=120_000, interval="year", email="bob@example.com")
        w.client.v1.invoice_items.create({"customer": sub.customer, "amount": 1900, "currency": "usd"})
        w.sb.advance(on(12, 10))
        w.live(on(12, 17))
        assert w.mails() == []
        w.live(on(12, 19))
        (mail,) = w.mails()
        assert subject_of(mail) == "Your renewal with Acme on January 1, 2027: $1,219.00"
        w.live(timedelta(days=30))
        (warning,) = w.warnings()
        assert (warning.step, warning.amount, warning.outcome) == ("renewal_coming", 121_900, "paid")


def test_who_cancels_after_the_announcement_is_counted_as_gone(sqlite_url: str, tmp_path: Path) -> None:
    with looking_ahead(sqlite_url, tmp_path) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=120_000, interval="year", email="bob@example.com")
        w.sb.advance(on(12, 15))
        w.live(on(12, 20))
        w.client.v1.subscriptions.update(sub.subscription, {"cancel_at_period_end": True})
        w.live(timedelta(days=20))
        (warning,) = w.warnings()
        assert (warning.sent, warning.outcome) == ("accepted", "gone")


def test_a_renewal_without_a_payment_method_is_asked_for(database_url: str, tmp_path: Path) -> None:
    with looking_ahead(database_url, tmp_path) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com")
        w.client.v1.payment_methods.detach(sub.payment_method)
        w.live(on(1, 24))
        assert w.mails() == []
        w.live(on(1, 26))
        (mail,) = w.mails()
        assert subject_of(mail) == "A payment method is missing for Acme"
        w.sb.new_card(sub.customer)
        w.live(on(2, 8))
        (warning,) = w.warnings()
        assert (warning.outcome, warning.mended_by) == ("paid", "customer")


@pytest.mark.parametrize(
    ("spoil", "because"),
    [
        ("unsubscribed", "the address is suppressed: unsubscribed"),
        ("no address", "the customer has no e-mail address"),
    ],
)
def test_who_cannot_be_written_to_is_in_no_arm(sqlite_url: str, tmp_path: Path, spoil: str, because: str) -> None:
    with looking_ahead(sqlite_url, tmp_path) as w:
        sub = expiring(w)
        if spoil == "no address":
            w.client.v1.customers.update(sub.customer, {"email": ""})
        else:
            mailbox = suppression.mailbox_of(w.app.settings, address.parse("ann@example.com"))
            with w.app.db.begin() as db:
                suppression.suppress(db, mailbox, "unsubscribed", "test", w.app.now())
        w.live(on(3, 10))
        (warning,) = w.warnings()
        assert (warning.state, warning.because, warning.arm) == ("skipped", because, None)
        assert (w.mails(), w.rows(ahead_assignment)) == ([], [])


def test_who_has_an_unpaid_invoice_hears_of_that_alone(sqlite_url: str, tmp_path: Path) -> None:
    with looking_ahead(sqlite_url, tmp_path) as w:
        sub = expiring(w)
        other = w.sb.new_card(sub.customer, default=False)
        bought: Any = {"customer": sub.customer, "items": [{"price": sub.price}], "default_payment_method": other}
        w.client.v1.subscriptions.create(bought)
        w.live(on(1, 20))
        w.sb.issuer.set(other, declines("insufficient_funds"))
        w.live(on(2, 24))
        assert len(w.cases()) == 1
        assert w.sb.get(sub.subscription)["status"] == "active"
        assert w.warnings() == []


def test_one_card_of_two_subscriptions_is_one_message(sqlite_url: str, tmp_path: Path) -> None:
    with looking_ahead(sqlite_url, tmp_path) as w:
        sub = expiring(w)
        w.client.v1.subscriptions.create({"customer": sub.customer, "items": [{"price": sub.price}]})
        w.live(on(3, 10))
        assert len(w.warnings()) == len(w.mails()) == 1


def test_two_warnings_of_one_customer_keep_their_distance(sqlite_url: str, tmp_path: Path) -> None:
    with looking_ahead(sqlite_url, tmp_path, ALL_TOLD + "\n[ahead]\ngap_days = 10\n") as w:
        expiring(w, quantity=40)  # $800 a month: large, too
        w.live(on(3, 10))
        states = {(row.step, row.renewal_at.month): (row.state, row.because) for row in w.warnings()}
        assert states["renewal_coming", 3][0] == "told"
        assert states["card_expiring", 3] == ("skipped", "another warning for this customer was due within 10 days")


@pytest.mark.parametrize(
    ("settings", "because"),
    [
        ({"mode": "observe"}, "in mode observe nothing is sent"),
        ({"link_secret": None}, "there is no page for the customer: set link_secret, and public_url in https"),
        ({"policy": "ladder"}, "the policy ladder@1 warns of nothing"),
    ],
)
def test_without_what_it_takes_nothing_is_planned_and_said_why(
    sqlite_url: str, tmp_path: Path, settings: dict[str, Any], because: str
) -> None:
    with looking_ahead(sqlite_url, tmp_path, **settings) as w:
        expiring(w)
        w.live(on(2, 26))
        assert plan.run(w.app, Owner("self", False)) == because
        assert (w.warnings(), w.mails()) == ([], [])


def test_an_outage_of_stripe_is_waited_out(sqlite_url: str, tmp_path: Path) -> None:
    with looking_ahead(sqlite_url, tmp_path) as w:
        expiring(w)
        w.live(on(2, 21))
        w.sb.faults.add("answer", "GET", r"/v1/subscriptions/.*", count=3)
        w.live(on(2, 23))
        assert w.mails() == []  # by then it was night, and the message waits for the morning
        w.live(on(2, 24))
        assert len(w.mails()) == 1


def test_what_is_kept_of_a_card_is_what_a_warning_says(sqlite_url: str, tmp_path: Path) -> None:
    with looking_ahead(sqlite_url, tmp_path) as w:
        sub = expiring(w)
        w.settle()
        (row,) = w.rows(ahead_method)
        kept = {name: value for name, value in row._mapping.items() if name not in ("account", "livemode", "told_at")}
        assert kept == {
            "method": sub.payment_method,
            "customer": sub.customer,
            "kind": "card",
            "brand": "visa",
            "last4": "4242",
            "exp_month": 2,
            "exp_year": 2026,
        }
        w.client.v1.customers.delete(sub.customer)
        w.settle()
        assert w.rows(ahead_method) == []
