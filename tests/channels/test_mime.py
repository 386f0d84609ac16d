"""What somebody put into a name stays a name: hostile values in every field of a message (reliability.md T96, S-29)."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.notices import address
from tests.channels.conftest import MESSAGE, NOW, SENDER
from tests.channels.mail_servers import parsed, part
from worker.channels import Message, mime
from worker.channels.mime import Sender, UnfitMessage, write

HEADERS = sorted(
    ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Reprieve-Step", "MIME-Version", "Content-Type"]
)

HOSTILE = [
    "Ada\r\nBcc: thief@evil.example",
    "Ada\nBcc: thief@evil.example",
    "Ada\rBcc: thief@evil.example",
    "Ada\r\n\r\n<html>a body of mine",
    "Ada\r\n Bcc: folded@evil.example",
    "Ada\x00\x0b\x0c\x1c\x85\u2028\u2029Bcc: thief@evil.example",
    "=?utf-8?q?Ada=0D=0ABcc=3A_thief=40evil.example?=",
    "=?utf-8?b?QWRhDQpCY2M6IHRoaWVmQGV2aWwuZXhhbXBsZQ==?=",
    '"Ada" <thief@evil.example>, other@evil.example',
    "thief@evil.example",
    "Ada, Bob; group: a@b.example;",
    "x" * 10_000,
    "Ω" * 10_000,
    "\u202egro.live\u202c ada",
    "👩‍👩‍👧 Ada 🎉",
    "{{7*7}} ${7*7} <script>alert(1)</script> & co",
    "محمد عبد الله",
    "\ud800 half a character",
    "",
    "   ",
    "\\",
    '"',
]


def test_every_header_is_ours_and_the_body_comes_back() -> None:
    mail = parsed(write(MESSAGE, address.parse(MESSAGE.to), SENDER, NOW))
    assert sorted(mail.keys()) == HEADERS
    assert part(mail, "plain").splitlines() == MESSAGE.text.splitlines()


def check(message: Message, sender: Sender = SENDER) -> None:
    written = write(message, address.parse(message.to), sender, NOW)
    mail = parsed(written)
    assert sorted(mail.keys()) == HEADERS
    assert [found.addr_spec for found in mail["to"].addresses] == ["ada@example.com"]
    assert [found.addr_spec for found in mail["from"].addresses] == ["billing@merchant.example"]
    assert b"\nBcc" not in written
    assert max(len(line) for line in written.split(b"\r\n")) <= 998
    for value in mail.values():
        assert "\n" not in str(value)
        assert "\r" not in str(value)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_in_any_header_stays_a_value(value: str) -> None:
    check(dataclasses.replace(MESSAGE, to_name=value))
    check(dataclasses.replace(MESSAGE, subject=value))
    check(dataclasses.replace(MESSAGE, headers=(("X-Reprieve-Step", value),)))
    check(MESSAGE, dataclasses.replace(SENDER, name=value))


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_that_slipped_through_would_stop_the_message(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mime, "one_line", lambda text: text)
    for message in (
        dataclasses.replace(MESSAGE, to_name=value),
        dataclasses.replace(MESSAGE, subject=value),
        dataclasses.replace(MESSAGE, headers=(("X-Reprieve-Step", value),)),
    ):
        try:
            written = write(message, address.parse(MESSAGE.to), SENDER, NOW)
        except UnfitMessage:
            continue
        assert sorted(parsed(written).keys()) == HEADERS


@given(st.text(max_size=300))
def test_any_text_in_any_header_stays_a_value(value: str) -> None:
    check(dataclasses.replace(MESSAGE, to_name=value, subject=value, headers=(("X-Reprieve-Step", value),)))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_text_in_the_body_travels_with_safe_line_ends(value: str) -> None:
    written = write(dataclasses.replace(MESSAGE, text=value, html=value), address.parse(MESSAGE.to), SENDER, NOW)
    assert b"\n" not in written.replace(b"\r\n", b"")
    assert b"\r" not in written.replace(b"\r\n", b"")
    assert written.isascii()


def test_a_name_that_people_have_is_shown_as_they_write_it() -> None:
    for name in ("Ada Lovelace", "O'Neil, Ann", "Zoë Ümläut", "محمد عبد الله", "山田 太郎", "Ada 🎉"):
        mail = parsed(write(dataclasses.replace(MESSAGE, to_name=name), address.parse(MESSAGE.to), SENDER, NOW))
        assert mail["to"].addresses[0].display_name == name


def test_a_quoted_local_part_keeps_its_quotes() -> None:
    to = address.parse('"ada lovelace"@example.com')
    mail = parsed(write(MESSAGE, to, SENDER, NOW))
    assert mail["to"].addresses[0].username == "ada lovelace"
    assert len(mail["to"].addresses) == 1


@pytest.mark.parametrize("bad", ["", "no brackets@x", "<a@b>\r\nBcc: x@y", "<a b@c>", "<@b>", "<" + "a" * 300 + "@b>"])
def test_a_message_id_is_one_or_nothing_is_sent(bad: str) -> None:
    with pytest.raises(UnfitMessage, match="Message-ID"):
        write(dataclasses.replace(MESSAGE, id=bad), address.parse(MESSAGE.to), SENDER, NOW)


@pytest.mark.parametrize(
    "name", ["Bcc: x@y\r\nSubject", "To", "to", "From", "Message-ID", "Auto-Submitted", "", "Ünicode"]
)
def test_our_own_headers_cannot_be_set_from_outside(name: str) -> None:
    with pytest.raises(UnfitMessage, match="header"):
        write(dataclasses.replace(MESSAGE, headers=((name, "x@y.example"),)), address.parse(MESSAGE.to), SENDER, NOW)


@pytest.mark.parametrize("locale", ["de", "pt-BR", "ja"])
def test_the_language_of_the_message_travels_with_it(locale: str) -> None:
    message = dataclasses.replace(MESSAGE, headers=(*MESSAGE.headers, ("Content-Language", locale)))
    written = write(message, address.parse(MESSAGE.to), SENDER, NOW)
    head, _, body = written.partition(b"\r\n\r\n")
    assert b"\r\nContent-Language: " + locale.encode() in head
    assert b"Content-Language" not in body
    assert parsed(written)["content-language"] == locale
