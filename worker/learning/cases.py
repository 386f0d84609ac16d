"""A merchant's closed cases as the model reads them, from the database, the newest first; nothing is written."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, select

from billing.case import ENDED
from billing.policy import Policy
from billing.retry.belief import Facts
from billing.retry.learned import ended_facts
from worker import store
from worker import tables as t
from worker.store import Owner

MOST = 40_000  # of the newest: what is years old says little of today
BATCH = 500


def closed(db: Connection, owner: Owner, policy: Policy, most: int = MOST) -> list[Facts]:
    """What the closed cases of the account tell, in order of failure; those that the model could have planned."""
    case = t.recovery_case
    ended = owner.of(case) & case.c.state.in_([state.value for state in ENDED])
    newest = select(case.c.invoice).where(ended).order_by(case.c.failed_at.desc(), case.c.invoice).limit(most)
    invoices = list(db.scalars(newest))
    found = list(_read(db, owner, policy, invoices))
    return sorted(found, key=lambda facts: facts.tries[0].at)


def _read(db: Connection, owner: Owner, policy: Policy, invoices: list[str]) -> Iterator[Facts]:
    for start in range(0, len(invoices), BATCH):
        for case in store.cases_for_update(db, owner, (), invoices[start : start + BATCH]).values():
            if case.decline is None:
                continue
            facts = ended_facts(case, policy)
            if facts.country is not None and facts.utc_offset_h is not None:
                yield facts
