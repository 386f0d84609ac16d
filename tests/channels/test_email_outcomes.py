"""What became of a message, for everything a mail server can do at every verb (reliability.md D24, T87-T93)."""

from __future__ import annotations

import dataclasses
import socket
import time

import pytest

from tests.channels.conftest import MESSAGE, NOW, SENDER
from tests.channels.mail_servers import CHATTER, DRIP, DROP, HANG, SLOW, SLOW_SECONDS, ScriptedServer
from worker.channels import Handed, Message, Outcome
from worker.channels.email import EmailChannel, SmtpServer

ACCEPTED, REJECTED, LATER, UNKNOWN = Outcome.ACCEPTED, Outcome.REJECTED, Outcome.LATER, Outcome.UNKNOWN


def send_to(port: int, message: Message = MESSAGE, timeout: float = 10.0, total: float = 20.0) -> Handed:
    where = SmtpServer("127.0.0.1", port, "none", timeout=timeout, total=total)
    return EmailChannel(where, SENDER, lambda: NOW).send(message)


TABLE = [
    # verb, what the server does there, outcome, what the reason says
    ("connect", DROP, LATER, "closed"),
    ("connect", HANG, LATER, "timed out"),
    ("connect", "421 too busy", LATER, "421 too busy"),
    ("connect", "554 go away", LATER, "554 go away"),
    ("connect", "what is this", LATER, "-1"),
    ("EHLO", DROP, LATER, "closed"),
    ("EHLO", HANG, LATER, "timed out"),
    ("EHLO", "502 what?", ACCEPTED, "250 kept"),  # an old server, asked again with HELO
    ("MAIL", DROP, LATER, "closed"),
    ("MAIL", HANG, LATER, "timed out"),
    ("MAIL", "451 try later", LATER, "MAIL FROM was answered 451"),
    ("MAIL", "550 unknown sender", LATER, "550 unknown sender"),  # ours to mend, not the recipient's fault
    ("MAIL", "530 log in first", LATER, "530"),
    ("RCPT", DROP, LATER, "closed"),
    ("RCPT", HANG, LATER, "timed out"),
    ("RCPT", "450 greylisted", LATER, "450 greylisted"),
    ("RCPT", "421 closing", LATER, "421"),
    ("RCPT", "530 log in first", LATER, "530"),
    ("RCPT", "550 5.1.1 no such user", REJECTED, "550 5.1.1 no such user"),
    ("RCPT", "552 too large", REJECTED, "552"),
    ("RCPT", "299 what", LATER, "299"),
    ("RCPT", "garbage", LATER, "-1"),
    ("DATA", DROP, LATER, "closed"),
    ("DATA", HANG, LATER, "timed out"),
    ("DATA", "451 not now", LATER, "451"),
    ("DATA", "554 no", REJECTED, "DATA was answered 554"),
    ("DATA", "250 what", LATER, "250"),
    ("dot", DROP, UNKNOWN, "after the whole message was sent"),
    ("dot", HANG, UNKNOWN, "after the whole message was sent"),
    ("dot", DRIP, UNKNOWN, "after the whole message was sent"),
    ("dot", "451 disk full", LATER, "451 disk full"),
    ("dot", "421 closing", LATER, "421"),
    ("dot", "554 looks like spam", REJECTED, "554 looks like spam"),
    ("dot", "354 more?", UNKNOWN, "made no sense"),
    ("dot", "garbage", UNKNOWN, "made no sense"),
    ("dot", "250 kept as 4711", ACCEPTED, "250 kept as 4711"),
    ("dot", "250-kept\r\n250 as 4711", ACCEPTED, "kept as 4711"),
    ("dot", "250 kept\r\n421 closing now", ACCEPTED, "250 kept"),
    ("QUIT", DROP, ACCEPTED, "250 kept"),
    ("QUIT", HANG, ACCEPTED, "250 kept"),
    ("QUIT", "500 what", ACCEPTED, "250 kept"),
]


