"""E-mail by SMTP: one message, one recipient, one connection, and an exact word for what became of it.

Trouble before the final dot is certain: the server does not have the message. After it nobody can know, and a second
copy would be worse than none (reliability.md D24). A provider's HTTP interface with idempotency keys can stand beside
this channel under the same protocol.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from smtplib import SMTPAuthenticationError, SMTPNotSupportedError, SMTPResponseException
from typing import Literal

from billing.notices import address
from config.settings import Settings
from worker.channels import Handed, Message, Outcome, mime
from worker.channels.smtp import Conversation, Refused

# A no to one of these concerns this recipient or this message. A no to anything else concerns the server or our
# settings, which an operator mends, and then the message can go.
ABOUT_THE_MESSAGE = frozenset({"RCPT TO", "DATA", "the message"})
ABOUT_OUR_LOGIN = frozenset({530, 534, 535, 538})  # RFC 4954: may be the answer to any verb
LONGEST_BECAUSE = 300


class PlaintextMail(ValueError):
    """Messages would travel unencrypted to another machine; only a server on this one may be spoken to like that."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where messages are handed over. `timeout` is for one answer, `total` for one message, in seconds."""

    host: str
    port: int
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    timeout: float = 20.0
    total: float = 45.0


class EmailChannel:
    """Hands messages to one mail server. Safe to share between threads: each message has its own connection."""

    def __init__(
        self, server: SmtpServer, sender: mime.Sender, now: Callable[[], datetime], *, plaintext_anywhere: bool = False
    ) -> None:
        """Raises PlaintextMail, and OSError when the file of the certificate authority cannot be used."""
        if server.tls == "none" and not (plaintext_anywhere or _this_machine(server.host)):
            raise PlaintextMail(f"smtp_tls is none and {server.host} is another machine")
        self._server, self._sender, self._now = server, sender, now
        self._tls = ssl.create_default_context(cafile=server.ca_file)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2

    def send(self, message: Message) -> Handed:
        """Hand one message over, and say what became of it; never raises for what the server does."""
        try:
            to = address.parse(message.to)
            mail = mime.write(message, to, self._sender, self._now())
        except (address.BadAddress, mime.UnfitMessage) as unfit:
            return Handed(Outcome.REJECTED, str(unfit))
        server = self._server
        talk = Conversation(self._sender.address.domain, server.timeout, server.total)
        try:
            handed = self._hand_over(talk, to, mail)
        finally:
            talk.close()
        return Handed(handed.outcome, _readable(handed.because, to))

    def _hand_over(self, talk: Conversation, to: address.Address, mail: bytes) -> Handed:
        try:
            self._come_in(talk)
            talk.give(str(self._sender.address), str(to), mail)
        except Refused as no:
            talk.bye()
            return _refusal(no)
        except (OSError, UnicodeError) as trouble:
            return Handed(Outcome.LATER, _trouble(trouble))
        try:
            code, text = talk.end()
        except OSError as trouble:
            return Handed(Outcome.UNKNOWN, f"the line broke after the whole message was sent: {trouble}")
        talk.bye()
        answer = Refused("the message", code, text)
        if 200 <= code <= 299:
            return Handed(Outcome.ACCEPTED, str(answer))
        if 400 <= code <= 599:
            return _refusal(answer)
        return Handed(Outcome.UNKNOWN, f"after the whole message was sent the answer made no sense: {answer}")

    def _come_in(self, talk: Conversation) -> None:
        server = self._server
        talk.open(server.host, server.port, self._tls if server.tls == "implicit" else None)
        if server.tls == "starttls":
            talk.starttls(context=self._tls)
            talk.ehlo_or_helo_if_needed()
        if server.user is not None:
            talk.login(server.user, server.password or "")


def smtp_server(settings: Settings) -> SmtpServer:
    """The server of these settings. A message takes three quarters of a lease at most, so its owner stays its owner."""
    if not settings.smtp_host:
        raise ValueError("without smtp_host there is no e-mail channel")
    return SmtpServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        tls=settings.smtp_tls,
        user=settings.smtp_user,
        password=settings.smtp_password.get_secret_value() if settings.smtp_password else None,
        ca_file=settings.smtp_ca_file,
        timeout=settings.smtp_timeout_seconds,
        total=settings.lease_seconds * 0.75,
    )


def mail_sender(settings: Settings) -> mime.Sender:
    """Who our messages come from. Raises BadAddress when mail_from is none."""
    return mime.Sender(address.parse(settings.mail_from), settings.mail_from_name)


def _refusal(no: Refused) -> Handed:
    final = 500 <= no.code <= 599 and no.verb in ABOUT_THE_MESSAGE and no.code not in ABOUT_OUR_LOGIN
    return Handed(Outcome.REJECTED if final else Outcome.LATER, str(no))


def _trouble(trouble: Exception) -> str:
    match trouble:
        case ssl.SSLCertVerificationError():
            return f"the certificate of the mail server is not to be trusted: {trouble.verify_message}"
        case SMTPAuthenticationError():
            return f"the mail server did not accept our login: {trouble.smtp_code}"
        case SMTPResponseException():
            return str(Refused("hello or STARTTLS", trouble.smtp_code, _bytes(trouble.smtp_error)))
        case SMTPNotSupportedError():
            return f"the mail server does not offer what our settings ask for: {trouble}"
        case UnicodeError():
            return "smtp_user or smtp_password has letters that cannot be sent to this mail server"
        case _:
            return f"nothing was handed over: {trouble}"


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _readable(because: str, to: address.Address) -> str:
    """One line without the customer's address, which servers like to repeat and rows should not keep."""
    hidden = re.sub(re.escape(str(to)), "the recipient", because, flags=re.IGNORECASE)
    return "".join(c if c.isprintable() else " " for c in hidden)[:LONGEST_BECAUSE]


def _this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
