"""From the message to the money, over real HTTP: what the customer sees, what the bank sees, and what never happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from billing.case import State
from sandbox import declines
from tests.page.conftest import browser, link_in, paying_world, told
from tests.world import DAY, HOUR, START, World
from worker import tables as t
from worker.link_tables import customer_word, recovery_link

BROKE = declines("insufficient_funds")
EXPIRED = declines("expired_card")


def owing(w: World, behaviour: Any = EXPIRED, email: str = "ann@example.com") -> tuple[Any, str]:
    """1 January: somebody subscribes. 1 February: the renewal is declined, and a message goes out a day later."""
    sub = w.sb.subscribe("pm_card_visa", amount=2000, email=email, name="Ann Lee")
    w.sb.issuer.set(sub.payment_method, behaviour)
    w.pass_time(START + 33 * DAY, step=DAY)
    return sub, w.sb.latest_invoice(sub.subscription)["id"]


def new_card(portal: str) -> None:
    with httpx2.Client(timeout=20) as client:
        assert client.post(portal, data={"number": "4242424242424242"}).status_code == 200


def test_from_the_message_to_thanks(database_url: str, tmp_path: Path) -> None:
    with paying_world(database_url, tmp_path) as w:
        _, invoice = owing(w)
        (mail,) = w.mails()
        with browser(link_in(mail)) as b:
            page = b.get()
            assert page.status_code == 200
            assert "$20.00" in page.text
            assert "The card we have on file for you has expired" in page.text
            # One button leads to the portal, and back.
            sent = b.press("update")
            assert sent.status_code == 303
            assert sent.headers["location"].startswith(f"{w.sb.url}/p/session/")
            portal = sent.headers["location"]
            assert f"{b.url}?said=card_done" in httpx2.get(portal).text
            new_card(portal)
            w.settle()
            assert "New payment method received" in b.get(said="card_done").text
            assert b.buttons() == []  # the customer has done his part
            w.pass_time(HOUR, step=HOUR / 4)
            assert w.case(invoice).state is State.RECOVERED
            assert len(w.sb.bank.charged(invoice)) == 1
            page = b.get()
            assert "Thank you" in page.text
            assert "Everything is paid" in page.text
            assert "update" not in b.buttons()


def test_all_open_invoices_are_collected_once_each_with_the_new_card(database_url: str, tmp_path: Path) -> None:
    with paying_world(database_url, tmp_path) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com")
        w.client.v1.subscriptions.create({"customer": sub.customer, "items": [{"price": sub.price}]})
        w.sb.issuer.set(sub.payment_method, declines("lost_card"))
        w.pass_time(START + 33 * DAY, step=DAY)
        invoices = [invoice for invoice, state in w.cases().items() if state == State.NEEDS_CUSTOMER]
        assert len(invoices) == 2
        with browser(link_in(w.mails()[-1])) as b:
            assert b.get().text.count('value="pay"') == 2
            assert "$40.00" in b.get().text
            new_card(b.press("update").headers["location"])
        w.pass_time(HOUR, step=HOUR / 4)
        assert {w.cases()[invoice] for invoice in invoices} == {State.RECOVERED}
        assert [len(w.sb.bank.charged(invoice)) for invoice in invoices] == [1, 1]


def test_the_new_default_is_asked_even_where_the_subscription_has_a_card_of_its_own(
    database_url: str, tmp_path: Path
) -> None:
    with paying_world(database_url, tmp_path) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com")
        w.client.v1.subscriptions.update(sub.subscription, {"default_payment_method": sub.payment_method})
        w.sb.issuer.set(sub.payment_method, declines("lost_card"))
        w.pass_time(START + 33 * DAY, step=DAY)
        invoice = w.sb.latest_invoice(sub.subscription)["id"]
        with browser(link_in(w.mails()[0])) as b:
            new_card(b.press("update").headers["location"])
        w.pass_time(HOUR, step=HOUR / 4)
        assert w.case(invoice).state is State.RECOVERED
        (attempt,) = w.rows(t.attempt, invoice=invoice)
        assert attempt.request["payment_method"] == w.case(invoice).fresh_method


def test_choosing_another_card_on_file_is_a_new_card(sqlite_url: str, tmp_path: Path) -> None:
    with paying_world(sqlite_url, tmp_path) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com")
        spare = w.sb.new_card(sub.customer, "pm_card_mastercard", default=False)
        w.sb.issuer.set(sub.payment_method, declines("lost_card"))
        w.pass_time(START + 40 * DAY, step=DAY)
        invoice = w.sb.latest_invoice(sub.subscription)["id"]
        assert w.case(invoice).state is State.NEEDS_CUSTOMER
        w.client.v1.customers.update(sub.customer, {"invoice_settings": {"default_payment_method": spare}})
        w.pass_time(HOUR, step=HOUR / 4)
        assert w.case(invoice).state is State.RECOVERED


def test_a_double_click_opens_stripe_twice_and_charges_once(sqlite_url: str, tmp_path: Path) -> None:
    with paying_world(sqlite_url, tmp_path) as w:
        _, invoice = owing(w)
        with browser(link_in(w.mails()[0])) as b:
            portals = [b.press("update").headers["location"] for _ in range(2)]
            hosted = [b.press("pay", invoice=invoice).headers["location"] for _ in range(2)]
            assert hosted[0] == hosted[1]
            assert urlsplit(hosted[0]).path.startswith("/i/")
            for portal in portals:
                new_card(portal)
            new_card(hosted[0])
            w.pass_time(2 * DAY, step=HOUR)
            assert len(w.sb.bank.charged(invoice)) == 1
            # A tab that is still open asks once more: told that it is settled, and sent nowhere.
            late = b.press("pay", invoice=invoice).headers["location"]
            assert late.startswith(b.url)
            assert "said=settled" in late


def test_paid_at_stripe_a_moment_ago_is_seen_before_stripe_is_opened(sqlite_url: str, tmp_path: Path) -> None:
    with paying_world(sqlite_url, tmp_path) as w:
        _, invoice = owing(w)
        with browser(link_in(w.mails()[0])) as b:
            new_card(b.press("pay", invoice=invoice).headers["location"])
            # Its event has not come yet.
            assert w.cases()[invoice] != State.RECOVERED
            assert "said=settled" in b.press("update").headers["location"]
            assert "Everything is paid" in b.get().text


def test_an_invoice_of_somebody_else_is_not_opened(sqlite_url: str, tmp_path: Path) -> None:
    with paying_world(sqlite_url, tmp_path) as w:
        other = w.sb.subscribe("pm_card_visa", amount=7700, email="bob@example.com")
        w.sb.issuer.set(other.payment_method, BROKE)
        owing(w)
        mine = next(mail for mail in w.mails() if "$20.00" in told(mail))
        with browser(link_in(mine)) as b:
            assert "$77.00" not in b.get().text
            theirs = str(w.sb.latest_invoice(other.subscription)["id"])
            assert "said=settled" in b.press("pay", invoice=theirs).headers["location"]


def test_a_promised_day_is_kept_free_of_messages_and_attempts(database_url: str, tmp_path: Path) -> None:
    with paying_world(database_url, tmp_path) as w:
        _, invoice = owing(w, BROKE)
        before = len(w.rows(t.attempt, invoice=invoice))
        day = (w.sb.clock() + 9 * DAY).date()
        with browser(link_in(w.mails()[0])) as b:
            for _ in range(2):
                said = b.press("promise", day=day.isoformat())
                assert said.headers["location"].endswith("?said=promise_done#said")
            page = b.get(said="promise_done").text
            assert "we have noted your day" in page
            assert "Expected on" in page
            assert len(w.rows(t.fact, kind="Promised")) == 1
            assert [row.what for row in w.rows(t.audit)] == ["promise"]
            w.pass_time(9 * DAY, step=6 * HOUR)
            assert len(w.rows(t.attempt, invoice=invoice)) == before
            assert not w.case(invoice).promise_broken(w.sb.clock())
            # The day and the grace pass without money: the promise is broken, and the ladder goes on.
            w.pass_time(3 * DAY, step=6 * HOUR)
            assert w.case(invoice).promise_broken(w.sb.clock())
            assert len(w.rows(t.attempt, invoice=invoice)) == before + 1


def test_a_promise_does_not_hold_back_a_new_card(sqlite_url: str, tmp_path: Path) -> None:
    with paying_world(sqlite_url, tmp_path) as w:
        sub, invoice = owing(w, BROKE)
        with browser(link_in(w.mails()[0])) as b:
            b.press("promise", day=(w.sb.clock() + 9 * DAY).date().isoformat())
        w.sb.new_card(sub.customer)
        w.pass_time(HOUR, step=HOUR / 4)
        assert w.case(invoice).state is State.RECOVERED


def test_a_day_outside_the_window_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    with paying_world(sqlite_url, tmp_path) as w:
        _, invoice = owing(w, BROKE)
        now = w.sb.clock()
        with browser(link_in(w.mails()[0])) as b:
            for day in (now - 2 * DAY, w.case(invoice).deadline, now + 400 * DAY):
                assert "said=promise_bad" in b.press("promise", day=day.date().isoformat()).headers["location"]
            for word in ("", "soon", "2026-02-30", "0000-00-00"):
                assert "said=promise_bad" in b.press("promise", day=word).headers["location"]
        assert w.case(invoice).promised_until is None


def test_what_a_customer_writes_reaches_the_team_once_and_is_forgotten(database_url: str, tmp_path: Path) -> None:
    with paying_world(database_url, tmp_path, support_email="team@acme.example") as w:
        sub, _ = owing(w)
        words = "The amount is <b>wrong</b>.\r\nMy card is 4242 4242 4242 4242\u202e!"
        with browser(link_in(w.mails()[0])) as b:
            for _ in range(2):
                assert "said=talk_done" in b.press("talk", words=words).headers["location"]
            w.settle()
            (mail,) = [mail for mail in w.mails() if b"team@acme.example" in mail.read_bytes().split(b"\r\n\r\n")[0]]
            assert "The amount is <b>wrong</b>." in told(mail)
            assert "[number removed]!" in told(mail)
            assert "The amount is &lt;b&gt;wrong&lt;/b&gt;." in told(mail, "html")
            assert sub.customer in told(mail)
            assert [row.words for row in w.rows(customer_word)] == [""]
            # Too long, empty, or too often: nothing is sent.
            assert "said=talk_bad" in b.press("talk", words="x" * 1001).headers["location"]
            assert "said=talk_bad" in b.press("talk", words=" \u200b ").headers["location"]
            for number in range(9):
                last = b.press("talk", words=f"again {number}").headers["location"]
            assert "said=busy_text" in last


def test_while_stripe_is_away_the_page_says_so(sqlite_url: str, tmp_path: Path) -> None:
    with paying_world(sqlite_url, tmp_path, stripe_api_key=None, support_email=None) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com")
        w.sb.issuer.set(sub.payment_method, BROKE)
        w.pass_time(START + 33 * DAY, step=DAY)
        with browser(link_in(w.mails()[0])) as b:
            assert "talk" not in b.buttons()
            assert "said=away" in b.press("update").headers["location"]
            assert "cannot be opened right now" in b.get(said="away").text


def test_without_a_secret_the_message_leads_to_stripe(sqlite_url: str, tmp_path: Path) -> None:
    with paying_world(sqlite_url, tmp_path, link_secret=None) as w:
        owing(w)
        assert "/pay/" not in told(w.mails()[0])
        assert f"{w.sb.url}/i/" in told(w.mails()[0])
        assert w.rows(recovery_link) == []
