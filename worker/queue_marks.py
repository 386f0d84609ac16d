"""The list of cases whose tasks must be looked at again: whoever learns something that no event of the case tells.

Small, so that everything that acts may import it; `queue_review.py` works the list off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection, select

from billing.case import LIVE, State
from worker import store
from worker import tables as t
from worker.assist_tables import to_review
from worker.store import Owner


def mark(db: Connection, owner: Owner, invoices: Iterable[str], now: datetime) -> None:
    """Have these cases looked at by the next sweep."""
    mark_for(db, owner, dict.fromkeys(invoices, now))


def mark_customer(db: Connection, owner: Owner, customer: str, now: datetime) -> None:
    """Have the cases of a customer looked at that are not settled."""
    case = t.recovery_case
    owed = [state.value for state in (*LIVE, State.LOST)]
    mine = select(case.c.invoice).where(owner.of(case), case.c.customer == customer, case.c.state.in_(owed))
    mark(db, owner, db.scalars(mine).all(), now)


def mark_for(db: Connection, owner: Owner, due: Mapping[str, datetime]) -> None:
    """Put cases on the list, each for its time; an earlier time on the list stays."""
    if not due:
        return
    statement = store.insert(db, to_review)
    sooner = statement.on_conflict_do_update(
        index_elements=["account", "livemode", "invoice"],
        set_={"due_at": statement.excluded.due_at},
        where=to_review.c.due_at > statement.excluded.due_at,
    )
    db.execute(sooner, [{**owner.key, "invoice": invoice, "due_at": at} for invoice, at in sorted(due.items())])
