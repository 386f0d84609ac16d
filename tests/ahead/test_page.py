"""From the message to the portal: one button, and nothing for anybody without the link."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx2
import pytest

from config.messages import page
from tests.ahead.conftest import Ahead, looking_ahead
from tests.page.conftest import Browser, browser
from tests.world import SELF
from worker import links
from worker.link_tables import recovery_link
from worker.logs import Redactor


@contextmanager
def warned(url: str, folder: Path) -> Iterator[tuple[Ahead, Any, str]]:
    """A customer was warned of a card; the link in the message."""
    with looking_ahead(url, folder) as w:
        sub = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com")
        w.card(sub.payment_method, 2026, 2)
        w.settle()
        w.sb.advance(datetime(2026, 2, 20, tzinfo=UTC))
        w.live(timedelta(days=3))
        (mail,) = w.mails()
        body = message_from_bytes(mail.read_bytes(), policy=policy.default).get_body(("plain",))
        assert body is not None
        (link,) = (line for line in body.get_content().split() if "/method/" in line)
        yield w, sub, link


@pytest.fixture
def visit(sqlite_url: str, tmp_path: Path) -> Iterator[tuple[Ahead, Any, Browser]]:
    with warned(sqlite_url, tmp_path) as (w, sub, link), browser(link) as b:
        yield w, sub, b


def test_the_button_leads_to_the_portal_and_back(visit: tuple[Ahead, Any, Browser]) -> None:
    w, _, b = visit
    shown = b.get()
    assert shown.status_code == 200
    assert "Nothing is due here" in shown.text
    assert shown.headers["referrer-policy"] == "no-referrer"
    assert b.buttons() == ["update"]
    sent = b.press("update")
    assert sent.status_code == 303
    portal = sent.headers["location"]
    assert portal.startswith(f"{w.sb.url}/p/session/")
    assert f"{b.url}?said=method_done" in httpx2.get(portal).text
    httpx2.post(portal, data={"number": "5555555555554444"})
    assert "your next renewal is paid with it" in b.get(said="method_done").text
    w.settle()
    (warning,) = w.warnings()
    assert warning.mended_by == "customer"


def test_a_subscription_with_a_method_of_its_own_is_changed_on_the_portals_first_page(
    visit: tuple[Ahead, Any, Browser],
) -> None:
    w, sub, b = visit
    w.client.v1.subscriptions.update(sub.subscription, {"default_payment_method": sub.payment_method})
    w.settle()
    portal = b.press("update").headers["location"]
    assert w.sb.get(portal.rpartition("/")[2])["flow"] is None
    # A new default does not pay it, so nothing is mended; its own new method does.
    httpx2.post(portal, data={"number": "5555555555554444"})
    w.settle()
    assert [row.mended_by for row in w.warnings()] == [None]
    fresh = w.sb.new_card(sub.customer, "pm_card_mastercard", default=False)
    w.client.v1.subscriptions.update(sub.subscription, {"default_payment_method": fresh})
    w.settle()
    assert [row.mended_by for row in w.warnings()] == ["customer"]


@pytest.mark.parametrize("language", page.languages())
def test_the_page_speaks_every_language(visit: tuple[Ahead, Any, Browser], language: str) -> None:
    _, _, b = visit
    shown = b.get(lang=language).text
    assert f'<html lang="{language}"' in shown
    assert page.words(language)["method_lead"] in shown


def test_looking_changes_nothing_and_another_site_may_not_press(visit: tuple[Ahead, Any, Browser]) -> None:
    w, _, b = visit
    for _ in range(3):
        b.get()
    refused = b.press("update", headers={"sec-fetch-site": "cross-site"})
    unknown = b.press("promise")
    assert [refused.headers["location"], unknown.headers["location"]] == [b.url, b.url]
    assert [row.used for row in w.rows(recovery_link)] == [0]


def test_a_link_that_is_revoked_or_made_up_opens_nothing(visit: tuple[Ahead, Any, Browser]) -> None:
    w, sub, b = visit
    with browser(b.url[:-1] + ("A" if b.url[-1] != "A" else "B")) as other:
        assert other.get().status_code == 404
        assert other.press("update").status_code == 404
    with w.app.db.begin() as db:
        links.revoke(db, SELF, sub.customer, w.app.now())
    assert b.get().status_code == 404
    assert b.press("update").status_code == 404


def test_stripe_away_is_said_kindly(visit: tuple[Ahead, Any, Browser]) -> None:
    w, _, b = visit
    w.sb.faults.add("answer", "POST", r"/v1/billing_portal/sessions", count=0)
    assert "said=away" in b.press("update").headers["location"]


def test_the_link_stands_in_no_log(visit: tuple[Ahead, Any, Browser]) -> None:
    _, _, b = visit
    assert b.url.rpartition("/")[2] not in Redactor().line(f"GET {b.url} 200")
