"""Who may open the page, what a look may change, and how little a wrong link tells."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import select, update
from starlette.requests import Request

from config.messages import page
from config.settings import Settings
from tests.page.conftest import LINK_SECRET, Browser, browser, link_in, paying_world
from tests.page.test_journey import owing
from tests.world import DAY, SELF, START, World
from worker import links, logs, store
from worker.db import Database
from worker.link_tables import recovery_link
from worker.schema import metadata
from worker.web.pay_gate import LIMITS, Gate, address_of

NOW = START + 33 * DAY
PUBLIC = Settings(link_secret=SecretStr(LINK_SECRET), public_url="https://pay.acme.example/")


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def token_of(url: str | None) -> str:
    assert url is not None
    return url.rpartition("/")[2]


# ---------------------------------------------------------------- the link


def test_a_message_that_is_handed_over_again_carries_the_same_link(db: Database) -> None:
    with db.begin() as c:
        made = {links.for_customer(c, PUBLIC, SELF, "cus_1", "notice:in_1:reminder", NOW + n * DAY) for n in range(3)}
        assert len(made) == 1
        (row,) = c.execute(select(recovery_link)).all()
    assert row.expires_at == NOW + 30 * DAY
    assert str(*made).startswith("https://pay.acme.example/pay/")


def test_the_table_opens_nothing(db: Database) -> None:
    with db.begin() as c:
        token = token_of(links.for_customer(c, PUBLIC, SELF, "cus_1", "notice:in_1:reminder", NOW))
        (row,) = c.execute(select(recovery_link)).all()
        assert token not in repr(row)
        assert row.token_hash == hashlib.sha256(token.encode()).hexdigest()
        assert links.find(c, token, NOW)
        assert links.find(c, row.token_hash, NOW) is None


def test_every_customer_message_and_installation_has_a_link_of_its_own(db: Database) -> None:
    other = PUBLIC.model_copy(update={"link_secret": SecretStr("another secret of thirty-two letters")})
    live = store.Owner("self", True)
    asked = [
        (PUBLIC, SELF, "cus_1", "m1"),
        (PUBLIC, SELF, "cus_1", "m2"),
        (PUBLIC, SELF, "cus_2", "m1"),
        (PUBLIC, live, "cus_1", "m1"),
        (other, SELF, "cus_1", "m1"),
    ]
    with db.begin() as c:
        made = {links.for_customer(c, settings, owner, who, message, NOW) for settings, owner, who, message in asked}
    assert len(made) == len(asked)


@pytest.mark.parametrize(
    ("spoilt", "at"),
    [
        ({}, NOW + 30 * DAY),
        ({"revoked_at": NOW}, NOW),
        ({"used": links.MOST_USES}, NOW),
    ],
    ids=["expired", "revoked", "used up"],
)
def test_a_link_ends(db: Database, spoilt: dict[str, Any], at: datetime) -> None:
    with db.begin() as c:
        token = token_of(links.for_customer(c, PUBLIC, SELF, "cus_1", "m", NOW))
        assert links.find(c, token, at - timedelta(seconds=1))
        if spoilt:
            c.execute(update(recovery_link).values(**spoilt))
        assert links.find(c, token, at) is None


def test_revoking_ends_every_link_of_one_customer(db: Database) -> None:
    with db.begin() as c:
        mine = [token_of(links.for_customer(c, PUBLIC, SELF, "cus_1", name, NOW)) for name in ("m1", "m2")]
        other = token_of(links.for_customer(c, PUBLIC, SELF, "cus_2", "m1", NOW))
        assert links.revoke(c, SELF, "cus_1", NOW) == 2
        assert [links.find(c, token, NOW) for token in mine] == [None, None]
        assert links.find(c, other, NOW)
        # The message that is handed over once more does not bring it back.
        assert links.find(c, token_of(links.for_customer(c, PUBLIC, SELF, "cus_1", "m1", NOW)), NOW) is None


@pytest.mark.parametrize(
    ("public_url", "base"),
    [
        ("https://pay.acme.example", "https://pay.acme.example"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://pay.acme.example", None),
        ("javascript:alert(1)", None),
    ],
)
def test_a_link_travels_in_https_or_stays_on_this_machine(public_url: str, base: str | None) -> None:
    assert links.base_of(PUBLIC.model_copy(update={"public_url": public_url})) == base


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValidationError):
        Settings(link_secret=SecretStr("short"))


# ---------------------------------------------------------------- the page behind it


@dataclass(frozen=True)
class Played:
    world: World
    browser: Browser
    root: str


@pytest.fixture(scope="module")
def played(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """A customer who owes, and a browser at the page; nobody pays in these tests."""
    folder = tmp_path_factory.mktemp("links")
    file = folder / "reprieve.db"
    file.write_bytes(sqlite_template.read_bytes())
    with paying_world(f"sqlite:///{file}", folder, support_email="team@acme.example") as w:
        owing(w)
        link = link_in(w.mails()[0])
        with browser(link) as b:
            yield Played(w, b, link.rpartition("/")[0])


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in LIMITS:
        monkeypatch.setitem(LIMITS, kind, 10_000)


def everything(w: World) -> dict[str, list[Any]]:
    return {name: w.rows(table) for name, table in metadata.tables.items()}


def test_looking_changes_nothing(played: Played) -> None:
    before, requests = everything(played.world), len(played.world.sb.bank.charged(""))
    for _ in range(2):
        for method in ("GET", "HEAD"):
            for query in ({}, {"lang": "de"}, {"said": "promise_done"}, {"act": "promise", "day": "2026-02-10"}):
                answer = played.browser.client.request(method, played.browser.url, params=query)
                assert answer.status_code == 200
    played.browser.client.request("OPTIONS", played.browser.url)
    assert everything(played.world) == before
    assert len(played.world.sb.bank.charged("")) == requests


def test_every_wrong_link_is_answered_alike(played: Played) -> None:
    now = played.world.app.now()
    with played.world.app.db.begin() as c:
        settings = played.world.app.settings
        old = links.for_customer(c, settings, SELF, "cus_1", "old", now - 31 * DAY)
        revoked = links.for_customer(c, settings, SELF, "cus_2", "revoked", now)
        links.revoke(c, SELF, "cus_2", now)
    good = token_of(played.browser.url)
    tampered = good[:-1] + ("A" if good[-1] != "A" else "B")
    wrong = [token_of(old), token_of(revoked), tampered, "x", "A" * 43, "A" * 5_000, "%00", "..%2f", "é" * 43]
    answers = [httpx2.get(f"{played.root}/{token}") for token in wrong]
    answers += [httpx2.post(f"{played.root}/{token}", data={"act": "update"}) for token in wrong]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert len({tuple(sorted(set(answer.headers) - {"date"})) for answer in answers}) == 1
    said = answers[0].text
    assert "This link cannot be used" in said
    assert "$" not in said
    assert "Ann" not in said


def test_a_reader_of_a_wrong_link_is_answered_in_the_browsers_language(played: Played) -> None:
    answer = httpx2.get(f"{played.root}/x", headers={"accept-language": "xx;q=1, de-CH;q=0.9, en;q=0.8"})
    assert '<html lang="de">' in answer.text
    assert "Dieser Link kann nicht verwendet werden" in answer.text


def test_the_page_tells_no_one_where_it_is(played: Played) -> None:
    for answer in (played.browser.get(), played.browser.press("promise", day="x"), httpx2.get(f"{played.root}/x")):
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "noindex" in answer.headers["x-robots-tag"]
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "script" not in policy
        assert "<script" not in answer.text
        assert "style=" not in answer.text
    html = played.browser.get().text
    assert "ann@example.com" not in html
    assert "Ann Lee" not in html


def test_no_token_is_logged_even_when_the_page_fails(
    played: Played, logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for act in ("promise", "update"):
        played.browser.press(act, day="x")
    assert token_of(played.browser.url) not in repr(logged)
    monkeypatch.setattr("worker.web.pay.standing", lambda *_: 1 / 0)
    assert played.browser.get().status_code == 500
    (line,) = [line for line in logged if line["event"] == "request_failed"]
    assert line["route"] == "/pay/{token:path}"
    # What a library writes at the level of debugging is hidden as it is written down.
    assert logs.Redactor(()).line(f"return_url={played.browser.url}?said=x").endswith(f"/pay/{logs.HIDDEN}?said=x")


def test_another_site_cannot_press_a_button(played: Played) -> None:
    before = played.world.rows(recovery_link)
    for site in ("cross-site", "same-site"):
        answer = played.browser.press("update", {"sec-fetch-site": site})
        assert answer.headers["location"] == played.browser.url
    assert played.world.rows(recovery_link) == before


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"act=update&x=" + b"y" * 20_000, "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % n for n in range(50)), "application/x-www-form-urlencoded"),
        (b'{"act": "update"}', "application/json"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"act=nothing", "application/x-www-form-urlencoded"),
    ],
)
def test_a_form_that_is_not_ours_leads_back_to_the_page(played: Played, content: bytes, kind: str) -> None:
    answer = played.browser.client.post(played.browser.url, content=content, headers={"content-type": kind})
    assert answer.status_code == 303
    assert answer.headers["location"] == played.browser.url


@pytest.mark.parametrize("language", page.languages())
def test_the_page_speaks_every_language_that_messages_do(played: Played, language: str) -> None:
    html = played.browser.get(lang=language).text
    words = page.words(language)
    assert f'<html lang="{language}">' in html
    assert page.fill(words["lead"], merchant="Acme") in html
    assert words["update_all"] in html
    assert words["promise"] in html
    # And remembers it through an act.
    said = played.browser.client.post(played.browser.url, params={"lang": language}, data={"act": "promise"})
    assert f"lang={language}&" in said.headers["location"]


# ---------------------------------------------------------------- how often


def test_somebody_who_guesses_is_slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    gate = Gate(lambda: clock[0])
    for kind, most in {"look": 60, "miss": 10, "act": 20}.items():
        monkeypatch.setitem(LIMITS, kind, most)
        assert [gate.count("1.2.3.4", kind) for _ in range(most + 1)] == [True] * most + [False]
        assert gate.full("1.2.3.4", kind)
        assert gate.count("1.2.3.5", kind)
    clock[0] = 61.0
    assert gate.count("1.2.3.4", "miss")


def test_after_ten_wrong_links_even_the_right_one_has_to_wait(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "miss", 10)
    with paying_world(sqlite_url, tmp_path) as w:
        with w.app.db.begin() as c:
            url = links.for_customer(c, w.app.settings, SELF, "cus_1", "m", w.app.now()) or ""
        with browser(url) as b:
            assert b.get().status_code == 200
            for _ in range(10):
                assert b.client.get(url + "x").status_code == 404
            assert b.get().status_code == 429
            assert "One moment, please" in b.get().text


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "who"),
    [
        ("10.0.0.1", ["6.6.6.6"], 0, "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, 7.7.7.7"], 1, "7.7.7.7"),
        ("10.0.0.1", ["6.6.6.6", "7.7.7.7"], 2, "6.6.6.6"),
        ("10.0.0.1", [], 1, "10.0.0.1"),
        ("2001:db8:1:2:3::4", [], 0, "2001:db8:1:2::/64"),
        ("10.0.0.1", ["what?"], 1, "unknown"),
    ],
)
def test_only_our_own_proxies_say_who_asks(peer: str, forwarded: list[str], proxies: int, who: str) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    request = Request({"type": "http", "client": (peer, 1), "headers": headers})
    assert address_of(request, proxies) == who


# ---------------------------------------------------------------- the words


def test_every_language_says_everything_and_shows_the_same_values() -> None:
    english = page.words("en")
    assert page.languages() == ("de", "en", "es", "fr", "ja", "pt")
    for language in page.languages():
        words = page.words(language)
        assert words.keys() == english.keys()
        for name, text in words.items():
            assert text.strip()
            if name != "dead_text":
                assert page.places(text) == page.places(english[name]), (language, name)


def test_a_value_is_never_read_as_a_place() -> None:
    assert page.fill("Hello {name}", name="{secret}") == "Hello {secret}"
