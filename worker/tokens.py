"""API tokens: 256 random bits, kept as a hash, bound to one account and mode, good for named purposes and a time.

A random secret of this length needs no slow hash: there is nothing to guess it from. Sessions for people
(design.md, `operator`) will stand beside this and not replace it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from worker.store import Owner
from worker.tables import audit
from worker.token_tables import api_token

PREFIX = "rp_"
SCOPES = {
    "read:entitlement": "ask what a customer may use now",
    "read:queue": "read the queue of cases that need a person",
    "queue": "read the queue and act on it: retry, hold, extend, offer, mark as paid outside",
}
INCLUDES = {"queue": frozenset({"read:queue"})}  # who may act may look
LONGEST_DAYS = 3_650
SEEN_EVERY = timedelta(hours=1)
_TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,59}")


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is kept; `scopes` as granted."""

    id: int
    owner: Owner
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    def may(self, scope: str) -> bool:
        return any(scope == own or scope in INCLUDES.get(own, ()) for own in self.scopes)

    def state(self, now: datetime) -> str:
        """`good`, `expired` or `revoked`."""
        if self.revoked_at:
            return "revoked"
        return "good" if now < self.expires_at else "expired"


def create(db: Connection, owner: Owner, name: str, scopes: Iterable[str], days: int, by: str, now: datetime) -> str:
    """A new token; the secret is returned here and never again. Raises ValueError."""
    wanted = sorted(set(scopes))
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown or not wanted:
        raise ValueError(f"no such scope: {', '.join(unknown) or 'none was given'}; there are {', '.join(SCOPES)}")
    if not _NAME.fullmatch(name):
        raise ValueError("a name has 1 to 60 letters, digits, spaces and . _ @ -")
    if not 1 <= days <= LONGEST_DAYS:
        raise ValueError(f"a token is good for 1 to {LONGEST_DAYS} days")
    secret = PREFIX + secrets.token_urlsafe(32)
    row = {
        **owner.key,
        "name": name,
        "token_hash": _hash(secret),
        "scopes": wanted,
        "created_at": now,
        "created_by": by,
        "expires_at": now + timedelta(days=days),
    }
    try:
        with db.begin_nested():
            db.execute(insert(api_token), row)
    except IntegrityError:
        raise ValueError(f"there is a token named {name!r} already: revoke it first, or choose another name") from None
    _told(db, owner, by, "create token", name, f"for {', '.join(wanted)}, {days} days", now)
    return secret


def find(db: Connection, secret: str, now: datetime) -> Token | None:
    """The token of this secret; None for one that is unknown, expired or revoked, without saying which."""
    if not _TOKEN.fullmatch(secret):
        return None
    hashed = _hash(secret)
    row = db.execute(select(api_token).where(api_token.c.token_hash == hashed)).first()
    if row is None or not hmac.compare_digest(row.token_hash, hashed):
        return None
    token = _token(row)
    return token if token.state(now) == "good" else None


def seen(db: Connection, token: Token, now: datetime) -> None:
    """Note that it was used, once an hour at most."""
    stale = or_(api_token.c.last_used_at.is_(None), api_token.c.last_used_at <= now - SEEN_EVERY)
    db.execute(update(api_token).where(api_token.c.id == token.id, stale).values(last_used_at=now))


def is_stale(token: Token, now: datetime) -> bool:
    """Whether `seen` would write anything."""
    return token.last_used_at is None or token.last_used_at <= now - SEEN_EVERY


def listing(db: Connection, owner: Owner) -> list[Token]:
    """Every token of an account, in the order of their making."""
    return [_token(row) for row in db.execute(select(api_token).where(owner.of(api_token)).order_by(api_token.c.id))]


def revoke(db: Connection, owner: Owner, name: str, by: str, now: datetime) -> bool:
    """End the token of this name at once; False when there is none."""
    mine = owner.of(api_token) & (api_token.c.name == name) & api_token.c.revoked_at.is_(None)
    ended = db.execute(update(api_token).where(mine).values(revoked_at=now, revoked_by=by)).rowcount == 1
    if ended:
        _told(db, owner, by, "revoke token", name, "it answers nobody from now on", now)
    return ended


def _told(db: Connection, owner: Owner, by: str, what: str, name: str, because: str, now: datetime) -> None:
    words = {"actor": by, "what": what, "object": f"token {name}", "because": because}
    db.execute(insert(audit), {**owner.key, **words, "at": now})


def _token(row: object) -> Token:
    known = {name: getattr(row, name) for name in Token.__slots__ if name not in ("owner", "scopes")}
    return Token(owner=Owner(row.account, row.livemode), scopes=tuple(row.scopes), **known)  # type: ignore[attr-defined]


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
