"""The kill switch: stops every payment request and message, for everything or for one account, until released.

It is a row, so it survives restarts and holds in every process at once; `outbox` honours it in the statements that
claim and that record an intent.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, exists, insert, or_, select

from worker import store
from worker.store import Owner
from worker.tables import action, audit, kill_switch

EVERYTHING = "all"


def stopped_here() -> ColumnElement[bool]:
    """SQL: is the account of this action, or everything, stopped?"""
    return exists(
        select(kill_switch.c.scope).where(
            kill_switch.c.stopped,
            or_(
                kill_switch.c.scope == EVERYTHING,
                and_(kill_switch.c.account == action.c.account, kill_switch.c.livemode == action.c.livemode),
            ),
        )
    )


def turn(db: Connection, owner: Owner | None, stopped: bool, by: str, because: str, now: datetime) -> None:
    """Stop or resume one account, or everything when `owner` is None; leaves a line in the audit."""
    where = owner or Owner("", False)
    scope = "account" if owner else EVERYTHING
    row = {**where.key, "scope": scope, "stopped": stopped, "by": by, "because": because, "at": now}
    statement = store.insert(db, kill_switch)
    changed = {name: statement.excluded[name] for name in ("stopped", "by", "because", "at")}
    db.execute(statement.on_conflict_do_update(index_elements=["account", "livemode", "scope"], set_=changed), [row])
    words = {"actor": by, "what": "stop" if stopped else "resume", "object": scope, "because": because}
    db.execute(insert(audit), {**where.key, **words, "at": now})


def standing(db: Connection) -> list[tuple[str, str, str, datetime]]:
    """What is stopped now: (account or `all`, by whom, why, since when)."""
    rows = db.execute(select(kill_switch).where(kill_switch.c.stopped).order_by(kill_switch.c.at))
    return [(r.account or EVERYTHING, r.by, r.because, r.at) for r in rows]
