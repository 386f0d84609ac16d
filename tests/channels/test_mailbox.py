"""The folder that takes messages: what a person finds there."""

from __future__ import annotations

import dataclasses
import os
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.channels.conftest import MESSAGE, NOW, SENDER
from tests.channels.mail_servers import parsed, part
from worker.channels import Handed, Outcome
from worker.channels.mailbox import MailboxChannel


class Page(HTMLParser):
    """The links of a page, in their order, and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [unquote(value) for name, value in attrs if name == "href" and value]


def index(folder: Path) -> Page:
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_message_is_a_file_with_its_html_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "var" / "mailbox"
    handed = MailboxChannel(folder, SENDER, lambda: NOW).send(MESSAGE)
    assert handed == Handed(Outcome.ACCEPTED, "written to the mailbox folder")
    eml, html, page = names(folder)
    assert page == "index.html"
    assert eml.startswith("2026-03-03T093000_payment-failed_ada@example.com_")
    assert eml.removesuffix(".eml") == html.removesuffix(".html")
    assert (folder / html).read_text(encoding="utf-8") == MESSAGE.html
    mail = parsed((folder / eml).read_bytes())
    assert mail["message-id"] == MESSAGE.id
    assert mail["to"] == "Ada Lovelace <ada@example.com>"
    assert part(mail, "plain").splitlines() == MESSAGE.text.splitlines()


def test_the_same_message_again_changes_nothing(tmp_path: Path) -> None:
    MailboxChannel(tmp_path, SENDER, lambda: NOW).send(MESSAGE)
    before = names(tmp_path)
    again = MailboxChannel(tmp_path, SENDER, lambda: NOW + timedelta(days=1)).send(MESSAGE)
    assert again == Handed(Outcome.ACCEPTED, "this message is in the mailbox folder already")
    assert names(tmp_path) == before


def test_the_index_lists_the_newest_first_and_every_link_leads_to_a_file(tmp_path: Path) -> None:
    for day in range(3):
        message = dataclasses.replace(MESSAGE, id=f"<{day}@merchant.example>", subject=f"On day {day} <b>&</b>")
        MailboxChannel(tmp_path, SENDER, lambda day=day: NOW + timedelta(days=day)).send(message)  # type: ignore[misc]
    page = index(tmp_path)
    assert [link[:10] for link in page.links] == ["2026-03-05"] * 2 + ["2026-03-04"] * 2 + ["2026-03-03"] * 2
    assert all((tmp_path / link).is_file() for link in page.links)
    assert "b" not in page.tags
    assert "On day 2 &lt;b&gt;&amp;&lt;/b&gt;" in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "to",
    [
        '"../../etc/passwd"@example.com',
        '"a/b\\\\c"@example.com',
        '"<script>"@example.com',
        "用户@例え.jp",
        "..@x.example",
    ],
)
def test_an_address_cannot_choose_the_place_of_a_file(tmp_path: Path, to: str) -> None:
    folder = tmp_path / "mailbox"
    handed = MailboxChannel(folder, SENDER, lambda: NOW).send(dataclasses.replace(MESSAGE, to=to))
    assert names(tmp_path) == (["mailbox"] if handed.outcome is Outcome.ACCEPTED else [])
    if handed.outcome is Outcome.ACCEPTED:
        assert "script" not in index(folder).tags
        assert all((folder / link).is_file() for link in index(folder).links)


def test_a_bad_address_is_rejected_as_by_a_mail_server(tmp_path: Path) -> None:
    handed = MailboxChannel(tmp_path, SENDER, lambda: NOW).send(dataclasses.replace(MESSAGE, to="nobody"))
    assert handed.outcome is Outcome.REJECTED
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_means_later(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    handed = MailboxChannel(tmp_path / "file", SENDER, lambda: NOW).send(MESSAGE)
    assert handed.outcome is Outcome.LATER


def test_a_half_written_message_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", full)
        handed = MailboxChannel(tmp_path, SENDER, lambda: NOW).send(MESSAGE)
    assert handed == Handed(Outcome.LATER, "the mailbox folder cannot be written: No space left on device")
    assert names(tmp_path) == []
    assert MailboxChannel(tmp_path, SENDER, lambda: NOW).send(MESSAGE).outcome is Outcome.ACCEPTED
