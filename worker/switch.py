"""The kill switch: stops payment requests and messages, for everything or one account, or an account's messages alone.

It is a row, so it survives restarts and holds in every process at once; `outbox` honours it in the statements that
claim and that record an intent.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, exists, insert, or_, select

from billing.actions import Kind
from worker import store
from worker.store import Owner
from worker.tables import action, audit, kill_switch

EVERYTHING, ACCOUNT, MESSAGES = "all", "account", "messages"
TO_CUSTOMERS = (Kind.NOTICE.value, Kind.AHEAD.value)  # what a stop of messages holds back


def stopped_here() -> ColumnElement[bool]:
    """SQL: is the account of this action, or everything, stopped?"""
    return exists(
        select(kill_switch.c.scope).where(
            kill_switch.c.stopped,
            or_(
                kill_switch.c.scope == EVERYTHING,
                and_(
                    kill_switch.c.account == action.c.account,
                    kill_switch.c.livemode == action.c.livemode,
                    or_(kill_switch.c.scope == ACCOUNT, action.c.kind.in_(TO_CUSTOMERS)),
                ),
            ),
        )
    )


def turn(
    db: Connection,
    owner: Owner | None,
    stopped: bool,
    by: str,
    because: str,
    now: datetime,
    scope: str | None = None,
) -> None:
    """Stop or resume one account (`scope` messages: only its messages), or everything when `owner` is None.

    Leaves a line in the audit.
    """
    where = owner or Owner("", False)
    scope = (scope or ACCOUNT) if owner else EVERYTHING
    row = {**where.key, "scope": scope, "stopped": stopped, "by": by, "because": because, "at": now}
    statement = store.insert(db, kill_switch)
    changed = {name: statement.excluded[name] for name in ("stopped", "by", "because", "at")}
    db.execute(statement.on_conflict_do_update(index_elements=["account", "livemode", "scope"], set_=changed), [row])
    words = {"actor": by, "what": "stop" if stopped else "resume", "object": scope, "because": because}
    db.execute(insert(audit), {**where.key, **words, "at": now})


def standing(db: Connection) -> list[tuple[str, str, str, datetime]]:
    """What is stopped now: (account, messages of an account, or `all`; by whom, why, since when)."""
    rows = db.execute(select(kill_switch).where(kill_switch.c.stopped).order_by(kill_switch.c.at))
    return [(_name(r.scope, r.account), r.by, r.because, r.at) for r in rows]


def last(db: Connection, owner: Owner, scope: str) -> tuple[bool, datetime] | None:
    """Whether this switch of an account is on, and since when; None when it was never touched."""
    mine = owner.of(kill_switch) & (kill_switch.c.scope == scope)
    row = db.execute(select(kill_switch.c.stopped, kill_switch.c.at).where(mine)).first()
    return (row.stopped, row.at) if row else None


def _name(scope: str, account: str) -> str:
    return f"messages of {account}" if scope == MESSAGES else account or EVERYTHING
