"""A whole installation whose messages lead to our own recovery page, and a browser that follows nothing unasked."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from sandbox import Sandbox
from tests.world import SECRET, START, World, settings_for
from worker.app import build
from worker.broker import NoBell
from worker.web import pay
from worker.web.server import start_in_thread

LINK_SECRET = "a secret of thirty-two characters"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def paying_world(database_url: str, folder: Path, **settings: Any) -> Iterator[World]:
    """`tests.world.world` with the recovery page, its address and its secret."""
    with Sandbox(start=START, seed=1) as sb:
        port = free_port()
        asked = {"link_secret": SecretStr(LINK_SECRET), "public_url": f"http://127.0.0.1:{port}", **settings}
        chosen = settings_for(database_url, sb, folder / "mailbox", **asked).model_copy(update={"web_port": port})
        app = build(chosen, NoBell(), now=sb.clock)
        app.policies.load()
        url, stop = start_in_thread(app, pay.routes(app))
        sb.add_endpoint(f"{url}/webhooks/stripe", SECRET)
        try:
            yield World(sb, app, folder / "mailbox")
        finally:
            stop()
            app.close()
        assert not sb.crashes, sb.crashes


@pytest.fixture
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """The log lines of the test, as values."""
    with capture_logs() as lines:
        yield lines


class Forms(HTMLParser):
    """The buttons of a page with the hidden fields beside them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form":
            self.forms.append({})
        elif tag in ("input", "button") and found.get("name") and self.forms:
            self.forms[-1][found["name"] or ""] = found.get("value") or ""


@dataclass
class Browser:
    """Somebody at a page. `follow` is off: where a form leads is what is tested."""

    url: str
    client: httpx2.Client

    def get(self, **query: str) -> httpx2.Response:
        return self.client.get(self.url, params=query)

    def press(self, act: str, headers: dict[str, str] | None = None, **fields: str) -> httpx2.Response:
        return self.client.post(self.url, data={"act": act, **fields}, headers=headers)

    def buttons(self) -> list[str]:
        return [form["act"] for form in Forms(self.get().text).forms]


@contextmanager
def browser(url: str) -> Iterator[Browser]:
    with httpx2.Client(timeout=20) as client:
        yield Browser(url, client)


def link_in(mail: Path) -> str:
    """The recovery link in the text of a message."""
    parsed = message_from_bytes(mail.read_bytes(), policy=policy.default)
    body = parsed.get_body(("plain",))
    assert body is not None
    found = re.search(r"http://127\.0\.0\.1:\d+/pay/[A-Za-z0-9_-]{43}", body.get_content())
    assert found, body.get_content()
    return found[0]


def told(mail: Path, part: str = "plain") -> str:
    body = message_from_bytes(mail.read_bytes(), policy=policy.default).get_body((part,))
    assert body is not None
    return str(body.get_content())
