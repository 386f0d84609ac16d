"""Links to the recovery page: signed, hashed where they are kept, expiring, revocable (reliability.md S-33 to S-35).

A token is the signature, under the installation's own secret, of the customer and the message that carries it. So a
message that is handed over again carries the same link, nobody can make a token up, and the table alone opens nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, insert, select, update

from billing.notices.compose import Links
from config.settings import Settings
from worker import store
from worker.link_tables import recovery_link
from worker.store import Owner
from worker.tables import audit

PATH = "/pay/"
METHOD_PATH = "/method/"  # to the page on which only the payment method is changed: nothing is owed yet
MOST_USES = 200  # acts through one link; a person needs a handful
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Link:
    """A link that may be used now, and whose page it opens."""

    id: int
    owner: Owner
    customer: str
    created_at: datetime


def base_of(settings: Settings) -> str | None:
    """Address of the page as customers reach it: https, or this machine; None when links cannot be made."""
    if settings.link_secret is None:
        return None
    parts = urlsplit(settings.public_url)
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname)):
        return settings.public_url.rstrip("/")
    return None


def allowed(settings: Settings) -> Links:
    """What a message may link to when the link is ours: this address and no other."""
    base = base_of(settings) or ""
    secure = base.startswith("https://")
    return Links(frozenset({urlsplit(base).netloc}) if secure else frozenset(), None if secure else base)


def for_customer(
    db: Connection,
    settings: Settings,
    owner: Owner,
    customer: str | None,
    message: str,
    now: datetime,
    *,
    path: str = PATH,
) -> str | None:
    """The link to this customer's page for one message, made on first use; None where links cannot be made."""
    base = base_of(settings)
    if base is None or customer is None:
        return None
    token = _token(settings, owner, customer, message)
    row = {
        **owner.key,
        "token_hash": _hash(token),
        "customer": customer,
        "message": message,
        "created_at": now,
        "expires_at": now + timedelta(days=settings.link_days),
        "used": 0,
    }
    db.execute(store.insert(db, recovery_link).on_conflict_do_nothing(), row)
    return f"{base}{path}{token}"


def find(db: Connection, token: str, now: datetime) -> Link | None:
    """The link of this token; None for one that is unknown, expired, revoked or used up, without saying which."""
    hashed = _hash(token)
    row = db.execute(select(recovery_link).where(recovery_link.c.token_hash == hashed)).first()
    if row is None or not hmac.compare_digest(row.token_hash, hashed) or not _TOKEN.fullmatch(token):
        return None
    if row.revoked_at is not None or now >= row.expires_at or row.used >= MOST_USES:
        return None
    return Link(row.id, Owner(row.account, row.livemode), row.customer, row.created_at)


def used(db: Connection, link: Link, now: datetime) -> None:
    """Count an act; looking is none."""
    db.execute(
        update(recovery_link).where(recovery_link.c.id == link.id).values(used=recovery_link.c.used + 1, used_at=now)
    )


def revoke(
    db: Connection,
    owner: Owner,
    customer: str,
    now: datetime,
    by: str = "operator",
    because: str = "an operator said so",
) -> int:
    """End every link of a customer, as when an address turns out to be somebody else's; how many. Audited."""
    mine = owner.of(recovery_link) & (recovery_link.c.customer == customer) & recovery_link.c.revoked_at.is_(None)
    number = db.execute(update(recovery_link).where(mine).values(revoked_at=now)).rowcount
    if number:
        line = {"actor": by, "what": "links revoked", "object": customer, "because": because, "at": now}
        db.execute(insert(audit), {**owner.key, **line})
    return number


def of_customer(db: Connection, owner: Owner, customer: str) -> list[Any]:
    """The rows of a customer's links, the newest first; no row opens anything."""
    mine = owner.of(recovery_link) & (recovery_link.c.customer == customer)
    return list(db.execute(select(recovery_link).where(mine).order_by(recovery_link.c.id.desc())))


def state_of(row: Any, now: datetime) -> str:
    """Whether a link opens, in words."""
    if row.revoked_at is not None:
        return f"revoked {row.revoked_at:%Y-%m-%d %H:%M}"
    if now >= row.expires_at:
        return f"expired {row.expires_at:%Y-%m-%d}"
    return "used up" if row.used >= MOST_USES else f"opens until {row.expires_at:%Y-%m-%d}"


def _token(settings: Settings, owner: Owner, customer: str, message: str) -> str:
    if settings.link_secret is None:
        raise ValueError("there is no link_secret")
    names = json.dumps(["link1", owner.account, owner.livemode, customer, message], separators=(",", ":"))
    signature = hmac.digest(settings.link_secret.get_secret_value().encode(), names.encode(), "sha256")
    return base64.urlsafe_b64encode(signature).decode().rstrip("=")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
