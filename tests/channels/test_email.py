"""E-mail against a real server: encryption that cannot be talked away, logins, and what arrives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.settings import load
from tests.channels.conftest import MESSAGE, NOW, SENDER, Authority
from tests.channels.mail_servers import Inbox, ScriptedServer, part, real_server
from worker.channels import Handed, Message, Outcome
from worker.channels.email import EmailChannel, PlaintextMail, SmtpServer, mail_sender, smtp_server


def send(server: SmtpServer, message: Message = MESSAGE) -> Handed:
    return EmailChannel(server, SENDER, lambda: NOW).send(message)


# ---------------------------------------------------------------- three ways to connect


def test_a_server_on_this_machine_takes_a_message_in_the_clear() -> None:
    inbox = Inbox()
    with real_server(inbox) as port:
        handed = send(SmtpServer("127.0.0.1", port, "none"))
    assert handed == Handed(Outcome.ACCEPTED, "the message was answered 250 2.0.0 kept")
    [mail] = inbox.mails
    assert inbox.envelopes[0].mail_from == "billing@merchant.example"
    assert inbox.envelopes[0].rcpt_tos == ["ada@example.com"]
    assert mail["from"] == "Northwind Analytics <billing@merchant.example>"
    assert mail["to"] == "Ada Lovelace <ada@example.com>"
    assert mail["subject"] == MESSAGE.subject
    assert mail["message-id"] == MESSAGE.id
    assert mail["auto-submitted"] == "auto-generated"
    assert mail["date"].datetime == NOW
    assert mail["x-reprieve-step"] == "payment_failed"
    assert mail.get_content_type() == "multipart/alternative"
    assert [piece.get_content_type() for piece in mail.iter_parts()] == ["text/plain", "text/html"]
    assert part(mail, "plain").splitlines() == MESSAGE.text.splitlines()
    assert part(mail, "html").splitlines() == MESSAGE.html.splitlines()


def test_starttls_encrypts_and_checks_the_certificate(authority: Authority) -> None:
    inbox = Inbox()
    tls = authority.server_context("localhost")
    with real_server(inbox, tls_context=tls, require_starttls=True) as port:
        handed = send(SmtpServer("localhost", port, "starttls", ca_file=authority.file))
    assert handed.outcome is Outcome.ACCEPTED
    assert inbox.encrypted == [True]


def test_implicit_tls_encrypts_and_checks_the_certificate(authority: Authority) -> None:
    inbox = Inbox()
    with real_server(inbox, implicit=authority.server_context("127.0.0.1", "localhost")) as port:
        handed = send(SmtpServer("127.0.0.1", port, "implicit", ca_file=authority.file))
    assert handed.outcome is Outcome.ACCEPTED
    assert len(inbox.mails) == 1


# ---------------------------------------------------------------- no encryption, no message


@pytest.mark.parametrize("trusted", ["another authority", "the system's authorities"])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_certificate_of_somebody_else_is_refused(
    tls: str, trusted: str, authority: Authority, new_authority: Callable[[], Authority]
) -> None:
    inbox = Inbox()
    context = authority.server_context("localhost", "127.0.0.1")
    options = {"implicit": context} if tls == "implicit" else {"tls_context": context}
    ca = new_authority().file if trusted == "another authority" else None
    with real_server(inbox, **options) as port:
        handed = send(SmtpServer("localhost", port, tls, ca_file=ca))  # type: ignore[arg-type]
    assert handed.outcome is Outcome.LATER
    assert "certificate of the mail server is not to be trusted" in handed.because
    assert inbox.mails == []


def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    inbox = Inbox()
    with real_server(inbox, implicit=authority.server_context("mail.other.example")) as port:
        handed = send(SmtpServer("localhost", port, "implicit", ca_file=authority.file))
    assert handed.outcome is Outcome.LATER
    assert "localhost" in handed.because
    assert inbox.mails == []


def test_a_server_without_starttls_gets_neither_message_nor_password() -> None:
    with ScriptedServer({"EHLO": "250-here\r\n250 AUTH PLAIN LOGIN"}) as server:
        handed = send(SmtpServer("127.0.0.1", server.port, "starttls", user="mailer", password="right"))
    assert handed.outcome is Outcome.LATER
    assert "STARTTLS" in handed.because
    assert [line.split()[0].upper() for line in server.heard] == ["EHLO"]


@pytest.mark.parametrize("answer", ["454 not now", "220 yes\r\n250 injected in the clear"])
def test_a_server_that_offers_starttls_and_fails_at_it_gets_nothing(answer: str) -> None:
    script = {"EHLO": "250-here\r\n250 STARTTLS", "STARTTLS": answer}
    with ScriptedServer(script) as server:
        handed = send(SmtpServer("127.0.0.1", server.port, "starttls", timeout=0.3, total=1.0))
    assert handed.outcome is Outcome.LATER
    assert not any(line.upper().startswith(("MAIL", "AUTH")) for line in server.heard)


@pytest.mark.parametrize("host", ["mail.example.com", "10.0.0.1", "localhost.example.com", "127.0.0.1.example"])
def test_no_encryption_is_refused_for_another_machine(host: str) -> None:
    with pytest.raises(PlaintextMail, match="another machine"):
        EmailChannel(SmtpServer(host, 25, "none"), SENDER, lambda: NOW)
    EmailChannel(SmtpServer(host, 25, "none"), SENDER, lambda: NOW, plaintext_anywhere=True)


# ---------------------------------------------------------------- logins


def test_the_right_password_is_let_in_and_a_wrong_one_waits_for_the_operator(authority: Authority) -> None:
    inbox = Inbox()
    tls = authority.server_context("localhost")
    with real_server(inbox, tls_context=tls, authenticator=inbox.authenticate, auth_required=True) as port:
        server = SmtpServer("localhost", port, "starttls", "mailer", "right", authority.file)
        assert send(server).outcome is Outcome.ACCEPTED
        wrong = send(dataclasses.replace(server, password="wrong"))
        none = send(dataclasses.replace(server, user=None))
    assert wrong == Handed(Outcome.LATER, "the mail server did not accept our login: 535")
    assert none.outcome is Outcome.LATER
    assert "530" in none.because
    assert set(inbox.logins) == {"mailer"}
    assert len(inbox.mails) == 1


def test_a_password_that_cannot_be_sent_is_said_without_showing_it() -> None:
    with ScriptedServer({"EHLO": "250-here\r\n250 AUTH PLAIN"}) as server:
        handed = send(SmtpServer("127.0.0.1", server.port, "none", user="mailer", password="gehéim"))
    assert handed == Handed(
        Outcome.LATER, "smtp_user or smtp_password has letters that cannot be sent to this mail server"
    )


def test_a_password_is_not_shown_by_the_server_value() -> None:
    assert "right" not in repr(SmtpServer("localhost", 25, password="right"))


def test_the_settings_give_the_server_and_the_sender() -> None:
    settings = load(
        smtp_host="mail.example.com",
        smtp_port=465,
        smtp_tls="implicit",
        smtp_user="mailer",
        smtp_password=SecretStr("right"),
        mail_from="billing@merchant.example",
        mail_from_name="Northwind",
        lease_seconds=60,
    )
    server = smtp_server(settings)
    assert (server.host, server.port, server.tls) == ("mail.example.com", 465, "implicit")
    assert (server.user, server.password, server.total) == ("mailer", "right", 45.0)
    assert str(mail_sender(settings).address) == "billing@merchant.example"


def test_a_missing_authority_file_is_found_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        EmailChannel(SmtpServer("localhost", 25, ca_file=tmp_path / "none.pem"), SENDER, lambda: NOW)


# ---------------------------------------------------------------- letters that ASCII does not have


def test_an_address_in_other_letters_goes_to_a_server_that_can_write_them() -> None:
    inbox = Inbox()
    with real_server(inbox) as port:
        handed = send(SmtpServer("127.0.0.1", port, "none"), dataclasses.replace(MESSAGE, to="用户@例え.jp"))
    assert handed.outcome is Outcome.ACCEPTED
    assert inbox.envelopes[0].rcpt_tos == ["用户@xn--r8jz45g.jp"]
    assert "用户@xn--r8jz45g.jp" in inbox.mails[0]["to"]


def test_an_address_in_other_letters_is_rejected_where_the_server_cannot_write_them() -> None:
    with ScriptedServer({}) as server:
        handed = send(SmtpServer("127.0.0.1", server.port, "none"), dataclasses.replace(MESSAGE, to="用户@example.com"))
    assert handed.outcome is Outcome.REJECTED
    assert server.whole == []


def test_the_language_of_a_message_arrives_at_the_server() -> None:
    inbox = Inbox()
    with real_server(inbox) as port:
        headers = (*MESSAGE.headers, ("Content-Language", "fr"))
        send(SmtpServer("127.0.0.1", port, "none"), dataclasses.replace(MESSAGE, headers=headers))
    [mail] = inbox.mails
    assert mail["content-language"] == "fr"
