"""A provider that knows idempotency keys gets one with every message; the same message has the same one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sandbox import until
from tests.channels.told import read_mail
from tests.world import DAY, START, world
from worker.channels.once import once


def test_the_key_is_made_from_what_makes_a_message_the_same() -> None:
    ((name, key),) = once("resend", "nt1:self:test:in_1:reminder:email:abc")
    assert (name, len(key)) == ("Resend-Idempotency-Key", 64)
    assert once("resend", "nt1:self:test:in_1:reminder:email:abc") == ((name, key),)
    assert once("resend", "nt1:self:test:in_2:reminder:email:abc") != ((name, key),)
    assert once("none", "x") == ()


@pytest.mark.parametrize(("provider", "there"), [("resend", True), ("none", False)])
def test_the_header_travels_with_the_message_whole(sqlite_url: str, tmp_path: Path, provider: str, there: bool) -> None:
    more: dict[str, Any] = {
        "mail_provider": provider,
        "suppression_secret": "s" * 32,
        "public_url": "https://pay.acme.example",
    }
    with world(sqlite_url, tmp_path, **more) as w:
        ann = w.sb.subscribe("pm_card_visa", amount=2000, email="ann@example.com")
        w.sb.issuer.set(ann.payment_method, until(START + 60 * DAY))
        w.pass_time(START + 33 * DAY, step=DAY)
        (file,) = w.mails()
        assert ("Resend-Idempotency-Key" in read_mail(file)) is there
        # As mail programs read it, not only as Python does: a long address must not become an encoded word.
        head = file.read_bytes().split(b"\r\n\r\n")[0]
        assert b"=?" not in head.split(b"List-Unsubscribe:")[1].split(b"\r\nList-Unsubscribe-Post")[0]
