"""A certificate authority of the tests' own, and the pieces that every channel test sends."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from billing.notices import address
from worker.channels import Message
from worker.channels.mime import Sender

NOW = datetime(2026, 3, 3, 9, 30, tzinfo=UTC)
SENDER = Sender(address.parse("billing@merchant.example"), "Northwind Analytics")
MESSAGE = Message(
    id="<0123456789abcdef@merchant.example>",
    to="ada@example.com",
    to_name="Ada Lovelace",
    subject="Your payment of $49.00 did not go through",
    text="Hello,\n.\n.. a line of dots\nÜmläut, 日本語\n",
    html="<p>Hello,</p>\n<p>Ümläut, 日本語</p>\n",
    headers=(("X-Reprieve-Step", "payment_failed"),),
)


class Authority:
    """Signs certificates; `file` is what a client must trust."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def server_context(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names).configure_cert(context)
        return context


@pytest.fixture(scope="session")
def new_authority(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Authority]:
    return lambda: Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def authority(new_authority: Callable[[], Authority]) -> Authority:
    return new_authority()
