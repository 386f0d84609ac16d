"""Mail servers on loopback: a real one with TLS and logins, and one that misbehaves at a chosen verb."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


def parsed(mail: bytes) -> EmailMessage:
    found = message_from_bytes(mail, policy=policy.SMTPUTF8)
    assert isinstance(found, EmailMessage)
    return found


def part(mail: EmailMessage, kind: str) -> str:
    found = mail.get_body((kind,))
    assert found is not None
    content = found.get_content()
    assert isinstance(content, str)
    return content


@dataclass
class Inbox:
    """Remembers what the server was given."""

    envelopes: list[Envelope] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        self.encrypted.append(session.ssl is not None)
        return "250 2.0.0 kept"

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, login: Any) -> AuthResult:
        self.logins.append(login.login.decode())
        return AuthResult(success=login.password == b"right", handled=False)

    @property
    def mails(self) -> list[EmailMessage]:
        return [parsed(bytes(envelope.original_content or b"")) for envelope in self.envelopes]


@contextlib.contextmanager
def real_server(inbox: Inbox, implicit: ssl.SSLContext | None = None, **options: Any) -> Iterator[int]:
    """aiosmtpd on a free port; `options` are those of its SMTP class. Yields the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with warnings.catch_warnings():
        # Its own use of what Python and it deprecate; and its advice against logins without TLS, which we test.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message="Requiring AUTH while not requiring TLS")
        controller = Controller(inbox, "127.0.0.1", port, ssl_context=implicit, enable_SMTPUTF8=True, **options)
        controller.start()
        try:
            yield port
        finally:
            controller.stop()


# What the scripted server may do at a verb, besides answering with a line.
DROP, HANG, DRIP, CHATTER, SLOW = "drop", "hang", "drip", "chatter", "slow"
SLOW_SECONDS = 1.2

USUAL = {
    "connect": "220 here",
    "EHLO": "250-here\r\n250 8BITMIME",
    "HELO": "250 here",
    "MAIL": "250 ok",
    "RCPT": "250 ok",
    "DATA": "354 go on",
    "dot": "250 kept",
    "QUIT": "221 bye",
}


class ScriptedServer:
    """Answers as `USUAL` except at the verbs in `script`; remembers what it heard and which mails came in whole."""

    def __init__(self, script: Mapping[str, str]) -> None:
        self.heard: list[str] = []
        self.whole: list[bytes] = []
        self._script = {**USUAL, **script}
        self._listening = socket.create_server(("127.0.0.1", 0))
        # Small, so that a client notices soon that nobody reads a long message.
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.port: int = self._listening.getsockname()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listening.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(30)
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            if not self._answer(connection, "connect"):
                return
            while line := lines.readline():
                verb = line.split()[0].decode("utf-8", "replace").upper()
                self.heard.append(line.decode("utf-8", "replace").strip())
                if not self._answer(connection, verb) or verb == "QUIT":
                    return
                if verb == "DATA" and self._script["DATA"].startswith("354"):
                    if self._script.get("body") == HANG:
                        self._over.wait(30)
                        return
                    mail = b""
                    while (line := lines.readline()) not in (b".\r\n", b""):
                        mail += line
                    if not line:
                        return
                    self.whole.append(mail)
                    if not self._answer(connection, "dot"):
                        return

    def _answer(self, connection: socket.socket, verb: str) -> bool:
        """Do what the script says; False when the conversation is over."""
        match self._script.get(verb, "502 what?"):
            case "drop":
                return False
            case "hang":
                self._over.wait(30)
                return False
            case "drip":
                for _ in range(500):
                    connection.sendall(b"2")
                    if self._over.wait(0.02):
                        break
                return False
            case "slow":
                self._over.wait(SLOW_SECONDS)
                connection.sendall(USUAL[verb].encode() + b"\r\n")
                return True
            case "chatter":
                with contextlib.suppress(OSError):
                    for _ in range(10_000):
                        connection.sendall(b"250-more\r\n")
                return False
            case line:
                connection.sendall(line.encode() + b"\r\n")
                return True
