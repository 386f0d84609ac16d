"""Dated stories: what the movable clock plays by itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
import stripe

from sandbox import SMART_RETRIES, Dunning, Sandbox, company, declines, until
from tests.sandbox.conftest import Client, client_of


def day(month: int, day: int, hour: int = 0, year: int = 2026) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


def statuses(sb: Sandbox, subscription: str) -> tuple[str, str]:
    return sb.get(subscription)["status"], sb.latest_invoice(subscription)["status"]


def test_a_subscription_of_the_31st_renews_on_the_last_day_of_each_month() -> None:
    with Sandbox(start=day(1, 31, 12)) as sb:
        made = sb.subscribe()
        sb.advance(day(6, 1))
        invoices = client_of(sb).v1.invoices.list({"subscription": made.subscription}).data
        renewed = [datetime.fromtimestamp(invoice.created, UTC) for invoice in reversed(invoices)]
        assert renewed == [day(1, 31, 12), day(2, 28, 12), day(3, 31, 12), day(4, 30, 12), day(5, 31, 12)]
        assert all(invoice.status == "paid" for invoice in invoices)
        assert len(sb.bank.charges) == 5


def test_a_renewal_is_finalised_and_attempted_an_hour_later(sb: Sandbox) -> None:
    made = sb.subscribe()
    sb.advance(day(2, 1, 0) + timedelta(minutes=59))
    draft = sb.latest_invoice(made.subscription)
    assert (draft["status"], draft["automatically_finalizes_at"]) == ("draft", int(day(2, 1, 1).timestamp()))
    sb.advance(day(2, 1, 1))
    assert statuses(sb, made.subscription) == ("active", "paid")


def test_time_never_runs_backwards(sb: Sandbox) -> None:
    sb.advance(day(3, 1))
    sb.advance(day(2, 1))
    assert sb.clock() == day(3, 1)


def test_a_trial_ends_in_its_first_paid_invoice(sb: Sandbox, client: Client) -> None:
    made = sb.subscribe(trial_days=14)
    assert statuses(sb, made.subscription) == ("trialing", "paid")
    sb.advance(day(1, 12))
    assert sb.world.events.types()[-1] == "customer.subscription.trial_will_end"
    sb.advance(day(1, 15, 2))
    assert statuses(sb, made.subscription) == ("active", "paid")
    assert [m.amount for m in sb.bank.charges] == [2000]
    invoice = client.v1.invoices.retrieve(sb.latest_invoice(made.subscription)["id"])
    assert invoice.billing_reason == "subscription_cycle"


def test_an_incomplete_subscription_expires_after_23_hours(sb: Sandbox, client: Client) -> None:
    sb.subscribe()
    customer = client.v1.customers.create()
    method = client.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer.id})
    price = client.v1.prices.list().data[0]
    made = client.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id}], "default_payment_method": method.id}
    )
    sb.advance(timedelta(hours=22))
    assert statuses(sb, made.id) == ("incomplete", "open")
    sb.advance(timedelta(hours=2))
    assert statuses(sb, made.id) == ("incomplete_expired", "void")


def test_cancelling_at_the_period_end_ends_it_there(sb: Sandbox, client: Client) -> None:
    made = sb.subscribe()
    client.v1.subscriptions.update(made.subscription, {"cancel_at_period_end": True})
    sb.advance(day(1, 31))
    assert sb.get(made.subscription)["status"] == "active"
    sb.advance(day(2, 2))
    ended = client.v1.subscriptions.retrieve(made.subscription)
    assert (ended.status, ended.ended_at) == ("canceled", int(day(2, 1).timestamp()))
    assert ended.cancellation_details.reason == "cancellation_requested"
    assert len(sb.bank.charges) == 1


@pytest.mark.parametrize(
    ("behavior", "status"), [("keep_as_draft", "draft"), ("void", "void"), ("mark_uncollectible", "uncollectible")]
)
def test_a_paused_collection_makes_invoices_that_nobody_pays(
    sb: Sandbox, client: Client, behavior: str, status: str
) -> None:
    made = sb.subscribe()
    client.v1.subscriptions.update(
        made.subscription,
        {"pause_collection": {"behavior": behavior, "resumes_at": int(day(2, 10).timestamp())}},
    )
    sb.advance(day(2, 2))
    assert statuses(sb, made.subscription) == ("active", status)
    sb.advance(day(3, 2))
    assert statuses(sb, made.subscription) == ("active", "paid")


def test_stripes_own_retries_stop_when_the_money_comes() -> None:
    with Sandbox(dunning=SMART_RETRIES) as sb:
        made = sb.subscribe(behaviour=until(day(2, 6)))
        sb.advance(day(2, 1, 2))
        failed = sb.latest_invoice(made.subscription)
        assert (failed["attempt_count"], failed["next_payment_attempt"]) == (1, int(day(2, 2, 1).timestamp()))
        sb.advance(day(2, 8))
        paid = sb.latest_invoice(made.subscription)
        assert (paid["status"], paid["attempt_count"], paid["next_payment_attempt"]) == ("paid", 5, None)
        assert sb.get(made.subscription)["status"] == "active"
        assert {m.source for m in sb.bank.attempts(paid["id"])} == {"automatic"}


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        ("cancel", "canceled", "payment_failed"),
        ("unpaid", "unpaid", None),
        ("past_due", "past_due", None),
        ("pause", "paused", None),
    ],
)
def test_the_end_of_retries_is_as_the_merchant_set_it(end: str, status: str, reason: str | None) -> None:
    with Sandbox(dunning=Dunning((timedelta(days=3), timedelta(days=5)), end=end, invoice="uncollectible")) as sb:
        made = sb.subscribe("pm_card_chargeCustomerFail")
        sb.advance(day(2, 10))
        assert statuses(sb, made.subscription) == (status, "uncollectible")
        subscription, invoice = sb.get(made.subscription), sb.latest_invoice(made.subscription)
        assert subscription["cancellation_details"]["reason"] == reason
        assert invoice["attempt_count"] == 3
        assert invoice["status_details"]["uncollectible"]["reason"] == "max_payment_attempts"
        if end == "pause":
            assert subscription["status_details"]["paused"]["subscription"]["type"] == "final_payment_failure"
        sb.advance(day(3, 5))
        later = sb.latest_invoice(made.subscription)
        assert (later["id"] != invoice["id"], later["status"]) == {
            "cancel": (False, "uncollectible"),
            "unpaid": (True, "draft"),
            "past_due": (True, "open"),
            "pause": (False, "uncollectible"),
        }[end]


def test_without_retries_the_end_comes_after_the_set_time(sb: Sandbox) -> None:
    sb.dunning = Dunning(end="cancel", after=timedelta(days=30))
    made = sb.subscribe("pm_card_chargeCustomerFail")
    sb.advance(day(2, 28))
    assert statuses(sb, made.subscription) == ("past_due", "open")
    assert sb.latest_invoice(made.subscription)["next_payment_attempt"] is None
    sb.advance(day(3, 4))
    assert sb.get(made.subscription)["status"] == "canceled"


def test_auto_advance_off_stops_retries_and_the_end(client: Client, sb: Sandbox) -> None:
    sb.dunning = SMART_RETRIES
    made = sb.subscribe("pm_card_chargeCustomerFail")
    sb.advance(day(2, 2))
    invoice = client.v1.invoices.update(sb.latest_invoice(made.subscription)["id"], {"auto_advance": False})
    assert (invoice.auto_advance, invoice.next_payment_attempt) == (False, None)
    with pytest.raises(stripe.CardError):
        client.v1.invoices.pay(invoice.id)
    assert client.v1.invoices.retrieve(invoice.id).next_payment_attempt is None
    attempts = len(sb.bank.attempts(invoice.id))
    sb.advance(day(2, 27))
    assert statuses(sb, made.subscription) == ("past_due", "open")
    assert len(sb.bank.attempts(invoice.id)) == attempts


def test_after_a_hard_decline_the_count_rises_but_the_card_rests(sb: Sandbox) -> None:
    sb.dunning = SMART_RETRIES
    made = sb.subscribe(behaviour=declines("stolen_card"))
    sb.advance(day(2, 6))
    invoice = sb.latest_invoice(made.subscription)
    assert invoice["attempt_count"] == 4
    assert len(sb.bank.attempts(invoice["id"])) == 1
    sb.new_card(made.customer)
    sb.advance(day(2, 8))
    assert statuses(sb, made.subscription) == ("active", "paid")


def test_an_invoice_to_be_sent_falls_overdue(sb: Sandbox, client: Client) -> None:
    sb.subscribe()
    customer = client.v1.customers.create({"email": "a@example.com"})
    price = client.v1.prices.list().data[0].id
    made = client.v1.subscriptions.create(
        {
            "customer": customer.id,
            "items": [{"price": price}],
            "collection_method": "send_invoice",
            "days_until_due": 10,
        }
    )
    assert statuses(sb, made.id) == ("active", "open")
    sb.advance(day(1, 12))
    assert "invoice.overdue" in sb.world.events.types()
    assert statuses(sb, made.id) == ("past_due", "open")


def test_the_updater_brings_a_new_card(sb: Sandbox, client: Client) -> None:
    made = sb.subscribe("pm_card_chargeCustomerFail")
    sb.advance(day(2, 2))
    sb.update_card(made.payment_method, "5555555555554444")
    assert sb.world.events.types()[-1] == "payment_method.automatically_updated"
    assert client.v1.payment_methods.retrieve(made.payment_method).card.last4 == "4444"
    assert client.v1.invoices.pay(sb.latest_invoice(made.subscription)["id"]).status == "paid"


def test_a_running_clock_plays_an_hour_a_second() -> None:
    with Sandbox(speed=3600 * 24 * 40) as sb:
        made = sb.subscribe()
        deadline = time.monotonic() + 10
        while len(sb.bank.charges) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(sb.bank.charged(made.invoice)) == 1
        assert len(sb.bank.charges) >= 2


def test_the_same_seed_tells_the_same_story() -> None:
    def story(seed: int) -> list[str]:
        with Sandbox(seed=seed) as sb:
            company.build(sb, 20, seed=seed)
            sb.advance(timedelta(days=60))
            return [f"{m.at} {m.outcome} {m.charge}" for m in sb.bank.movements]

    assert story(1) == story(1) != story(2)


def test_an_old_debt_does_not_make_a_paid_up_subscription_past_due(sb: Sandbox, client: Client) -> None:
    made = sb.subscribe("pm_card_chargeCustomerFail")
    sb.advance(day(2, 2))
    old = sb.latest_invoice(made.subscription)["id"]
    sb.new_card(made.customer)
    sb.advance(day(3, 2))
    assert statuses(sb, made.subscription) == ("active", "paid")
    with pytest.raises(stripe.CardError):
        client.v1.invoices.pay(old, {"payment_method": made.payment_method})
    assert sb.get(made.subscription)["status"] == "active"
    assert client.v1.invoices.pay(old).status == "paid"


def test_a_paused_subscription_resumes_with_a_period_of_its_own(client: Client, sb: Sandbox) -> None:
    sb.dunning = Dunning((timedelta(days=1),), end="pause")
    made = sb.subscribe("pm_card_chargeCustomerFail")
    sb.advance(day(2, 5))
    paused = client.v1.subscriptions.retrieve(made.subscription)
    assert (paused.status, paused.status_details.paused.subscription.type) == ("paused", "final_payment_failure")
    sb.new_card(made.customer)
    resumed = client.v1.subscriptions.resume(made.subscription, {"expand": ["latest_invoice"]})
    assert (resumed.status, resumed.status_details, resumed.latest_invoice.status) == ("active", None, "paid")
    assert resumed["items"].data[0].current_period_start == int(day(2, 5).timestamp())
