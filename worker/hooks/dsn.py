"""Returned mail from a plain mailbox: delivery status notifications (RFC 3464) and abuse reports (RFC 5965).

Anybody can write to that mailbox, so a report only counts when it quotes the Message-ID of a message of ours to the
very mailbox it is about: nobody but who got that message knows it (reliability.md S-30).
"""

from __future__ import annotations

import email
import hashlib
import imaplib
import mailbox
import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import policy
from email.message import Message
from pathlib import Path

import structlog

from billing.notices import address
from worker import hooks, suppression
from worker.app import App
from worker.suppression import Report

log = structlog.get_logger(__name__)

SOURCE = "dsn"
LONGEST = 2 * 1024 * 1024
IMAP_SECONDS = 20.0
# RFC 3463: of the answers for good, these are about the mailbox; others are about us, the message or the moment.
ABOUT_THE_MAILBOX = re.compile(r"5\.(0\.0|1\.[0-9]+|2\.[01]|4\.4)")
STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class Returned:
    """One recipient of one returned message: every spelling of the mailbox that the report has."""

    message_id: str
    mailboxes: tuple[address.Address, ...]
    kind: str
    because: str


def read(raw: bytes) -> list[Returned]:
    """What this mail reports; nothing when it is no report, or not about a message that it quotes."""
    if len(raw) > LONGEST:
        return []
    mail = email.message_from_bytes(raw, policy=policy.compat32)
    if mail.get_content_type() != "multipart/report":
        return []
    parts = {part.get_content_type(): part for part in mail.walk()}
    original = _original(parts)
    if original is None:
        return []
    name = str(original.get("Message-ID", "")).strip()
    to = _addresses(str(original.get("To", "")))
    if status := parts.get("message/delivery-status"):
        found = ((each, _kind(each)) for each in _recipients(status))
        return [Returned(name, (*_named(each), *to), *kind) for each, kind in found if kind]
    if feedback := parts.get("message/feedback-report"):
        fields = _fields(feedback)
        kind = str(fields.get("Feedback-Type", "")).strip().lower()
        named = _addresses(str(fields.get("Original-Rcpt-To", "")))
        return [Returned(name, (*named, *to), "complaint", f"feedback report: {kind}")] if kind == "abuse" else []
    return []


def _original(parts: dict[str, Message]) -> Message | None:
    """The headers of the message that came back."""
    if whole := parts.get("message/rfc822"):
        inner = whole.get_payload()
        return inner[0] if isinstance(inner, list) and isinstance(inner[0], Message) else None
    if headers := parts.get("text/rfc822-headers"):
        text = headers.get_payload(decode=True)
        return email.message_from_bytes(text) if isinstance(text, bytes) else None
    return None


def _recipients(status: Message) -> Iterator[Message]:
    """The groups of fields after the first, which is about the message as a whole."""
    groups = status.get_payload()
    for group in groups if isinstance(groups, list) else []:
        if isinstance(group, Message) and group.get("Final-Recipient"):
            yield group


def _fields(part: Message) -> Message:
    inner = part.get_payload()
    return inner[0] if isinstance(inner, list) and inner and isinstance(inner[0], Message) else part


def _named(group: Message) -> tuple[address.Address, ...]:
    values = (str(group.get(name, "")) for name in ("Original-Recipient", "Final-Recipient"))
    return tuple(found for value in values for found in _addresses(value.partition(";")[2]))


def _addresses(text: str) -> tuple[address.Address, ...]:
    found = re.search(r"<([^<>]+)>", text)
    try:
        return (address.parse((found[1] if found else text).strip()),)
    except address.BadAddress:
        return ()


def _kind(group: Message) -> tuple[str, str] | None:
    """hard or soft, and why; None when the message arrived."""
    action = str(group.get("Action", "")).strip().lower()
    status = str(group.get("Status", "")).split("(")[0].strip()
    if action not in ("failed", "delayed") or not STATUS.fullmatch(status):
        return None
    hard = action == "failed" and ABOUT_THE_MAILBOX.fullmatch(status)
    return "hard" if hard else "soft", f"{action} {status}"


# ---------------------------------------------------------------- reading a mailbox


def take(app: App, raw: bytes) -> int:
    """Book what a mail reports; for how many cases it was news."""
    report = hashlib.sha256(raw).hexdigest()[:32]
    news = 0
    for returned in read(raw):
        with app.db.read() as db:
            to = next((a for a in returned.mailboxes if suppression.concerned(db, a, returned.message_id)), None)
        if to is None:
            log.info("report_not_about_us", source=SOURCE)
            continue
        news += hooks.book(app, [Report(SOURCE, report, returned.kind, to, returned.because)], returned.message_id)
    return news


def from_maildir(app: App, folder: Path) -> tuple[int, int]:
    """Read what is new in a maildir and mark it as seen: (mails, cases that it was news for).

    Raises LookupError when there is no such maildir.
    """
    if not (folder / "new").is_dir() or not (folder / "cur").is_dir():
        raise LookupError(f"{folder} is not a maildir: it has no folders new and cur")
    box = mailbox.Maildir(folder, create=False)
    mails = news = 0
    for key in sorted(box.keys()):
        message = box.get_message(key)
        if "S" in message.get_flags():
            continue
        news += take(app, box.get_bytes(key))
        mails += 1
        message.set_subdir("cur")
        message.add_flag("S")
        box[key] = message
    return mails, news


def verified(host: str) -> imaplib.IMAP4:
    """A connection whose certificate was checked, which imaplib does not do by itself."""
    return imaplib.IMAP4_SSL(host, ssl_context=ssl.create_default_context(), timeout=IMAP_SECONDS)


def from_imap(app: App, connect: Callable[[str], imaplib.IMAP4] = verified) -> tuple[int, int]:
    """Read what is unseen in the mailbox of the settings and mark it as seen: (mails, cases that it was news for).

    Raises LookupError without settings, OSError or imaplib.IMAP4.error when the server does not play along.
    """
    settings = app.settings
    if not (settings.bounce_imap_host and settings.bounce_imap_user and settings.bounce_imap_password):
        raise LookupError("no mailbox: give --maildir, or set REPRIEVE_BOUNCE_IMAP_HOST, _USER and _PASSWORD")
    mails = news = 0
    with connect(settings.bounce_imap_host) as box:
        box.login(settings.bounce_imap_user, settings.bounce_imap_password.get_secret_value())
        box.select("INBOX")
        _, found = box.uid("SEARCH", "UNSEEN")
        for uid in (found[0] or b"").split():
            _, parts = box.uid("FETCH", uid.decode(), "(BODY.PEEK[])")
            news += take(app, next((part[1] for part in parts if isinstance(part, tuple)), b""))
            mails += 1
            box.uid("STORE", uid.decode(), "+FLAGS", r"(\Seen)")
    return mails, news