@pytest.mark.parametrize(("verb", "does", "outcome", "because"), TABLE)
def test_the_outcome_says_what_the_server_did(verb: str, does: str, outcome: Outcome, because: str) -> None:
    with ScriptedServer({verb: does}) as server:
        # Only where the server is silent does anybody wait for the end of patience.
        handed = send_to(server.port, timeout=0.6, total=1.2) if does in (HANG, DRIP) else send_to(server.port)
    assert handed.outcome is outcome, handed
    assert because in handed.because
    # Certain outcomes are true: what may be sent again was never taken whole.
    if outcome is LATER and verb != "dot":
        assert server.whole == []
    if outcome is ACCEPTED:
        assert len(server.whole) == 1


def test_a_line_that_breaks_within_the_message_means_it_was_not_taken() -> None:
    long = dataclasses.replace(MESSAGE, html="<p>long</p>\n" * 1_000_000)
    with ScriptedServer({"body": HANG}) as server:
        handed = send_to(server.port, long, timeout=1.0)
        assert server.whole == []
    assert handed.outcome is LATER


def test_a_server_that_is_slow_to_keep_the_message_gets_all_the_time_there_is() -> None:
    with ScriptedServer({"dot": SLOW}) as server:
        assert send_to(server.port, timeout=SLOW_SECONDS / 2).outcome is ACCEPTED


def test_nobody_listening_means_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    handed = send_to(port)
    assert handed.outcome is LATER
    assert "refused" in handed.because


def test_an_unknown_server_name_means_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    handed = send_to(25)
    assert handed.outcome is LATER
    assert "Name or service not known" in handed.because


def test_a_server_that_refuses_every_hello_means_later() -> None:
    with ScriptedServer({"EHLO": "421 too busy", "HELO": "421 too busy"}) as server:
        handed = send_to(server.port)
    assert handed == Handed(LATER, "hello or STARTTLS was answered 421 too busy")


@pytest.mark.parametrize("verb", ["connect", "EHLO", "MAIL", "RCPT", "DATA"])
def test_a_server_that_drips_does_not_hold_a_worker(verb: str) -> None:
    with ScriptedServer({verb: DRIP}) as server:
        began = time.monotonic()
        handed = send_to(server.port, timeout=0.6)
        assert time.monotonic() - began < 4
    assert handed.outcome is LATER


def test_a_server_that_is_slow_at_every_verb_does_not_hold_a_worker() -> None:
    with ScriptedServer(dict.fromkeys(("connect", "EHLO", "MAIL", "RCPT", "DATA", "dot"), SLOW)) as server:
        began = time.monotonic()
        handed = send_to(server.port, total=1.5 * SLOW_SECONDS)
        assert time.monotonic() - began < 4 * SLOW_SECONDS
    assert handed.outcome is LATER


@pytest.mark.parametrize(("verb", "outcome"), [("connect", LATER), ("RCPT", LATER), ("dot", UNKNOWN)])
def test_an_answer_without_end_is_cut(verb: str, outcome: Outcome) -> None:
    with ScriptedServer({verb: CHATTER}) as server:
        handed = send_to(server.port)
    assert handed.outcome is outcome
    assert "longer than" in handed.because


def test_the_customers_address_is_not_kept_in_the_reason() -> None:
    with ScriptedServer({"RCPT": "550 <ADA@example.com>: unknown\x1b[31m user"}) as server:
        because = send_to(server.port).because
    assert "example.com" not in because.lower()
    assert "\x1b" not in because
    assert "the recipient" in because


def test_the_message_is_repeated_under_the_same_message_id_after_greylisting() -> None:
    with ScriptedServer({"dot": "451 greylisted"}) as server:
        assert [send_to(server.port).outcome for _ in range(2)] == [LATER, LATER]
    first, second = server.whole
    assert first.count(b"Message-ID: <0123456789abcdef@merchant.example>") == 1
    assert b"Message-ID: <0123456789abcdef@merchant.example>" in second
