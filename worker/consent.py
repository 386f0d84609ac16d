"""Who may be written to by SMS, at which number, and how that ends: nobody who did not agree, never after a STOP.

A number stands in one readable column, because it has to be sent to, and only as long as the consent stands: with the
withdrawal it is erased. What stays is a hash under `suppression_secret`, by which a later STOP or START of the same
number is known. A service that keeps its own opt-out list beside ours may only be stricter.
"""

from __future__ import annotations

import hmac
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from billing.actions import Kind
from config.settings import Settings
from worker import store, suppression
from worker.channel_tables import suppression as suppressed
from worker.channels.chat import NUMBER
from worker.consent_tables import consent
from worker.store import Owner
from worker.tables import action, audit, recovery_case

CHANNELS = ("sms", "chat")
REPLACED = "another number"
STOP = "unsubscribed"  # the reason under which a number that said STOP stands on the list of those who get nothing
BY_SMS = "sms:"  # how the source of a word begins that came as an answer: sms:twilio
BATCH = 500
LONGEST_SOURCE = 200


@dataclass(frozen=True, slots=True)
class Permit:
    """The customer agreed: the number, in E.164."""

    to: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing may be sent to this customer by this channel."""

    because: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A customer's agreement. `source` says where it was given: a form, a contract, a call."""

    customer: str
    number: str
    granted_at: datetime
    source: str
    channel: str = "sms"


class BadNumber(ValueError):
    """This is not a telephone number of the form +4915112345678; the message never repeats it."""


class NoSecret(ValueError):
    """Without REPRIEVE_SUPPRESSION_SECRET numbers cannot be hidden, so no consent is kept."""


def number_in(text: str) -> str:
    """E.164, whatever blanks, dashes and brackets it was written with. Raises BadNumber."""
    found = "".join(c for c in text if c not in " -./()\u00a0")
    if not NUMBER.fullmatch(found):
        raise BadNumber("not a telephone number of the form +4915112345678")
    return found


def number_of(settings: Settings, number: str) -> str:
    """What stands for a number where it need not be read. Raises NoSecret."""
    key = suppression.key_of(settings, "number")
    if not key:
        raise NoSecret("set REPRIEVE_SUPPRESSION_SECRET first: numbers are hidden under it")
    return hmac.digest(key, number.encode(), "sha256").hex()[:32]


# ---------------------------------------------------------------- may we?


def phone_of(
    db: Connection, settings: Settings, owner: Owner, customer: str | None, channel: str = "sms"
) -> Permit | Refused:
    """The number that this customer agreed to be written to at, or why there is none.

    To be asked in the transaction that writes down the intent to send: what was withdrawn before it holds.
    """
    mine = owner.of(consent) & (consent.c.customer == customer) & (consent.c.channel == channel)
    row = db.execute(
        select(consent.c.number, consent.c.withdrawn_at, consent.c.withdrawn_by)
        .where(mine)
        .order_by(consent.c.withdrawn_at.is_not(None), consent.c.id.desc())
        .limit(1)
    ).first()
    if row is None:
        return Refused(f"the customer did not agree to {channel}")
    if row.withdrawn_at is not None or row.number is None:
        return Refused(f"the customer's consent to {channel} was withdrawn ({row.withdrawn_by})")
    try:
        reasons = suppression.standing(db, number_of(settings, row.number))
    except NoSecret as error:
        return Refused(str(error))
    return Refused(f"the number is suppressed: {', '.join(reasons)}") if reasons else Permit(row.number)


def answers_heard(settings: Settings) -> bool:
    """Whether a STOP would reach us, so that an SMS may promise it."""
    return settings.twilio_auth_token is not None or settings.sms_hook_secret is not None


# ---------------------------------------------------------------- yes


def grant(
    db: Connection, settings: Settings, owner: Owner, grants: Sequence[Grant], by: str, now: datetime
) -> list[str]:
    """Keep these agreements, at most one for each customer; for each why it was not kept, or nothing.

    An agreement older than the withdrawal of the same customer or number, or than a STOP, is refused: the word that
    came last holds. One that stands already changes nothing.
    """
    refused: list[str] = []
    for start in range(0, len(grants), BATCH):
        refused += _grant(db, settings, owner, grants[start : start + BATCH], by, now)
    return refused


