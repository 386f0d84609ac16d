"""The first page over HTTP: what stands on it, who may see it, and that it pages through everything once."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from billing.actions import Kind
from billing.case import RecoveryCase, State
from billing.money import Amount
from sandbox import Sandbox
from tests.screens.conftest import Played
from tests.web.harness import wait_until
from tests.world import SELF, settings_for
from worker import store, switch
from worker.app import build
from worker.broker import NoBell
from worker.web import dashboard
from worker.web.open_cases import STEPS
from worker.web.server import start_in_thread

AT = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


Get = Callable[..., Answer]


def getting(url: str) -> Get:
    def get(path: str, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, text)

    return get


@pytest.fixture(scope="module")
def get(played: Played) -> Iterator[Get]:
    url, stop = start_in_thread(played.world.app, dashboard.routes(played.world.app))
    yield getting(url)
    stop()


def words(html: str) -> str:
    """What a reader sees, with single spaces."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def overview(get: Get) -> str:
    wait_until(lambda: "closing MRR" in get("/").text)
    return words(get("/").text)


def test_the_bridge_of_the_last_full_and_the_present_month_is_shown(get: Get) -> None:
    shown = overview(get)
    assert "February 2026 March 2026 so far" in shown
    assert "opening MRR 140.00 140.00" in shown
    assert "+ recovered involuntary churn 20.00 0.00" in shown
    assert "= closing MRR 140.00 110.00" in shown


def test_an_open_case_is_a_row_with_its_state_amount_reason_and_deadline(played: Played, get: Get) -> None:
    html = get("/").text
    row = words(next(part for part in html.split("<tr>") if played.open in part))
    assert row.startswith(f"{played.open} needs customer 40.00 USD 40.00 USD/mo")
    assert "29 Mar 2026" in row
    assert played.recovered not in html


def test_a_state_shows_its_cases(played: Played, get: Get) -> None:
    assert played.recovered in get("/?state=recovered").text
    assert played.open not in get("/?state=recovered").text
    assert played.lost in get("/?state=lost").text


def test_a_case_page_tells_the_story(played: Played, get: Get) -> None:
    story = get(f"/cases/{played.recovered}")
    assert story.status == 200
    assert "asked the bank for 20.00 USD, attempt 1" in words(story.text)
    assert get("/cases/in_nobody").status == 404


def test_nothing_personal_stands_on_a_page(played: Played, get: Get) -> None:
    for path in ("/", "/?state=recovered", f"/cases/{played.recovered}"):
        assert "example.com" not in get(path).text
        assert "Ann Miller" not in get(path).text


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Forwarded_For": "192.0.2.1"},
        {"Forwarded": "for=192.0.2.1"},
        {"X_Real_IP": "192.0.2.1"},
        {"Host": "reprieve.example"},
        {"Host": "127.0.0.1.attacker.example"},
        {"Host": "192.0.2.1:8080"},
    ],
)
def test_only_a_browser_on_this_machine_is_shown_anything(played: Played, get: Get, headers: dict[str, str]) -> None:
    for path in ("/", f"/cases/{played.open}"):
        refused = get(path, **headers)
        assert refused.status == 403
        assert "no login yet" in refused.text
        assert played.open not in refused.text


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8080"])
def test_a_loopback_name_is_answered(get: Get, host: str) -> None:
    assert get("/", Host=host).status == 200


def test_pages_need_no_script_and_load_nothing_from_elsewhere(played: Played, get: Get) -> None:
    for path in ("/", f"/cases/{played.open}"):
        answer = get(path)
        assert "default-src 'none'; style-src 'self'" in answer.headers["content-security-policy"]
        assert not re.search(r"<script|style=|\son\w+=|https?://", answer.text)
        assert '<html lang="en">' in answer.text
        assert answer.text.count("<h1") == 1
    assert get("/static/dashboard.css").headers["content-type"].startswith("text/css")


def test_the_kill_switch_stands_above_everything(played: Played, get: Get) -> None:
    app = played.world.app
    with app.db.begin() as db:
        switch.turn(db, SELF, True, "ann", "<b>too many</b>", app.now())
    shown = get("/").text
    with app.db.begin() as db:
        switch.turn(db, SELF, False, "ann", "over", app.now())
    assert "&lt;b&gt;too many&lt;/b&gt;" in shown
    assert "<b>too many</b>" not in shown


def test_a_broken_page_key_is_told(get: Get) -> None:
    for key in ("yesterday/in_1", "2026-03-01T00:00:00/in_1"):
        assert get(f"/?before={key}").status == 400


@pytest.fixture
def crowd(database_url: str, tmp_path: Path) -> Iterator[Get]:
    """130 open cases in three states, many of them of one instant."""
    with Sandbox(AT) as sb:
        app = build(settings_for(database_url, sb, tmp_path), NoBell(), now=sb.clock)
        app.policies.load()
        policy = app.policies.current("self", False).id
        states = (State.OPEN, State.RECOVERING, State.NEEDS_CUSTOMER)
        cases = [
            RecoveryCase(
                "self", False, f"in_{n:04d}", f"cus_{n}", None, Amount(100 + n, "usd"), policy,
                AT - timedelta(days=n // 9), AT, AT + timedelta(days=9), state=states[n % 3], mrr=Amount(10, "usd/mo"),
            )
            for n in range(130)
        ]  # fmt: skip
        with app.db.begin() as db:
            store.save_cases(db, cases, AT)
        url, stop = start_in_thread(app, dashboard.routes(app))
        yield getting(url)
        stop()
        app.close()


def test_paging_shows_every_open_case_once_newest_first(crowd: Get) -> None:
    path, seen = "/", list[str]()
    while path:
        html = crowd(path).text
        found = re.findall(r'href="/cases/(in_\d+)"', html)
        assert len(found) <= 50
        seen += found
        older = re.search(r'rel="next" href="([^"#]+)', html)
        path = unescape(older[1]) if older else ""
    expected = sorted((f"in_{n:04d}" for n in range(130)), key=lambda name: (-(int(name[3:]) // 9), name), reverse=True)
    assert seen == expected


def test_whatever_a_case_waits_for_has_words() -> None:
    never_shown = {Kind.DEADLINE, Kind.AHEAD}  # the end of the window has its column, warnings have no case
    assert set(STEPS) == {kind.value for kind in set(Kind) - never_shown}


def test_the_sums_are_those_of_all_open_cases(crowd: Get) -> None:
    shown = words(crowd("/").text)
    assert "open cases 130" in shown
    assert "MRR at risk 13.00 USD/mo" in shown
    assert "needs customer 43" in shown


def test_an_open_case_without_a_step_says_why(crowd: Get) -> None:
    assert "none planned" in words(crowd("/?state=open").text)
