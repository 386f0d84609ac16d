"""A message as the bytes that travel: headers, a text part and an HTML part of the same content.

Headers are written by the standard library's e-mail policy and checked afterwards, because earlier versions of it let
line ends through (CVE-2024-6923): what somebody put into a name can never become a header.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.headerregistry import Address as MailAddress
from email.headerregistry import BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import Policy

from billing.notices import address
from worker.channels import Message

MESSAGE_ID = re.compile(r"<[A-Za-z0-9._+=-]{1,64}@[a-z0-9.-]{1,190}>")
HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,60}")
LONGEST_TEXT = 400  # of one header; nobody reads more


class UnfitMessage(Exception):
    """This message cannot be written as e-mail, today or later."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who the messages come from: an address whose domain is ours, and the name that people see."""

    address: address.Address
    name: str


def write(message: Message, to: address.Address, sender: Sender, at: datetime) -> bytes:
    """The message with CRLF line ends and, if the addresses are, in plain ASCII. Raises UnfitMessage."""
    if not MESSAGE_ID.fullmatch(message.id):
        raise UnfitMessage("the Message-ID is not of the form <id@domain>")
    mail = EmailMessage(policy=rules(to, sender))
    try:
        mail["From"] = _mailbox(sender.name, sender.address)
        mail["To"] = _mailbox(message.to_name or "", to)
        mail["Subject"] = one_line(message.subject)
        mail["Date"] = at
        mail["Message-ID"] = message.id
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday replies to this one
        mail.set_content(message.text, cte="quoted-printable")
        mail.add_alternative(message.html, subtype="html", cte="quoted-printable")
        # After the content: what is called Content-... before would be taken for the text part's and moved there.
        for name, value in message.headers:
            if not HEADER_NAME.fullmatch(name) or name in mail:
                raise UnfitMessage("a header is badly named, or is ours to set")
            mail[name] = one_line(value)
        written = mail.as_bytes()
    except (ValueError, LookupError, AttributeError, IndexError) as error:
        raise UnfitMessage(f"the message cannot be written as e-mail: {type(error).__name__}") from error
    _check(written, mail)
    return written


def rules(to: address.Address, sender: Sender) -> policy.EmailPolicy[EmailMessage]:
    """SMTP's own rules, or those of RFC 6531 when an address needs letters that ASCII does not have."""
    chosen = policy.SMTP if f"{to}{sender.address}".isascii() else policy.SMTPUTF8
    return chosen.clone(header_factory=_HEADERS)


class _Whole(UnstructuredHeader, BaseHeader):
    """A header that is read by programs: a long address in it is never folded into encoded words."""

    def fold(self, *, policy: Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}" if self.isascii() else super().fold(policy=policy)


_HEADERS = HeaderRegistry()
_HEADERS.map_to_type("list-unsubscribe", _Whole)


def one_line(text: str) -> str:
    """Text that may stand in a header: no line end or control, and nothing that reads as an encoded word."""
    visible = "".join(c if c.isprintable() else " " for c in text[: LONGEST_TEXT * 4])
    return " ".join(visible.replace("=?", "= ?").split())[:LONGEST_TEXT]


def _mailbox(name: str, at: address.Address) -> MailAddress:
    local = re.sub(r"\\(.)", r"\1", at.local[1:-1]) if at.local.startswith('"') else at.local
    return MailAddress(one_line(name), local, at.domain)


def _check(written: bytes, mail: EmailMessage) -> None:
    """The headers that a reader will see are the headers that we set, and the lines end as SMTP wants."""
    seen = BytesHeaderParser().parsebytes(written)
    if sorted(seen.keys()) != sorted(mail.keys()):
        raise UnfitMessage("a value would have become a header")
    if re.search(rb"\r(?!\n)|(?<!\r)\n|\0", written):
        raise UnfitMessage("a line would not end as SMTP wants it")
