"""Which months are closed, and what they closed with. `worker/closing.py` closes them and shows them.

A closed month is one row that is never changed: the closing figures as posted, and how far everything was known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from billing.ledger.entry import AT_RISK, GOOD
from billing.ledger.policy import PRESETS, LedgerPolicy
from billing.report.period import Period
from worker import tables as t
from worker.store import Owner

NEVER = ""  # sorts before every month


@dataclass(frozen=True, slots=True)
class Horizon:
    """The last rows that were known at some time; everything since is left out."""

    fact: int
    identity: int


@dataclass(frozen=True, slots=True)
class Closed:
    """`closing`: minor units by unit, good and at-risk revenue as posted up to the end of the month."""

    owner: Owner
    month: str
    closed_at: datetime
    by: str
    zone: str
    policy: str
    horizon: Horizon
    closing: Mapping[str, int]

    @property
    def period(self) -> Period:
        return Period.month(self.month, self.zone)

    @property
    def switches(self) -> LedgerPolicy:
        """What the books were kept with when it was closed."""
        return replace(PRESETS[self.policy], zone=self.zone)


def latest(db: Connection, owner: Owner) -> Closed | None:
    """The month closed last, None while everything is open."""
    row = t.period_close
    found = db.execute(select(row).where(owner.of(row)).order_by(row.c.month.desc()).limit(1)).first()
    return _closed(found) if found else None


def first_open(db: Connection, owner: Owner) -> str:
    """The first month that entries may be posted to; sorts before every month while none is closed."""
    last = latest(db, owner)
    return last.period.end.strftime("%Y-%m") if last else NEVER


def all_of(db: Connection, owner: Owner) -> list[Closed]:
    row = t.period_close
    return [_closed(each) for each in db.execute(select(row).where(owner.of(row)).order_by(row.c.month))]


def one(db: Connection, owner: Owner, month: str) -> Closed:
    """Raises LookupError when this month was not closed itself."""
    row = t.period_close
    found = db.execute(select(row).where(owner.of(row), row.c.month == month)).first()
    if found is None:
        raise LookupError(f"{month} was not closed; `reprieve ledger close {month}` closes it")
    return _closed(found)


def _closed(row: Row[Any]) -> Closed:
    return Closed(
        Owner(row.account, row.livemode),
        row.month,
        row.closed_at,
        row.by,
        row.zone,
        row.policy,
        Horizon(row.last_fact, row.last_identity),
        row.closing,
    )


def posted(db: Connection, owner: Owner, month: str) -> dict[str, int]:
    """What the entries posted to a month and to those before it sum to, by unit; zeros are left out."""
    rows = db.execute(
        select(t.posting.c.unit, func.sum(t.posting.c.minor).label("minor"))
        .join(t.entry, t.entry.c.id == t.posting.c.entry)
        .where(owner.of(t.entry), t.posting.c.name.in_((GOOD, AT_RISK)), t.entry.c.posted_period <= month)
        .group_by(t.posting.c.unit)
        .order_by(t.posting.c.unit)
    )
    return {row.unit: int(row.minor) for row in rows if row.minor}
