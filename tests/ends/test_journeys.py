"""What becomes of a subscription whose payment never came: dated stories, over real HTTP, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from billing.case import State
from billing.ending import rescued_at
from billing.events.occurrences import Event, Promised
from sandbox import FINE
from tests.ends.stories import BROKE, DEADLINE, EVERYTHING, basic_price, ending, ends, nobody_pays, policy_file
from tests.world import DAY, HOUR, SELF, World, world
from worker import switch
from worker import tables as t
from worker.absorb import absorb
from worker.channel_tables import outgoing_event
from worker.dispatcher import sweep


def test_the_subscription_is_cancelled_and_the_invoice_written_off_when_the_window_passed(
    database_url: str, tmp_path: Path
) -> None:
    with ending(database_url, tmp_path, '[end]\nsubscription = "cancel"\ninvoice = "uncollectible"') as w:
        ann, invoice = nobody_pays(w)
        w.pass_time(DEADLINE - DAY, step=DAY)
        assert w.sb.get(ann.subscription)["status"] == "past_due"
        assert ends(w, invoice) == {}
        w.pass_time(DEADLINE + DAY, step=HOUR)
        subscription = w.sb.get(ann.subscription)
        assert (subscription["status"], w.sb.get(invoice)["status"]) == ("canceled", "uncollectible")
        assert "Reprieve" in subscription["cancellation_details"]["comment"]
        case = w.case(invoice)
        assert case.state is State.LOST
        assert dict(case.endings) == {"subscription": "cancel", "invoice": "uncollectible"}
        assert [(row.part, row.state) for row in w.rows(t.ending)] == [("subscription", "made"), ("invoice", "made")]
        w.pass_time(30 * DAY, step=DAY)
        assert len(w.rows(t.ending)) == 2


@pytest.mark.parametrize(
    ("tables", "status", "pause", "invoice_status", "lost"),
    [
        ('subscription = "cancel"', "canceled", None, "open", 2000),
        ('subscription = "pause"', "past_due", "void", "open", 2000),
        ('subscription = "unpaid"', "past_due", "keep_as_draft", "open", 2000),
        ('subscription = "pause"\ninvoice = "void"', "active", "void", "void", 2000),
        ('invoice = "uncollectible"', "past_due", None, "uncollectible", 0),
        ('invoice = "void"', "active", None, "void", 0),
        ("", "past_due", None, "open", 0),
    ],
)
def test_every_end_is_what_stripe_shows_and_what_the_books_say(
    sqlite_url: str, tmp_path: Path, tables: str, status: str, pause: str | None, invoice_status: str, lost: int
) -> None:
    with ending(sqlite_url, tmp_path, f"[end]\n{tables}") as w:
        ann, invoice = nobody_pays(w)
        w.pass_time(DEADLINE + DAY, step=DAY)
        subscription = w.sb.get(ann.subscription)
        assert (subscription["pause_collection"] or {}).get("behavior") == pause
        assert (subscription["status"], w.sb.get(invoice)["status"]) == (status, invoice_status)
        assert w.case(invoice).state is State.LOST
        assert all(state == "done" for state, _ in ends(w, invoice).values())
        assert booked(w) == ({"involuntary_churn": lost} if lost else {})


def booked(w: World) -> dict[str, int]:
    """What the books say was lost, by line; minor units a month."""
    w.keep_books()
    found: dict[str, int] = {}
    for row in w.rows(t.posting):
        if row.name in ("involuntary_churn", "voluntary_churn", "downgrade", "restructuring") and row.minor:
            found[row.name] = found.get(row.name, 0) + abs(row.minor)
    return found


@contextmanager
def sandbox_prices(url: str, folder: Path, by: str) -> Iterator[tuple[World, str]]:
    """A world whose policy names the price, which exists at Stripe."""
    tables = '[end]\nsubscription = "downgrade"\ninvoice = "void"\ndowngrade_to = ["basic-eur", "{}"]'
    own = policy_file(folder, tables.format("basic-usd"))
    with world(url, folder, policy="ends" if by == "lookup key" else "ladder", policy_dir=own) as w:
        price = basic_price(w, lookup_key="basic-usd")
        basic_price(w, lookup_key="basic-eur", currency="eur")
        if by == "id":  # it is known only now
            policy_file(folder, tables.format(price))
            w.app.settings.__dict__["policy"] = "ends"
            w.app.policies.load()
        yield w, price


@pytest.mark.parametrize("by", ["id", "lookup key"])
def test_the_subscription_moves_to_the_named_price_of_its_currency_and_interval(
    database_url: str, tmp_path: Path, by: str
) -> None:
    with sandbox_prices(database_url, tmp_path, by) as (w, price):
        ann, invoice = nobody_pays(w)
        w.pass_time(DEADLINE + DAY, step=DAY)
        subscription = w.sb.get(ann.subscription)
        assert [item["price"]["id"] for item in subscription["items"]] == [price]
        assert booked(w) == {"involuntary_churn": 1500}
        # Nothing is owed any more, and the next renewal asks for the lower price.
        assert (subscription["status"], w.sb.get(invoice)["status"]) == ("active", "void")
        w.sb.issuer.set(ann.payment_method, FINE)
        w.pass_time(32 * DAY, step=DAY)
        assert w.sb.latest_invoice(ann.subscription)["amount_paid"] == 500


def test_a_downgrade_that_cannot_be_made_goes_to_a_person_and_the_invoice_is_left(
    database_url: str, tmp_path: Path
) -> None:
    tables = '[end]\nsubscription = "downgrade"\ndowngrade_to = ["price_none", "no-such-key"]\ninvoice = "void"'
    with ending(database_url, tmp_path, tables) as w:
        ann, invoice = nobody_pays(w)
        w.pass_time(DEADLINE + DAY, step=DAY)
        assert w.sb.get(ann.subscription)["status"] == "past_due"
        assert w.sb.get(invoice)["status"] == "open"
        found = ends(w, invoice)
        assert found["subscription"][0] == "stuck"
        assert "none of the prices" in found["subscription"][1]
        assert found["invoice"][1].startswith("nothing: nothing was done about the subscription")


# ---------------------------------------------------------------- what stops an end


def test_days_may_pass_between_the_deadline_and_the_end_and_a_payment_in_them_ends_all(
    database_url: str, tmp_path: Path
) -> None:
    with ending(database_url, tmp_path, '[end]\nsubscription = "cancel"\nwait_days = 5') as w:
        ann, invoice = nobody_pays(w)
        w.pass_time(DEADLINE + 2 * DAY, step=DAY)
        assert w.case(invoice).state is State.LOST
        assert ends(w, invoice)["subscription"][0] == "waiting"
        w.sb.new_card(ann.customer)
        w.settle()
        w.client.v1.invoices.pay(invoice)
        w.pass_time(8 * DAY, step=DAY)
        assert w.case(invoice).state is State.RECOVERED
        assert w.sb.get(ann.subscription)["status"] == "active"
        assert ends(w, invoice)["subscription"][0] == "cancelled"


def test_a_payment_that_no_event_told_of_is_seen_by_the_last_look(database_url: str, tmp_path: Path) -> None:
    with ending(database_url, tmp_path, '[end]\nsubscription = "cancel"\nwait_days = 2') as w:
        ann, invoice = nobody_pays(w)
        w.pass_time(DEADLINE + DAY, step=DAY)
        w.client.v1.invoices.pay(invoice, {"paid_out_of_band": True})
        w.sb.advance(2 * DAY)
        while sweep(w.app):  # the worker goes on, and no webhook comes
            pass
        assert w.sb.get(ann.subscription)["status"] == "active"
        assert w.case(invoice).state is State.RECOVERED


@pytest.mark.parametrize("mode", ["observe", "notify"])
def test_who_does_not_drive_ends_nothing(sqlite_url: str, tmp_path: Path, mode: str) -> None:
    with ending(sqlite_url, tmp_path, '[end]\nsubscription = "cancel"\ninvoice = "void"', mode=mode) as w:
        ann, invoice = nobody_pays(w)
        w.pass_time(DEADLINE + 3 * DAY, step=DAY)
        assert w.case(invoice).state is State.LOST
        assert w.sb.get(ann.subscription)["status"] == "past_due"
        assert ends(w, invoice) == {}


def test_the_kill_switch_holds_back_an_end(sqlite_url: str, tmp_path: Path) -> None:
    with ending(sqlite_url, tmp_path, '[end]\nsubscription = "cancel"') as w:
        ann, invoice = nobody_pays(w)
        w.pass_time(DEADLINE - DAY, step=DAY)
        with w.app.db.begin() as db:
            switch.turn(db, SELF, True, "ann", "a test", w.app.now())
        w.pass_time(DEADLINE + DAY, step=DAY)
        assert (w.case(invoice).state, ends(w, invoice)["subscription"][0]) == (State.LOST, "waiting")
        assert w.sb.get(ann.subscription)["status"] == "past_due"
        with w.app.db.begin() as db:
            switch.turn(db, SELF, False, "ann", "a test", w.app.now())
        w.settle()
        assert w.sb.get(ann.subscription)["status"] == "canceled"


def test_an_open_case_of_another_subscription_keeps_the_customer_until_it_is_over(
    sqlite_url: str, tmp_path: Path
) -> None:
    with ending(sqlite_url, tmp_path, '[end]\nsubscription = "cancel"') as w:
        ann, invoice = nobody_pays(w)
        other = str(w.sb.get(ann.price)["product"])
        price = w.client.v1.prices.create(
            {"currency": "usd", "unit_amount": 900, "recurring": {"interval": "week"}, "product": other}
        ).id
        w.sb.issuer.set(ann.payment_method, FINE)
        w.client.v1.subscriptions.create({"customer": ann.customer, "items": [{"price": price}]})
        w.sb.issuer.set(ann.payment_method, BROKE)
        w.pass_time(DEADLINE + 2 * DAY, step=DAY)
        state, outcome = ends(w, invoice)["subscription"]
        assert (state, w.sb.get(ann.subscription)["status"]) == ("waiting", "past_due")
        assert "still open: kept" in outcome


def test_the_customers_own_cancellation_stops_retries_and_messages_at_once(database_url: str, tmp_path: Path) -> None:
    with ending(database_url, tmp_path, '[end]\nsubscription = "cancel"\ninvoice = "uncollectible"') as w:
        ann, invoice = nobody_pays(w)
        w.pass_time(5 * DAY, step=DAY)
        w.client.v1.subscriptions.cancel(ann.subscription, {"cancellation_details": {"feedback": "too_expensive"}})
        w.settle()
        case, mails = w.case(invoice), len(w.mails())
        tried = len(w.rows(t.attempt, invoice=invoice))
        assert case.state is State.CANCELLED
        waiting = [row.kind for row in w.rows(t.action, invoice=invoice) if row.state == "waiting"]
        assert waiting == []
        w.pass_time(DEADLINE + 5 * DAY, step=DAY)
        assert (len(w.rows(t.attempt, invoice=invoice)), len(w.mails())) == (tried, mails)
        assert (ends(w, invoice), w.sb.get(invoice)["status"]) == ({}, "open")


def test_a_promised_day_after_the_deadline_is_waited_for(sqlite_url: str, tmp_path: Path) -> None:
    with ending(sqlite_url, tmp_path, '[end]\nsubscription = "cancel"') as w:
        ann, invoice = nobody_pays(w)
        w.pass_time(DEADLINE - 2 * DAY, step=DAY)
        said = Promised(invoice, DEADLINE + 4 * DAY)
        event = Event("reprieve:promise", "reprieve.promised", w.app.now(), "self", False, said, customer=ann.customer)
        with w.app.db.begin() as db:
            absorb(w.app, db, SELF, [event])
        w.pass_time(DEADLINE + 4 * DAY, step=DAY)
        assert (w.case(invoice).state, w.sb.get(ann.subscription)["status"]) == (State.LOST, "past_due")
        w.pass_time(2 * DAY, step=DAY)
        assert w.sb.get(ann.subscription)["status"] == "canceled"


# ---------------------------------------------------------------- after the end


def test_a_card_added_after_the_end_is_told_and_never_charged(database_url: str, tmp_path: Path) -> None:
    with ending(database_url, tmp_path, '[end]\nsubscription = "cancel"', outgoing_webhooks=EVERYTHING) as w:
        ann, invoice = nobody_pays(w)
        w.pass_time(DEADLINE + 3 * DAY, step=DAY)
        asked = len(w.sb.bank.attempts(invoice))
        w.sb.new_card(ann.customer)
        w.pass_time(10 * DAY, step=DAY)
        case = w.case(invoice)
        assert rescued_at(case, w.app.policies.of("self", False, case.policy).end) is not None
        told = [row for row in w.rows(outgoing_event) if row.type == "case.late_rescue"]
        assert [row.body["data"]["invoice"] for row in told] == [invoice]
        w.sb.new_card(ann.customer, "pm_card_mastercard")
        w.pass_time(2 * DAY, step=DAY)
        assert len([row for row in w.rows(outgoing_event) if row.type == "case.late_rescue"]) == 1
        assert (len(w.sb.bank.attempts(invoice)), w.sb.bank.charged(invoice)) == (asked, [])