def _grant(
    db: Connection, settings: Settings, owner: Owner, grants: Sequence[Grant], by: str, now: datetime
) -> list[str]:
    hashes = {each.number: number_of(settings, number_in(each.number)) for each in grants}
    known = _known(db, owner, {each.customer for each in grants}, set(hashes.values()))
    stops = _stops(db, set(hashes.values()))
    refused: list[str] = []
    new: list[dict[str, Any]] = []
    for each in grants:
        hashed = hashes[each.number]
        mine = known[each.customer, each.channel]
        stands = next((row for row in mine if row.withdrawn_at is None), None)
        because = _older(each, [*mine, *known[hashed, each.channel]], stops.get(hashed), now)
        refused.append(because)
        if because or (stands and stands.number_hash == hashed):
            continue
        if stands:
            _withdraw(db, consent.c.id == stands.id, REPLACED, now)
        if hashed in stops:
            _lift(db, hashed, by, now)
        new.append(_row(owner, each, hashed, by, now))
    if new:
        db.execute(store.insert(db, consent).on_conflict_do_nothing(), new)
    return refused


def _row(owner: Owner, each: Grant, hashed: str, by: str, now: datetime) -> dict[str, Any]:
    if each.channel not in CHANNELS:
        raise ValueError(f"no such channel: {each.channel}; there are {' and '.join(CHANNELS)}")
    return {
        **owner.key,
        "customer": each.customer,
        "channel": each.channel,
        "number": number_in(each.number),
        "number_hash": hashed,
        "granted_at": each.granted_at,
        "source": each.source[:LONGEST_SOURCE],
        "granted_by": by,
        "recorded_at": now,
    }


def _older(each: Grant, known: Iterable[Any], stopped: tuple[str, datetime] | None, now: datetime) -> str:
    """Why what this customer or this number said later forbids it; empty when nothing does."""
    if each.granted_at > now:
        return "the consent lies in the future"
    reason, since = stopped or (STOP, None)
    if reason != STOP:
        return f"the number is suppressed: {reason}"
    ends = [row.withdrawn_at for row in known if row.withdrawn_at and row.withdrawn_by != REPLACED]
    last = max([*ends, *([since] if since else [])], default=None)
    if last and each.granted_at <= last:
        return f"it was withdrawn on {last:%Y-%m-%d}, after this consent"
    return ""


def _known(
    db: Connection, owner: Owner, customers: Iterable[str], hashes: Iterable[str]
) -> defaultdict[tuple[str, str], list[Any]]:
    """Every consent there was, by customer of this account or by number of any, and by channel."""
    mine = owner.of(consent) & consent.c.customer.in_(sorted(customers))
    found: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in db.execute(select(consent).where(or_(mine, consent.c.number_hash.in_(sorted(hashes))))):
        found[row.number_hash, row.channel].append(row)
        if (row.account, row.livemode) == (owner.account, owner.livemode):
            found[row.customer, row.channel].append(row)
    return found


def _stops(db: Connection, hashes: Iterable[str]) -> dict[str, tuple[str, datetime]]:
    """What stands against these numbers: STOP only when nothing heavier does."""
    held = suppressed.c.mailbox.in_(sorted(hashes)) & suppressed.c.lifted_at.is_(None)
    rows = db.execute(select(suppressed.c.mailbox, suppressed.c.reason, suppressed.c.at).where(held))
    found: dict[str, tuple[str, datetime]] = {}
    for row in rows:
        if row.mailbox not in found or found[row.mailbox][0] == STOP:
            found[row.mailbox] = (row.reason, row.at)
    return found


# ---------------------------------------------------------------- no


def withdraw(db: Connection, owner: Owner, customer: str, channel: str, by: str, now: datetime) -> int:
    """End a customer's consent, erase the number, take back what was planned; how many consents stood."""
    mine = owner.of(consent) & (consent.c.customer == customer) & (consent.c.channel == channel)
    return _withdraw(db, mine, by, now)


