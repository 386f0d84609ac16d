"""The open cases as a page shows them: fifty at a time, newest first, each with its next step or the reason for none.

Paging is by key and each state is its own walk along an index, so page one thousand costs what page one does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, not_, select

from billing import declines
from billing.case import LIVE, State
from billing.declines import DeclineClass
from billing.money import MONTHLY, Amount
from billing.retry.schedule import next_attempt
from worker import store
from worker import tables as t
from worker.app import App
from worker.store import Owner

SIZE = 50
HOLDS_SECONDS = 5.0
STEPS = {
    "retry": "ask the bank again",
    "notice": "send a message",
    "look": "read the invoice",
    "fetch": "read",
    "access": "access changes",
    "end": "end at Stripe",
    "settle": "mark as paid outside",
    "talk": "hand on what the customer wrote",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """One case as a row."""

    invoice: str
    state: str
    amount: Amount
    mrr: Amount | None
    decline_class: str
    decline_sentence: str
    failed_at: datetime
    deadline: datetime
    step: str  # what comes next; empty when nothing does
    due_at: datetime | None
    because: str


@dataclass(frozen=True, slots=True)
class Cases:
    """`older` is the key of the next page, None on the last."""

    rows: tuple[Listed, ...]
    older: str | None


@dataclass(frozen=True, slots=True)
class Counted:
    """Cases by state, and what the open ones stand for, one amount a currency."""

    states: dict[str, int]
    at_risk: tuple[Amount, ...]
    owed: tuple[Amount, ...]

    @property
    def open(self) -> int:
        return sum(number for state, number in self.states.items() if state in LIVE)


def shown(state: str | None) -> tuple[State, ...]:
    """The states to list: the one that was asked for, or every live one."""
    return (State(state),) if state in set(State) else tuple(sorted(LIVE))


def page(app: App, owner: Owner, states: Iterable[State], before: str | None) -> Cases:
    """The cases in these states, newest first, from after `before` on. Raises ValueError for a broken key."""
    key = _key(before)
    with app.db.read() as db:
        found = [row for state in states for row in _walk(db, owner, state, key)]
        found.sort(key=lambda row: (row.failed_at, row.invoice), reverse=True)
        rows = found[:SIZE]
        steps = _next_steps(db, owner, [row.invoice for row in rows])
        idle = [row.invoice for row in rows if row.invoice not in steps and row.state in LIVE]
        reasons = _reasons(app, db, owner, idle)
    older = f"{rows[-1].failed_at.isoformat()}/{rows[-1].invoice}" if len(found) > SIZE else None
    return Cases(tuple(_listed(row, steps.get(row.invoice), reasons) for row in rows), older)


def _key(before: str | None) -> tuple[datetime, str] | None:
    if not before:
        return None
    at, _, invoice = before.partition("/")
    found = datetime.fromisoformat(at)
    if found.tzinfo is None:
        raise ValueError("the key has no time zone")
    return found, invoice


def _walk(db: Connection, owner: Owner, state: State, key: tuple[datetime, str] | None) -> list[Row[Any]]:
    """One state's cases along its index."""
    case = t.recovery_case
    names = ("invoice", "state", "amount", "currency", "mrr", "decline_class", "failed_at", "deadline", "because")
    wanted = select(*(case.c[name] for name in names)).where(owner.of(case), case.c.state == state.value)
    if key:
        at, invoice = key
        wanted = wanted.where(case.c.failed_at <= at, not_((case.c.failed_at == at) & (case.c.invoice >= invoice)))
    return list(db.execute(wanted.order_by(case.c.failed_at.desc(), case.c.invoice.desc()).limit(SIZE + 1)))


def _next_steps(db: Connection, owner: Owner, invoices: list[str]) -> dict[str, Any]:
    """The soonest action of each that is not its deadline."""
    action = t.action
    rows = db.execute(
        select(action.c.invoice, action.c.kind, action.c.due_at, action.c.because)
        .where(owner.of(action), action.c.invoice.in_(invoices), action.c.kind != "deadline")
        .where(action.c.state.in_(("waiting", "claimed", "sending", "stuck")))
        .order_by(action.c.due_at.desc())
    )
    found: dict[str, Any] = {}
    for row in rows:
        found[row.invoice] = row
    return found


def _reasons(app: App, db: Connection, owner: Owner, invoices: list[str]) -> dict[str, str]:
    """Why nothing is planned but the end of the window."""
    if not invoices:
        return {}
    found = store.cases_for_update(db, owner, (), invoices)
    now = app.now()
    return {
        invoice: next_attempt(case, app.policies.of(case.account, case.livemode, case.policy), now).because
        for invoice, case in found.items()
    }


def _listed(row: Row[Any], step: Row[Any] | None, reasons: dict[str, str]) -> Listed:
    return Listed(
        invoice=row.invoice,
        state=row.state,
        amount=Amount(row.amount, row.currency),
        mrr=None if row.mrr is None else Amount(row.mrr, row.currency + MONTHLY),
        decline_class=row.decline_class.replace("_", " "),
        decline_sentence=declines.SENTENCES[DeclineClass(row.decline_class)],
        failed_at=row.failed_at,
        deadline=row.deadline,
        step=STEPS.get(step.kind, step.kind) if step else "",
        due_at=step.due_at if step else None,
        because=step.because if step else reasons.get(row.invoice, row.because),
    )


class Counts:
    """Counted anew after a few seconds, not for every look."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._known: dict[Owner, tuple[float, Counted]] = {}

    def of(self, owner: Owner) -> Counted:
        with self._lock:
            since, known = self._known.get(owner, (float("-inf"), None))
            if known is None or time.monotonic() - since > HOLDS_SECONDS:
                known = self._count(owner)
                self._known[owner] = (time.monotonic(), known)
            return known

    def _count(self, owner: Owner) -> Counted:
        case = t.recovery_case
        wanted = (
            select(case.c.state, case.c.currency, func.count(), func.sum(case.c.mrr), func.sum(case.c.amount))
            .where(owner.of(case))
            .group_by(case.c.state, case.c.currency)
        )
        states: dict[str, int] = {}
        risk: dict[str, int] = {}
        owed: dict[str, int] = {}
        with self._app.db.read() as db:
            for state, currency, number, mrr, amount in db.execute(wanted):
                states[state] = states.get(state, 0) + number
                if state in LIVE:
                    risk[currency] = risk.get(currency, 0) + int(mrr or 0)
                    owed[currency] = owed.get(currency, 0) + int(amount or 0)
        return Counted(
            states,
            tuple(Amount(minor, code + MONTHLY) for code, minor in sorted(risk.items(), key=lambda each: -each[1])),
            tuple(Amount(minor, code) for code, minor in sorted(owed.items(), key=lambda each: -each[1])),
        )
