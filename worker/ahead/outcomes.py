"""What came of the renewals that were warned of, or were the control: paid, failed, or there was none any more.

Both arms are judged by the same rows at the same time, a few days after the renewal, when Stripe has billed and asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from worker.ahead_tables import ahead_renewal, ahead_warning
from worker.app import App
from worker.store import Owner
from worker.tables import recovery_case

SETTLED = timedelta(days=4)  # Stripe finalises an invoice after an hour and asks at once; a bank debit takes days
BEFORE = timedelta(hours=1)
PAGE = 500
PAID, FAILED, GONE = "paid", "failed", "gone"
SENTENCES = {
    PAID: "The renewal was billed and no failure was heard of.",
    FAILED: "The first attempt to collect it failed, whatever was recovered later.",
    GONE: "The subscription was cancelled, paused or moved before it came to the renewal.",
}


def close(app: App, owner: Owner) -> int:
    """Judge every renewal that was long enough ago; how many there were."""
    closed = 0
    while not app.stopping.is_set():
        with app.db.begin() as db:
            rows = _settled(db, owner, app.now())
            _judge(db, owner, rows, app.now())
        closed += len(rows)
        if len(rows) < PAGE:
            break
    return closed


def _settled(db: Connection, owner: Owner, now: datetime) -> Sequence[Any]:
    table = ahead_warning
    under_way = table.c.arm.is_not(None) & table.c.ended_at.is_(None) & (table.c.renewal_at <= now - SETTLED)
    query = select(table).where(owner.of(table), under_way).order_by(table.c.renewal_at, table.c.id).limit(PAGE)
    return db.execute(query).all()


def _judge(db: Connection, owner: Owner, rows: Sequence[Any], now: datetime) -> None:
    if not rows:
        return
    failures = _failures(db, owner, sorted({row.customer for row in rows}))
    ends = _periods(db, owner, sorted({row.subscription for row in rows}))
    judged = [{"k": row.id, "what": _outcome(row, failures, ends), "at": now} for row in rows]
    statement = update(ahead_warning).where(ahead_warning.c.id == bindparam("k"), ahead_warning.c.ended_at.is_(None))
    db.execute(
        statement.values(outcome=bindparam("what"), ended_at=bindparam("at", type_=ahead_warning.c.ended_at.type)),
        judged,
    )


def _failures(db: Connection, owner: Owner, customers: Sequence[str]) -> dict[str, list[datetime]]:
    """When renewals of these customers failed first, by subscription."""
    case = recovery_case
    query = select(case.c.subscription, case.c.failed_at).where(owner.of(case), case.c.customer.in_(customers))
    found: dict[str, list[datetime]] = {}
    for row in db.execute(query):
        found.setdefault(row.subscription or "", []).append(row.failed_at)
    return found


def _periods(db: Connection, owner: Owner, subscriptions: Sequence[str]) -> dict[str, datetime | None]:
    renewal = ahead_renewal
    query = select(renewal.c.subscription, renewal.c.period_end)
    rows = db.execute(query.where(owner.of(renewal), renewal.c.subscription.in_(subscriptions)))
    return {row.subscription: row.period_end for row in rows}


def _outcome(row: Any, failures: dict[str, list[datetime]], ends: dict[str, datetime | None]) -> str:
    failed = failures.get(row.subscription, [])
    if any(row.renewal_at - BEFORE <= at <= row.renewal_at + SETTLED for at in failed):
        return FAILED
    end = ends.get(row.subscription)
    return PAID if end is not None and end > row.renewal_at else GONE