def stop(db: Connection, settings: Settings, number: str, source: str, now: datetime) -> int:
    """The number said STOP: it gets nothing more from any account of ours; how many consents stood.

    It is remembered even if nobody's consent names it: an agreement that is imported later and older stays refused.
    """
    hashed = number_of(settings, number_in(number))
    if not suppression.suppress(db, hashed, STOP, source, now):  # said again: consents in between do not count either
        again = (suppressed.c.mailbox == hashed) & (suppressed.c.reason == STOP) & suppressed.c.lifted_at.is_(None)
        db.execute(update(suppressed).where(again).values(at=now, source=source))
    return _withdraw(db, consent.c.number_hash == hashed, source, now)


def start(db: Connection, settings: Settings, number: str, source: str, now: datetime) -> int:
    """The number said START, and the settings let that count: what its own STOP ended stands again; how many."""
    number = number_in(number)
    hashed = number_of(settings, number)
    _lift(db, hashed, source, now)
    newest: dict[tuple[Owner, str, str], Any] = {}
    for row in db.execute(select(consent).where(consent.c.number_hash == hashed).order_by(consent.c.id)):
        newest[Owner(row.account, row.livemode), row.customer, row.channel] = row
    count = 0
    for (owner, customer, channel), row in newest.items():
        if row.withdrawn_by and row.withdrawn_by.startswith(BY_SMS):
            again = Grant(customer, number, now, f"START after {row.source}", channel)
            new = store.insert(db, consent).values(_row(owner, again, hashed, source, now)).on_conflict_do_nothing()
            if db.execute(new.returning(consent.c.id)).first():  # not when another number stands by now
                note(db, owner, customer, source, "consent", f"{channel}: {again.source}", now)
                count += 1
    return count


def _lift(db: Connection, hashed: str, by: str, now: datetime) -> None:
    """Take back what a STOP did, and nothing that an operator or a service said."""
    held = (suppressed.c.mailbox == hashed) & (suppressed.c.reason == STOP) & suppressed.c.lifted_at.is_(None)
    db.execute(update(suppressed).where(held).values(lifted_at=now, lifted_by=by))


def _withdraw(db: Connection, which: Any, by: str, now: datetime) -> int:
    ended = (
        update(consent)
        .where(which, consent.c.withdrawn_at.is_(None))
        .values(number=None, withdrawn_at=now, withdrawn_by=by)
        .returning(consent.c.account, consent.c.livemode, consent.c.customer, consent.c.channel)
    )
    rows = list(db.execute(ended))
    for row in rows:
        owner = Owner(row.account, row.livemode)
        note(db, owner, row.customer, by, "consent withdrawn", row.channel, now)
        _take_back(db, owner, row.customer, row.channel, by, now)
    return len(rows)


def _take_back(db: Connection, owner: Owner, customer: str, channel: str, by: str, now: datetime) -> None:
    """Messages that wait for this channel are not sent; what decides later is `phone_of`, at the intent."""
    invoices = select(recovery_case.c.invoice).where(owner.of(recovery_case), recovery_case.c.customer == customer)
    mine = owner.of(action) & action.c.invoice.in_(invoices) & (action.c.kind == Kind.NOTICE.value)
    rows = db.execute(select(action.c.id, action.c.detail).where(mine, action.c.state == "waiting"))
    planned = [row.id for row in rows if row.detail.get("channel") == channel]
    if planned:
        over = {"state": "cancelled", "outcome": f"consent withdrawn ({by})", "finished_at": now}
        db.execute(update(action).where(action.c.id.in_(planned), action.c.state == "waiting").values(**over))


def note(db: Connection, owner: Owner, customer: str, by: str, what: str, because: str, now: datetime) -> None:
    """Leave a line in the audit."""
    line = {"actor": by, "what": what, "object": customer, "because": because, "at": now}
    db.execute(insert(audit), {**owner.key, **line})


# ---------------------------------------------------------------- to look at


def listed(db: Connection, owner: Owner, customer: str | None, most: int) -> list[Any]:
    """The newest consents, of one customer or of all: rows of the table."""
    wanted = select(consent).where(owner.of(consent))
    if customer:
        wanted = wanted.where(consent.c.customer == customer)
    return list(db.execute(wanted.order_by(consent.c.id.desc()).limit(most)))


def shown(number: str | None) -> str:
    """A number for a person who only has to tell it from others: +49…5678."""
    return f"{number[:3]}…{number[-4:]}" if number else "erased"
