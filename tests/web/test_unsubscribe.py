"""The page with the button that ends reminders: in the reader's language, and true to what the button does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from config.messages import page
from tests.web.harness import Client, an_app, in_process

PATH = "/unsubscribe/anything"


@pytest.fixture
def client(sqlite_url: str) -> Iterator[Client]:
    with in_process(an_app(sqlite_url, mail_from_name="Acme & Sons")) as made:
        yield made


@pytest.mark.parametrize("language", page.languages())
def test_the_reader_is_asked_in_the_language_of_the_browser_or_the_one_that_is_chosen(
    client: Client, language: str
) -> None:
    words = page.words(language)
    for path, accept in ((PATH, f"{language};q=0.9, xx"), (f"{PATH}?lang={language}", "xx")):
        told = client.request("GET", path, [("accept-language", accept)])
        assert told.status == 200
        assert f'<html lang="{language}">' in told.text
        assert f"<h1>{words['unsubscribe']}</h1>" in told.text
        assert "<form" in told.text
    done = client.request("POST", PATH, [("accept-language", language)])
    assert f"<h1>{words['unsubscribed']}</h1>" in done.text
    assert "<form" not in done.text


@pytest.mark.parametrize("accept", ["", "xx", "*", "<script>", "a" * 5_000])
def test_a_reader_of_unknown_language_is_asked_in_the_default_one(client: Client, accept: str) -> None:
    told = client.request("GET", f"{PATH}?lang=<b>", [("accept-language", accept)])
    assert '<html lang="en">' in told.text
    assert "Acme &amp; Sons" in told.text
    assert "<b>" not in told.text


def test_the_page_says_what_the_setting_ends(sqlite_url: str) -> None:
    with in_process(an_app(sqlite_url, unsubscribe_covers="everything")) as client:
        told = client.request("GET", PATH).text
    assert page.words("en")["unsubscribe_all"] in told
    assert "reminders" not in told


def test_the_page_loads_and_frames_nothing(client: Client) -> None:
    headers = client.request("GET", PATH).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "script" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


def test_every_language_has_every_sentence_of_the_page() -> None:
    names = {language: set(page.words(language)) for language in page.languages()}
    assert all(names["en"] == of_one for of_one in names.values())
