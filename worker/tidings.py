"""Which events of `worker/outgoing.py` follow from what was just absorbed. Called in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from billing.case import RecoveryCase, State
from billing.ending import rescued_at
from billing.events.occurrences import Answer, AttemptAnswered, Event, NoticeEnded
from worker import outgoing
from worker.app import App
from worker.store import Owner

REACHED = frozenset({"accepted", "unknown"})
UNDER_WAY = frozenset({Answer.UNKNOWN})


def tell(
    app: App,
    db: Connection,
    owner: Owner,
    before: Mapping[str, RecoveryCase],
    changed: Sequence[RecoveryCase],
    events: Sequence[Event],
) -> None:
    """Tell what became of these cases, and what was done for them."""
    if not app.settings.outgoing_webhooks:
        return
    for case in changed:
        old = before.get(case.invoice)
        if old is None:
            outgoing.put(app, db, owner, "case.opened", case.invoice, about(case))
        if case.state is State.RECOVERED and (old is None or old.state is not State.RECOVERED):
            outgoing.put(app, db, owner, "case.recovered", case.invoice, about(case))
        if case.state is State.LOST and (old is None or old.state is not State.LOST):
            outgoing.put(app, db, owner, "case.lost", case.invoice, about(case))
        policy = app.policies.of(case.account, case.livemode, case.policy)
        if policy.mode.sends and (at := rescued_at(case, policy.end)):
            data = {**about(case), "rescued_at": at.isoformat()}
            outgoing.put(app, db, owner, "case.late_rescue", case.invoice, data)
    for event in events:
        _done(app, db, owner, event)


def _done(app: App, db: Connection, owner: Owner, event: Event) -> None:
    match event.what:
        case AttemptAnswered(invoice, n, answer) if answer not in UNDER_WAY:
            data = {"invoice": invoice, "customer": event.customer, "number": n, "answer": answer.value}
            outgoing.put(app, db, owner, "attempt.made", f"{invoice}:{n}:{answer.value}", data)
        case NoticeEnded(invoice, step, outcome) if outcome in REACHED:
            data = {"invoice": invoice, "customer": event.customer, "step": step, "outcome": outcome}
            outgoing.put(app, db, owner, "message.sent", f"{invoice}:{step}", data)
        case _:
            pass


def about(case: RecoveryCase) -> dict[str, Any]:
    """A case as others may read it: ids, figures and its state, nothing personal."""
    return {
        "invoice": case.invoice,
        "customer": case.customer,
        "subscription": case.subscription,
        "state": case.state.value,
        "because": case.because,
        "amount": case.amount.minor,
        "currency": case.amount.currency,
        "decline_class": case.decline_class.value,
        "failed_at": case.failed_at.isoformat(),
        "deadline": case.deadline.isoformat(),
        "recovered_by": case.recovered_by.value if case.recovered_by else None,
    }
