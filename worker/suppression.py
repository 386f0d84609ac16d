"""Who gets nothing any more, and why: bounced, complained, unsubscribed, or an operator said so.

Asked in the transaction that writes down the intent to hand a message over, so that what was committed before it
holds. A provider keeps such a list too; ours also holds when the provider changes, and can be read and lifted.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update

from billing.notices import address
from billing.notices.sequence import Step
from config.settings import Settings
from worker import queue_marks, store
from worker.channel_tables import contact_report, suppression
from worker.store import Owner
from worker.tables import notice

REASONS = ("bounce", "complaint", "unsubscribed", "operator")
SERVICE = frozenset({Step.PAYMENT_FAILED, Step.LAST_DAY, Step.RECOVERED, Step.ENDED, Step.LATE_RESCUE})
"""What a customer has to know about the contract; the other steps are reminders, which unsubscribing ends."""
PATH = "/unsubscribe/"
LATEST = 5  # invoices of one mailbox that a report is taken to be about, newest first


@dataclass(frozen=True, slots=True)
class Report:
    """What was told about one mailbox. `kind` is hard, soft or complaint; `id` is the teller's."""

    source: str
    id: str
    kind: str
    mailbox: address.Address
    because: str


def mailbox_of(settings: Settings, to: address.Address) -> str:
    """What stands for this mailbox on the list: nobody can guess it back without our secret."""
    return address.recipient_hash(to, key_of(settings, "mailbox"))


def key_of(settings: Settings, purpose: str) -> bytes:
    """A key for one purpose, derived from the secret; empty without one."""
    return (
        hmac.digest(settings.suppression_secret.get_secret_value().encode(), purpose.encode(), "sha256")
        if settings.suppression_secret
        else b""
    )


def standing(db: Connection, mailbox: str) -> list[str]:
    """The reasons that hold for this mailbox now."""
    wanted = select(suppression.c.reason).where(suppression.c.mailbox == mailbox, suppression.c.lifted_at.is_(None))
    return sorted(db.scalars(wanted))


def refusal(db: Connection, settings: Settings, mailbox: str, step: Step) -> str:
    """Why this message may not go to this mailbox; empty when it may."""
    reasons = standing(db, mailbox)
    if "unsubscribed" in reasons and settings.unsubscribe_covers == "reminders" and step in SERVICE:
        reasons.remove("unsubscribed")
    return f"the address is suppressed: {', '.join(reasons)}" if reasons else ""


def suppress(db: Connection, mailbox: str, reason: str, source: str, now: datetime) -> bool:
    """Put a mailbox on the list; False when it stands there already for this reason."""
    if reason not in REASONS:
        raise ValueError(f"no such reason: {reason}")
    row = {"mailbox": mailbox, "reason": reason, "source": source, "at": now}
    added = store.insert(db, suppression).values(row).on_conflict_do_nothing().returning(suppression.c.id)
    return db.execute(added).first() is not None


def lift(db: Connection, mailbox: str, by: str, now: datetime) -> int:
    """Take a mailbox off the list; how many reasons stood."""
    held = (suppression.c.mailbox == mailbox) & suppression.c.lifted_at.is_(None)
    return db.execute(update(suppression).where(held).values(lifted_at=now, lifted_by=by)).rowcount


# ---------------------------------------------------------------- what came back


@dataclass(frozen=True, slots=True)
class Concerned:
    """An invoice whose customer we wrote to at this mailbox."""

    owner: Owner
    customer: str | None
    invoice: str


def concerned(db: Connection, mailbox: address.Address, message_id: str | None = None) -> list[Concerned]:
    """Whose messages went there, the latest first; with a Message-ID, only that message's."""
    sent = notice.c.recipient_hash == address.recipient_hash(mailbox)
    if message_id is not None:
        sent &= notice.c.message_id == message_id
    key = (notice.c.account, notice.c.livemode, notice.c.customer, notice.c.invoice)
    latest = select(*key).where(sent).group_by(*key).order_by(func.max(notice.c.id).desc()).limit(LATEST)
    return [Concerned(Owner(row.account, row.livemode), row.customer, row.invoice) for row in db.execute(latest)]


def take(
    db: Connection, settings: Settings, report: Report, now: datetime, message_id: str | None = None
) -> list[Concerned]:
    """Book a report: the cases that it is news for. A mailbox that we never wrote to is nobody's business of ours."""
    found = concerned(db, report.mailbox, message_id)
    if not found:
        return []
    mailbox = mailbox_of(settings, report.mailbox)
    if report.kind != "soft":
        suppress(db, mailbox, "bounce" if report.kind == "hard" else "complaint", report.source, now)
    return [each for each in found if _added(db, each, report, mailbox, now)]


def _added(db: Connection, each: Concerned, report: Report, mailbox: str, now: datetime) -> bool:
    row = {
        **each.owner.key,
        "source": report.source,
        "report": report.id,
        "kind": report.kind,
        "mailbox": mailbox,
        "customer": each.customer,
        "invoice": each.invoice,
        "because": report.because[:300],
        "at": now,
    }
    added = store.insert(db, contact_report).values(row).on_conflict_do_nothing().returning(contact_report.c.id)
    if db.execute(added).first() is None:
        return False
    queue_marks.mark(db, each.owner, [each.invoice], now)
    return True


def reports_of(db: Connection, owner: Owner, invoice: str) -> list[Any]:
    """What came back about the messages of a case, newest first: kind, source, because, at."""
    told = contact_report
    wanted = select(told.c.kind, told.c.source, told.c.because, told.c.at)
    mine = owner.of(told) & (told.c.invoice == invoice)
    return list(db.execute(wanted.where(mine).order_by(told.c.id.desc())))


# ---------------------------------------------------------------- unsubscribe (RFC 8058)


def headers(settings: Settings, to: address.Address) -> tuple[tuple[str, str], ...]:
    """The two headers that let a mail program unsubscribe with one click; none without a secret and https."""
    if settings.suppression_secret is None or not settings.public_url.startswith("https://"):
        return ()
    url = f"{settings.public_url.rstrip('/')}{PATH}{unsubscribe_token(settings, to)}"
    return (("List-Unsubscribe", f"<{url}>"), ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))


def unsubscribe_token(settings: Settings, to: address.Address) -> str:
    mailbox = mailbox_of(settings, to)
    return f"{mailbox}{_signature(settings, mailbox)}"


def mailbox_in(settings: Settings, token: str) -> str | None:
    """The mailbox that this token of ours may unsubscribe; None when it is not ours."""
    mailbox, signature = token[:32], token[32:]
    if settings.suppression_secret is None or not token.isascii():
        return None
    return mailbox if hmac.compare_digest(signature, _signature(settings, mailbox)) else None


def _signature(settings: Settings, mailbox: str) -> str:
    mac = hmac.digest(key_of(settings, "unsubscribe"), mailbox.encode(), "sha256")[:16]
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")
