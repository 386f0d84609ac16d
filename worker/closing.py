"""Closing a month: what was reported stays as it was reported, and what becomes known later stands in the next month.

From the close on, entries that belong to the month, or to any before it, are posted to the first open month; that is
the prior-period adjustment. The closed report is folded again from what was known at its close, and comes out the
same; the restated view folds all that is known now.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, insert, select, text

from billing.ledger.policy import DEFAULT
from billing.report.bridge import ROW_OF, Basis, Bridge, added
from billing.report.currency import Currency
from billing.report.period import Period
from billing.report.rows import Row, add, histories
from worker import booklock, books, identity
from worker import tables as t
from worker.app import App
from worker.closed import Closed, Horizon, all_of, latest, posted
from worker.store import Owner


class CannotClose(ValueError):
    """The month is not over, or it is closed already; the message says which, and since when."""


def close(app: App, owner: Owner, month: str, by: str) -> Closed:
    """Close a month, and with it every month before. Raises NotAPeriod and CannotClose."""
    period = Period.month(month, app.settings.reporting_timezone)
    if app.now() < period.closes:
        raise CannotClose(f"{month} is not over before {period.closes:%Y-%m-%d %H:%M} UTC")
    books.keep(app)
    with app.db.begin() as db:
        booklock.hold(db)
        if db.dialect.name == "postgresql":  # who is writing facts now is waited for, who comes later waits for us
            db.execute(text("LOCK TABLE fact, identity IN SHARE MODE"))
        last = latest(db, owner)
        if last is not None and last.month >= month:
            raise CannotClose(f"{last.month} was closed at {last.closed_at:%Y-%m-%d %H:%M} UTC by {last.by}")
        now = app.now()
        while books.keep_batch(app, db, now, alone=True):
            pass
        made = Closed(
            owner=owner,
            month=month,
            closed_at=now,
            by=by,
            zone=period.zone,
            policy=DEFAULT.name,
            horizon=Horizon(
                int(db.scalar(select(func.max(t.fact.c.id)).where(owner.of(t.fact))) or 0),
                identity.last_row(db, owner),
            ),
            closing=posted(db, owner, month),
        )
        db.execute(
            insert(t.period_close),
            {
                **owner.key,
                "month": made.month,
                "closed_at": made.closed_at,
                "by": made.by,
                "zone": made.zone,
                "policy": made.policy,
                "last_fact": made.horizon.fact,
                "last_identity": made.horizon.identity,
                "closing": dict(made.closing),
            },
        )
    return made


# ---------------------------------------------------------------- the two views


def report(db: Connection, closed: Closed, basis: Basis = Basis.NETTED) -> tuple[Bridge, ...]:
    """The bridges of a closed month as known at its close, with the prior-period adjustment it was closed with.

    They are the same whenever they are asked for.
    """
    return adjusted(db, closed.owner, _bridges(db, closed, closed.closed_at, basis, closed.policy, closed.horizon))


def restated(db: Connection, closed: Closed, now: datetime, basis: Basis = Basis.NETTED) -> tuple[Bridge, ...]:
    """The same month by all that is known now."""
    return _bridges(db, closed, now, basis, f"{closed.policy}, restated")


def _bridges(
    db: Connection, closed: Closed, until: datetime, basis: Basis, policy: str, horizon: Horizon | None = None
) -> tuple[Bridge, ...]:
    """One for each currency, added up account by account, so that nobody's book has to be held."""
    period, totals = closed.period, dict[str, Row]()
    for _, made in books.one_by_one(db, closed.owner, until, closed.switches, horizon):
        for customer, history in histories(made).items():
            for code in {movement.amount.currency for movement in history.movements}:
                add(totals.setdefault(code, Row("")), ROW_OF[basis](customer, history, period, Currency(code)))
    return tuple(added([total], period, Currency(code), until, basis, policy) for code, total in sorted(totals.items()))


def adjusted(db: Connection, owner: Owner, made: tuple[Bridge, ...]) -> tuple[Bridge, ...]:
    """Bridges that open where a closed month ended, each beside the figure that was printed then; others unchanged."""
    ends = {(each.period.end, each.zone): each.closing for each in all_of(db, owner)}
    found = []
    for each in made:
        closing = ends.get((each.period.start, each.period.zone))
        found.append(each if closing is None else each.after_close(closing.get(each.unit, 0)))
    return tuple(found)
