"""Who is written to, and what the messages of a case depend on that no event of its invoice tells.

The address at Stripe comes from what we last saw of the customer; other contacts come from the operator's file, which
is read again when it changes. A file that was broken meanwhile is not used: the one before it stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection, bindparam, func, select

from billing.notices.address import BadAddress, parse, recipient_hash
from billing.notices.compose import Person
from billing.notices.due import Contact, Facts
from billing.notices.language import zone_of
from billing.policy import Policy
from config.contacts import BadContacts, contacts
from config.contacts import Person as Known
from config.settings import Settings
from worker import store
from worker.link_tables import recovery_link
from worker.store import Owner
from worker.tables import customer as customers

log = structlog.get_logger(__name__)

_read: dict[Path, tuple[int, Mapping[str, tuple[Known, ...]]]] = {}  # (mtime in ns, what stood there)


def known(settings: Settings) -> Mapping[str, tuple[Known, ...]]:
    """The contacts by customer. Raises BadContacts when the file could not be used from the start."""
    file = settings.contacts_csv
    if file is None:
        return {}
    before = _read.get(file)
    try:
        changed = file.stat().st_mtime_ns
        if before is None or before[0] != changed:
            _read[file] = (changed, contacts(file))
    except (OSError, BadContacts) as error:
        if before is None:
            raise BadContacts(str(error)) from None
        log.error("contacts_not_used", because=str(error))
    return _read[file][1]


def facts_of(
    db: Connection, settings: Settings, owner: Owner, names: Iterable[str], policies: Collection[Policy]
) -> dict[str, Facts]:
    """By customer, what their messages depend on; nothing is asked for policies without a sequence."""
    wanted = sorted(set(names))
    if not wanted or not any(policy.messages for policy in policies):
        return {}
    zone = ZoneInfo(settings.reporting_timezone)
    seen = {row.id: row for row in db.execute(_SEEN, {**owner.key, "names": wanted})}
    engaged = _engaged(db, owner, wanted) if any(map(_asks_engagement, policies)) else {}
    others = known(settings)
    found = {}
    for name in wanted:
        row = seen.get(name)
        mine = _hash(row.email if row else None)
        found[name] = Facts(
            zone=zone_of(row.country if row else None, zone),
            country=row.country if row else None,
            contacts=tuple(Contact(each.id, each.role) for each in others.get(name, ()) if each.id != mine),
            engaged_at=engaged.get(name),
        )
    return found


# Asked for every event, so built once.
_SEEN = select(customers.c.id, customers.c.email, customers.c.country).where(
    store.owned(customers), customers.c.id.in_(bindparam("names", expanding=True))
)


def contact(settings: Settings, customer: str | None, id: str) -> Person | None:
    """The contact that this id stands for, as somebody to write to; None when the file names him no more."""
    for each in known(settings).get(customer or "", ()):
        if each.id == id:
            return Person(str(each.address), None, (each.language,) if each.language else ())
    return None


def _engaged(db: Connection, owner: Owner, names: list[str]) -> dict[str, datetime]:
    """When each customer last did something on the recovery page; a look at it leaves no trace."""
    link = recovery_link
    rows = db.execute(
        select(link.c.customer, func.max(link.c.used_at).label("at"))
        .where(owner.of(link), link.c.customer.in_(names), link.c.used_at.is_not(None))
        .group_by(link.c.customer)
    )
    return {row.customer: row.at for row in rows}


def _asks_engagement(policy: Policy) -> bool:
    return any(step.only.engaged is not None for step in policy.sequence.steps)


def _hash(email: str | None) -> str:
    try:
        return recipient_hash(parse(email or ""))[:16]
    except BadAddress:
        return ""
