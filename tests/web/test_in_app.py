"""What the merchant's product is told about a customer with an open payment: over real HTTP, from a real failure."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billing.case import RecoveryCase, State
from config import in_app as catalogue
from sandbox import until
from tests.channels.told import ask
from tests.store.rows import CASE
from tests.world import DAY, START, World, world
from worker import in_app
from worker.in_app import Days, Wall, shown
from worker.web.in_app import SCRIPT
from worker.web.server import start_in_thread

SECRET = "the in-app secret of these tests"
ORIGIN = "https://app.acme.example"


def token(customer: str, expires: datetime, secret: str = SECRET) -> str:
    """Made as docs/channels.md says, without code of ours."""
    content = f"in-app.{customer}.{int(expires.timestamp())}".encode()
    mac = base64.urlsafe_b64encode(hmac.digest(secret.encode(), content, "sha256")).decode().rstrip("=")
    return f"{customer}.{int(expires.timestamp())}.{mac}"


@contextmanager
def failing(url: str, folder: Path, **settings: Any) -> Iterator[tuple[World, str, str]]:
    """A world in which Ann's renewal just failed; (it, the address of its web process, her id)."""
    given = {
        "in_app_secret": SECRET,
        "in_app_origins": ORIGIN,
        "in_app_url": "https://app.acme.example/billing",
        **settings,
    }
    with world(url, folder, **given) as w:
        ann = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com", name="Ann Lee")
        w.sb.issuer.set(ann.payment_method, until(START + 40 * DAY))
        w.pass_time(START + 32 * DAY, step=DAY)
        base, stop = start_in_thread(w.app)
        try:
            yield w, base, ann.customer
        finally:
            stop()


def told(w: World, base: str, customer: str, query: str = "") -> dict[str, Any]:
    status, headers, text = ask(f"{base}/v1/in-app/{token(customer, w.app.now() + DAY)}{query}", origin=ORIGIN)
    assert status == 200, text
    assert headers["access-control-allow-origin"] == ORIGIN
    signed = hmac.digest(SECRET.encode(), b"answer." + text.encode(), "sha256").hex()
    assert headers["reprieve-signature"] == f"v1={signed}"
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_banner_becomes_a_wall_and_goes_when_the_payment_comes(database_url: str, tmp_path: Path) -> None:
    with failing(database_url, tmp_path, in_app_soft_wall_days=2, in_app_hard_wall_days=5) as (w, base, ann):
        banner = told(w, base, ann)
        assert banner["state"] == "banner"
        assert "$20.00" in banner["words"]["body"]
        assert banner["words"]["dismiss"]
        assert banner["link"] == "https://app.acme.example/billing"
        w.pass_time(START + 34 * DAY, step=DAY)
        assert told(w, base, ann)["state"] == "soft_wall"
        w.pass_time(START + 37 * DAY, step=DAY)
        hard = told(w, base, ann)
        assert hard["state"] == "hard_wall"
        assert datetime.fromisoformat(hard["grace_until"]) <= w.app.now()
        assert "dismiss" not in hard["words"]
        w.pass_time(START + 45 * DAY, step=DAY)
        assert list(w.cases().values()) == ["recovered"]
        assert told(w, base, ann)["state"] == "none"
        assert told(w, base, "cus_somebody_else")["state"] == "none"


@pytest.mark.parametrize("language", sorted(catalogue.languages()))
def test_every_language_has_its_own_words(language: str) -> None:
    english = catalogue.languages()["en"]
    for wall in (Wall.BANNER, Wall.SOFT, Wall.HARD):
        found = in_app.words(wall, [CASE], "2026-03-14", language, language)
        assert "{" not in "".join(found.values())
        assert "20" in found["body"]
        assert (found["title"] == english["title"]) is (language == "en")


def test_the_customers_page_says_which_language(sqlite_url: str, tmp_path: Path) -> None:
    with failing(sqlite_url, tmp_path) as (w, base, ann):
        assert told(w, base, ann, "?lang=de")["language"] == "de"
        assert told(w, base, ann, "?lang=xx")["language"] == "en"
        assert told(w, base, ann, "?lang=%22%3E")["language"] == "en"


