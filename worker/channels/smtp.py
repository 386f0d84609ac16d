"""One SMTP conversation whose every step is visible, and which ends.

`smtplib` speaks the protocol; what it hides is put right here: whether the final dot was sent when the line broke
(reliability.md D24), a server that drips one byte at a time, and replies without end. `aiosmtplib` could not replace
it for the first reason.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
import time
from typing import Any

LONGEST_REPLY = 16 * 1024
GOODBYE_SECONDS = 1.0


class Refused(Exception):
    """The server answered a verb with a code that means no."""

    def __init__(self, verb: str, code: int, text: bytes) -> None:
        words = " ".join(text.decode("utf-8", "replace").split())
        super().__init__(f"{verb} was answered {code} {words}".strip())
        self.verb, self.code = verb, code


class Conversation(smtplib.SMTP):
    """A connection to one server. One wait lasts `timeout` seconds at most, and all of them together `total`.

    The look-up of the server's name is the resolver's and has its own limits. Raises OSError, of which every exception
    of `smtplib` is a kind, when the line breaks, and Refused when the server says no.
    """

    def __init__(self, our_name: str, timeout: float, total: float) -> None:
        super().__init__(local_hostname=our_name, timeout=timeout)
        self._patience = timeout
        self._end = time.monotonic() + total
        self._implicit: ssl.SSLContext | None = None

    def open(self, host: str, port: int, implicit: ssl.SSLContext | None) -> None:
        """Connect, with TLS from the first byte when `implicit`, and say hello."""
        self._host, self._implicit = host, implicit  # `_host`: the name that starttls checks
        self._expect("the connection", self.connect(host, port), 220)
        self.ehlo_or_helo_if_needed()

    def give(self, sender: str, to: str, mail: bytes) -> None:
        """Everything up to the final dot: whatever goes wrong here, the server did not take the message."""
        options = ""
        if not f"{sender}{to}".isascii():
            if not self.has_extn("smtputf8"):
                raise Refused("RCPT TO", 553, b"the mail server cannot write to an address with such letters")
            self.command_encoding, options = "utf-8", " SMTPUTF8 BODY=8BITMIME"
        self._expect("MAIL FROM", self.docmd(f"MAIL FROM:<{sender}>{options}"), 250)
        self._expect("RCPT TO", self.docmd(f"RCPT TO:<{to}>"), 250, 251, 252)
        self._expect("DATA", self.docmd("DATA"), 354)
        stuffed = re.sub(rb"(?m)^\.", b"..", mail)
        self.send(stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n")

    def end(self) -> tuple[int, bytes]:
        """The final dot and its answer. When this raises, nobody knows what became of the message."""
        self.send(b".\r\n")
        self._patience = self._end - time.monotonic()  # the server may be busy keeping it: all that is left
        return self.getreply()

    def bye(self) -> None:
        """QUIT, as a courtesy: nothing depends on it."""
        self._end = time.monotonic() + GOODBYE_SECONDS
        with contextlib.suppress(OSError):
            self.docmd("QUIT")
        self.close()

    @staticmethod
    def _expect(verb: str, reply: tuple[int, bytes], *codes: int) -> None:
        if reply[0] not in codes:
            raise Refused(verb, *reply)

    # --- what smtplib does without an end -------------------------------------------------------------------------

    def _get_socket(self, host: str, port: int, _timeout: float) -> socket.socket:
        trouble: OSError = OSError(f"{host} has no address")
        for *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                plain = socket.create_connection((str(place[0]), port), self._until() - time.monotonic())
            except OSError as error:
                trouble = error
                continue
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # the final dot travels alone
            return self._implicit.wrap_socket(plain, server_hostname=host) if self._implicit else plain
        raise trouble

    def send(self, data: Any) -> None:
        self._wait_at_most(self._until())
        super().send(data)

    def getreply(self) -> tuple[int, bytes]:
        """(code, text); the code is -1 when it cannot be read. What follows a whole reply is thrown away."""
        until, received = self._until(), b""
        while len(received) <= LONGEST_REPLY:
            received += self._receive(until)
            lines = received.split(b"\n")[:-1]
            for line in lines:
                if not re.match(rb"[2-5][0-9]{2}([ -]|\r?$)", line):
                    return -1, line.strip()
                if line[3:4] != b"-":
                    return int(line[:3]), b"\n".join(known[4:].strip() for known in lines[: lines.index(line) + 1])
        self.close()
        raise smtplib.SMTPServerDisconnected(f"the answer is longer than {LONGEST_REPLY} bytes")

    def _receive(self, until: float) -> bytes:
        sock = self._wait_at_most(until)
        try:
            chunk = sock.recv(4096)
        except OSError as error:
            self.close()
            raise smtplib.SMTPServerDisconnected(f"the connection broke: {error}") from error
        if not chunk:
            self.close()
            raise smtplib.SMTPServerDisconnected("the server closed the connection")
        return chunk

    def _until(self) -> float:
        return min(time.monotonic() + self._patience, self._end)

    def _wait_at_most(self, until: float) -> socket.socket:
        left = until - time.monotonic()
        if self.sock is None or left <= 0:
            self.close()
            raise smtplib.SMTPServerDisconnected("the server took too long" if left <= 0 else "not connected")
        self.sock.settimeout(left)
        return self.sock
