"""The instant has come at which time alone changes what a customer may use: tell it, and plan the next one."""

from __future__ import annotations

from worker import entitlement, outbox, store
from worker.absorb import replan
from worker.app import App
from worker.outbox import Claim


def perform(app: App, claim: Claim) -> str:
    now = app.now()
    with app.db.begin() as db:
        store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
        outbox.finish(db, claim, "looked", now)
        case = store.case_of(db, claim.owner, claim.invoice or "")
        if case is not None:
            entitlement.tell(app, db, claim.owner, [case.customer] if case.customer else [])
            replan(app, db, claim.owner, case, now)
    return "looked"