def test_a_token_that_is_not_good_learns_nothing(sqlite_url: str, tmp_path: Path) -> None:
    with failing(sqlite_url, tmp_path) as (w, base, ann):
        now = w.app.now()
        good = token(ann, now + DAY)
        assert in_app.token(SECRET, ann, now + DAY) == good
        wrong = [
            token(ann, now - timedelta(seconds=1)),
            token(ann, now + 8 * DAY),
            token(ann, now + DAY, "another secret, as long as it is"),
            good[:-1],
            good.replace(ann, "cus_other"),
            f"{ann}.99999999999999.x",
            f"{ann}..",
            "%00",
            "%F0%9F%98%80",
        ]
        answers = {(ask(f"{base}/v1/in-app/{each}")[0], ask(f"{base}/v1/in-app/{each}")[2]) for each in wrong}
        assert answers == {(404, '{"state":"none"}')}


def test_pages_of_other_origins_may_not_read_it(sqlite_url: str, tmp_path: Path) -> None:
    with failing(sqlite_url, tmp_path) as (w, base, ann):
        url = f"{base}/v1/in-app/{token(ann, w.app.now() + DAY)}"
        for origin in ("https://evil.example", "null", "https://app.acme.example.evil.example"):
            _, headers, _ = ask(url, origin=origin)
            assert "access-control-allow-origin" not in headers
            assert headers["vary"] == "Origin"
        assert ask(url, origin=ORIGIN)[1]["cache-control"] == "private, max-age=60"


def test_without_a_secret_there_is_no_door_and_observing_shows_nothing(sqlite_url: str, tmp_path: Path) -> None:
    with failing(sqlite_url, tmp_path, mode="observe") as (w, base, ann):
        assert told(w, base, ann)["state"] == "none"
    settings = w.app.settings.model_copy(update={"in_app_secret": None})
    assert in_app.customer_of(settings, token(ann, w.app.now() + DAY, ""), w.app.now()) is None


def test_the_script_is_small_and_served_with_a_tag(sqlite_url: str, tmp_path: Path) -> None:
    assert SCRIPT.stat().st_size < 6 * 1024
    with failing(sqlite_url, tmp_path) as (_, base, _):
        status, headers, text = ask(f"{base}/static/reprieve.js")
        assert (status, headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        assert text == SCRIPT.read_text()
        assert "cookie" not in text.replace("No cookies", "")
        assert "innerHTML" not in text
        assert "localStorage" not in text
        assert ask(f"{base}/static/reprieve.js", if_none_match=headers["etag"])[0] == 304


# ---------------------------------------------------------------- the rule


DAYS = Days(soft=7, hard=14)


def case_at(**changes: Any) -> RecoveryCase:
    return replace(CASE, **changes)


@pytest.mark.parametrize(
    ("days", "after", "wall"),
    [
        (DAYS, 0, Wall.BANNER),
        (DAYS, 6.99, Wall.BANNER),
        (DAYS, 7, Wall.SOFT),
        (DAYS, 13.99, Wall.SOFT),
        (DAYS, 14, Wall.HARD),
        (Days(0, 0), 0, Wall.SOFT),
        (Days(7, 0), 300, Wall.SOFT),  # never hard
        (Days(7, 3), 4, Wall.HARD),
    ],
)
def test_the_days_since_the_failure_decide(days: Days, after: float, wall: Wall) -> None:
    assert shown([CASE], days, CASE.failed_at + timedelta(days=after)).wall is wall


@pytest.mark.parametrize(
    "changes",
    [
        {"state": State.HELD},
        {"state": State.PAUSED},
        {"state": State.RECOVERED},
        {"state": State.LOST},
        {"processing_at": CASE.last_failed_at},
    ],
)
def test_nothing_is_shown_when_nothing_may_be_asked(changes: dict[str, Any]) -> None:
    assert shown([case_at(**changes)], DAYS, CASE.failed_at + timedelta(days=20)).wall is Wall.NONE


def test_the_oldest_open_payment_decides() -> None:
    younger = case_at(invoice="in_2", failed_at=CASE.failed_at + timedelta(days=10))
    seen = shown([younger, CASE], DAYS, CASE.failed_at + timedelta(days=14))
    assert (seen.wall, seen.because) == (Wall.HARD, f"in_1 is open since {CASE.failed_at:%Y-%m-%d}")


def test_every_wall_has_its_sentence() -> None:
    assert in_app.SENTENCES.keys() == set(Wall)
