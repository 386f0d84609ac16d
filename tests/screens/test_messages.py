"""The operator's pages of messages: everything that customers read can be looked at, and one can be sent to oneself."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from billing.notices.reasons import Reason
from billing.notices.sequence import ASKING, Step
from config.messages import languages
from tests.billing.stories import DAY0
from tests.channels.told import read_mail
from tests.templates.conftest import app_on
from worker.app import App
from worker.templates.samples import CUSTOMERS
from worker.templates.versions import Versions
from worker.web import message_pages
from worker.web.server import start_in_thread


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("messages")
    file = folder / "reprieve.db"
    file.write_bytes(sqlite_template.read_bytes())
    made = app_on(f"sqlite:///{file}", folder / "mailbox")
    yield made
    made.close()


@pytest.fixture(scope="module")
def ask(app: App) -> Iterator[Ask]:
    """A GET, or a POST of a form when there is one."""
    url, stop = start_in_thread(app, message_pages.routes(app))

    def asked(path: str, form: dict[str, str] | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = None if form is None else urlencode(form)
        connection.request("POST" if body is not None else "GET", path, body, named)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, text)

    yield asked
    stop()


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def links(html: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'href="(/messages[^"]*)"', html)]


def test_every_message_in_every_language_is_listed_and_opens(ask: Ask) -> None:
    listed = ask("/messages")
    assert listed.status == 200
    opened = [link for link in links(listed.text) if link != "/messages"]
    assert len(opened) == len(Step) * len(languages())
    for link in opened:
        assert ask(link).status == 200, link


def test_every_reason_and_kind_of_customer_can_be_looked_at(ask: Ask) -> None:
    page = ask("/messages/reminder?language=fr").text
    shown = links(page)
    for reason in Reason:
        assert any(f"reason={reason}" in link for link in shown)
    for customer in CUSTOMERS:
        link = next(each for each in shown if each.endswith(urlencode({"customer": customer.about})))
        assert ask(link).status == 200


def test_a_preview_shows_subject_text_part_and_three_looks(ask: Ask) -> None:
    page = ask("/messages/payment_failed?language=de&reason=funds").text
    assert "Ihre Zahlung von 49,00 $ an Acme & Söhne hat nicht geklappt" in words(page)
    assert "Offener Betrag: 49,00 $" in words(page)
    frames = re.findall(r"<iframe [^>]+>", page)
    assert len(frames) == 3
    assert all('sandbox=""' in frame for frame in frames)
    sources = [unescape(re.findall(r'src="([^"]+)"', frame)[0]) for frame in frames]
    shown = {source.rpartition("=")[2]: ask(source) for source in sources}
    assert set(shown) == {"desktop", "phone", "dark"}
    assert "@media all" in shown["dark"].text
    assert "@media not all" in shown["desktop"].text
    assert message_pages.DARK not in "".join(answer.text for answer in shown.values())


def test_what_is_framed_can_do_nothing_and_load_nothing(ask: Ask) -> None:
    policy = ask("/messages/reminder/frame").headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; style-src 'unsafe-inline'; form-action 'none'")
    assert "frame-ancestors 'self'" in policy
    outer = ask("/messages/reminder").headers["content-security-policy"]
    assert "script" not in outer + policy
    assert "frame-ancestors 'none'" in outer


def test_a_hostile_customer_is_shown_as_text(ask: Ask) -> None:
    page = ask("/messages/reminder?customer=hostile").text
    assert "<i>1</i>" not in page
    assert "&lt;i&gt;1&lt;/i&gt;" in page
    assert "<b>Sons</b>" not in ask("/messages/reminder/frame?customer=hostile").text


def test_a_draft_is_shown_before_it_is_in_force_and_who_put_what_in_force_stands_there(app: App, ask: Ask) -> None:
    kept = Versions(app.db)
    first = kept.write("es", "last_day", {"lead": "Primera versión."}, "ann", DAY0)
    kept.activate("es", "last_day", first, "bob", DAY0)
    kept.write("es", "last_day", {"lead": "Segunda versión."}, "cho", DAY0)
    in_force = ask("/messages/last_day?language=es").text
    assert "Primera versión." in in_force
    shown = words(in_force)
    assert "in force since" in shown
    assert "by bob" in shown
    draft = next(link for link in links(in_force) if "version=2" in link)
    page = ask(draft).text
    assert "Segunda versión." in page
    assert "This is version 2 of last_day" in words(page)
    assert "Segunda" in ask(draft.replace("/last_day?", "/last_day/frame?")).text
    assert "own text" in words(ask("/messages").text)


@pytest.mark.parametrize(
    "path",
    [
        "/messages/nothing",
        "/messages/reminder?language=xx",
        "/messages/reminder?reason=lost_card",
        "/messages/reminder?customer=nobody",
        "/messages/reminder?version=x",
        "/messages/reminder?version=99",
        "/messages/reminder?of=nothing&version=1",
        "/messages/ended?reason=funds",
    ],
)
def test_what_there_is_not_is_said_kindly(ask: Ask, path: str) -> None:
    assert ask(path).status == 404
    assert ask(path.replace("?", "/frame?") if "?" in path else f"{path}/frame").status == 404


# ---------------------------------------------------------------- sending


def token(ask: Ask, path: str) -> str:
    return str(re.findall(r'name="token" value="([0-9a-f]+)"', ask(path).text)[0])


def sent(app: App) -> list[Path]:
    folder = app.settings.mailbox_dir
    return sorted(folder.glob("*.eml")) if folder and folder.exists() else []


def test_one_message_is_sent_to_oneself_when_it_is_asked_for(app: App, ask: Ask) -> None:
    before = len(sent(app))
    path = "/messages/payment_failed?language=pt&reason=authenticate&customer=usual"
    answer = ask(path, {"token": token(ask, path), "to": "me@example.com"}, sec_fetch_site="same-origin")
    assert answer.status == 303
    back = answer.headers["location"]
    assert "took the test message" in words(ask(back).text)
    assert len(sent(app)) == before + 1
    mail = read_mail(sent(app)[-1])
    assert str(mail["Subject"]).startswith("[Test] Confirme o seu pagamento")
    assert mail["To"].addresses[0].addr_spec == "me@example.com"


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({"to": "me@example.com"}, {}),
        ({"to": "me@example.com", "token": "0" * 64}, {}),
        ({"to": "me@example.com", "token": "ü"}, {}),
        ({"to": "me@example.com", "token": "right"}, {"sec_fetch_site": "cross-site"}),
        ({"to": "no address", "token": "right"}, {}),
        ({"to": "a@example.com, b@example.com", "token": "right"}, {}),
        ({"to": "x" * 10_000, "token": "right"}, {}),
    ],
)
def test_nothing_is_sent_for_another_site_or_to_no_address(
    app: App, ask: Ask, form: dict[str, str], headers: dict[str, str]
) -> None:
    path, before = "/messages/reminder?language=en", len(sent(app))
    if form.get("token") == "right":
        form = {**form, "token": token(ask, path)}
    answer = ask(path, form, **headers)
    assert answer.status == 303
    assert len(sent(app)) == before
    assert "took" not in words(ask(answer.headers["location"]).text)


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"x_forwarded_for": "1.2.3.4"}])
def test_who_is_not_on_this_machine_sees_and_sends_nothing(app: App, ask: Ask, headers: dict[str, str]) -> None:
    path, before = "/messages/reminder?language=en", len(sent(app))
    form = {"token": token(ask, path), "to": "me@example.com"}
    assert ask(path, form, **headers).status == 403
    assert ask(path, **headers).status == 403
    assert ask("/messages", **headers).status == 403
    assert ask("/messages/reminder/frame", **headers).status == 403
    assert len(sent(app)) == before


def test_asking_steps_have_reasons_and_others_have_none(ask: Ask) -> None:
    for step in Step:
        assert ("reason=generic" in ask(f"/messages/{step}").text) is (step in ASKING)
