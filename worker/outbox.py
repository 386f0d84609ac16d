"""Act once: claim an action, keep it with a fencing token, and bring it to an end.

Every write after the claim names the token it was claimed with; when another worker took over meanwhile it changes
no row, and the old owner stops. Leases run on the database's clock, due times on ours (reliability.md 6.2).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, literal, or_, select, text, update

from billing.actions import Kind
from billing.case import LIVE, State
from worker import queue_marks
from worker.columns import Instant, db_in, db_now
from worker.store import Owner
from worker.switch import stopped_here
from worker.tables import action, recovery_case

IS_OPEN = "action.state in ('waiting', 'claimed', 'sending')"
STOPPABLE = (Kind.RETRY.value, Kind.NOTICE.value, Kind.AHEAD.value, Kind.END.value)


@dataclass(frozen=True, slots=True)
class Claim:
    """An action that is ours until the lease ends. `sending`: an earlier owner may already have acted."""

    id: int
    owner: Owner
    key: str
    kind: Kind
    invoice: str | None
    customer: str | None
    detail: dict[str, Any]
    token: int
    tries: int
    sending: bool
    because: str
    since: float  # time.monotonic() before the claim: how long ago we can have lost it


class Lost(Exception):
    """Another worker took this action over, or a stop came first: leave it alone."""


def claim(db: Connection, now: datetime, lease: timedelta, key: tuple[Owner, str] | None = None) -> Claim | None:
    """The action with this key, or the longest due one; None when there is none to be had."""
    since = time.monotonic()
    named = {"of_account": key[0].account, "of_livemode": key[0].livemode, "named": key[1]} if key else {}
    row = db.execute(_claiming(lease.total_seconds(), bool(key)), {"at": now, **named}).first()
    if row is None:
        return None
    return Claim(
        row.id,
        Owner(row.account, row.livemode),
        row.key,
        Kind(row.kind),
        row.invoice,
        row.customer,
        row.detail,
        row.token,
        row.tries,
        row.state == "sending",
        row.because,
        since,
    )


@cache
def _claiming(lease: float, named: bool) -> Any:
    """The statement of `claim`, built once: a worker asks it for every action, and whenever it looks for one."""
    due = and_(
        action.c.due_at <= bindparam("at"),  # of a claimed one too: it bounds the look into the index to what is due
        or_(action.c.state == "waiting", action.c.lease_until < db_now()),
    )
    # A stop holds back what has not begun; what was begun has to be brought to an end by reading.
    held = and_(action.c.kind.in_(STOPPABLE), action.c.state != "sending", stopped_here())
    # Written out, not bound: only so is the partial index used, in SQLite and in a prepared statement.
    wanted = select(action.c.id).where(text(IS_OPEN), due, ~held)
    if named:
        # Not by the columns' own names: in an UPDATE those would be values to set.
        owned = and_(action.c.account == bindparam("of_account"), action.c.livemode == bindparam("of_livemode"))
        wanted = wanted.where(owned, action.c.key == bindparam("named"))
    wanted = wanted.order_by(action.c.due_at).limit(1).with_for_update(skip_locked=True)
    return (
        update(action)
        .where(action.c.id == wanted.scalar_subquery())
        .values(
            state=case((action.c.state == "sending", "sending"), else_="claimed"),
            token=action.c.token + 1,
            tries=action.c.tries + 1,
            lease_until=db_in(lease),
        )
        .returning(action)
    )


def mine(claim: Claim) -> ColumnElement[bool]:
    """SQL: the row is still the one that was claimed."""
    return and_(action.c.id == claim.id, action.c.token == claim.token, action.c.state.in_(("claimed", "sending")))


def intend(db: Connection, claim: Claim, *, live_case: bool, states: Iterable[State] = LIVE) -> None:
    """Say that the act follows now. Refused, as Lost, if the claim was lost, or the case ended, or a stop stands.

    `states`: those of the case in which the act is right, if it depends on the case at all.
    """
    allowed = and_(mine(claim), ~stopped_here())
    if live_case:
        alive = [state.value for state in states]
        allowed = and_(
            allowed,
            select(recovery_case.c.invoice)
            .where(
                claim.owner.of(recovery_case),
                recovery_case.c.invoice == claim.invoice,
                recovery_case.c.state.in_(alive),
            )
            .exists(),
        )
    if db.execute(update(action).where(allowed).values(state="sending")).rowcount != 1:
        raise Lost(claim.key)


def hold(db: Connection, claim: Claim) -> None:
    """Lock the row and make sure it is still ours, before a transaction that depends on it."""
    still = select(action.c.id).where(mine(claim)).with_for_update()
    if db.execute(still).first() is None:
        raise Lost(claim.key)


def finish(db: Connection, claim: Claim, outcome: str, now: datetime, state: str = "done") -> None:
    """End the action. Lost, if it is no longer ours."""
    ended = update(action).where(mine(claim)).values(state=state, outcome=outcome, finished_at=now, lease_until=None)
    if db.execute(ended).rowcount != 1:
        raise Lost(claim.key)
    if state == "stuck" and claim.invoice:
        queue_marks.mark(db, claim.owner, [claim.invoice], now)  # a person has to know


def postpone(db: Connection, claim: Claim, wait: timedelta, because: str, now: datetime) -> None:
    """Give the action back for `wait`; one whose act may have begun is only looked at again, by its lease."""
    begun = action.c.state == "sending"
    later = (
        update(action)
        .where(mine(claim))
        .values(
            state=case((begun, "sending"), else_="waiting"),
            due_at=case((begun, action.c.due_at), else_=literal(now + wait, Instant())),
            lease_until=case((begun, db_in(wait.total_seconds())), else_=None),
            outcome=because,
        )
    )
    if db.execute(later).rowcount != 1:
        raise Lost(claim.key)


def not_sent(db: Connection, claim: Claim) -> None:
    """Take the intent back, as after a mail server certainly did not take the message."""
    db.execute(update(action).where(mine(claim)).values(state="claimed"))


def waiting(db: Connection, now: datetime) -> int:
    """How many actions are due and not begun."""
    found = db.scalar(select(func.count()).where(action.c.state == "waiting", action.c.due_at <= now))
    return found or 0
