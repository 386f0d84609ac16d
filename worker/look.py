"""Reading what events do not say: an invoice, to learn the bank's answer, and objects that an event only names."""

from __future__ import annotations

from datetime import timedelta

import orjson

from billing.actions import Kind
from billing.events.occurrences import DeadlinePassed, Event
from worker import inbox, outbox, store
from worker.absorb import absorb_one, read_event
from worker.app import App
from worker.outbox import Claim, Lost
from worker.stripe_gateway import StripeAway, StripeMissing, StripeRefused, dated

WAIT = timedelta(minutes=1)
TRIES = 20  # then a day has passed


def perform_look(app: App, claim: Claim) -> str:
    """Read the invoice and let the case learn from it."""
    gateway = app.stripe.of(claim.owner.account, claim.owner.livemode)
    if gateway is None:
        return _finish(app, claim, "no Stripe key is configured for this account")
    looked = dated(app.now())
    try:
        seen = gateway.read(claim.invoice or "")
    except (StripeAway, StripeRefused, StripeMissing) as error:
        return _again(app, claim, error)
    with app.db.begin() as db:
        store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
        outbox.finish(db, claim, "read", app.now())
        absorb_one(app, db, claim.owner, read_event(claim, seen, looked))
    return "read"


def perform_fetch(app: App, claim: Claim) -> str:
    """Read the object that an event names without showing it, and let the event be handled."""
    gateway = app.stripe.of(claim.owner.account, claim.owner.livemode)
    event_id, path = str(claim.detail["event"]), str(claim.detail["path"])
    if gateway is None:
        return _unfetched(app, claim, event_id, "no Stripe key is configured for this account")
    try:
        fetched = gateway.fetch(path)
    except (StripeAway, StripeRefused) as error:
        return _again(app, claim, error)
    except StripeMissing as error:
        return _unfetched(app, claim, event_id, f"{path}: {error}")
    with app.db.begin() as db:
        outbox.finish(db, claim, "read", app.now())
        inbox.fetched(db, claim.owner, event_id, orjson.dumps(fetched), app.now())
    app.bell.ring("inbox")
    return "read"


def _unfetched(app: App, claim: Claim, event_id: str, because: str) -> str:
    """Put the event before a person; when it is run again, the action is made again."""
    with app.db.begin() as db:
        outbox.finish(db, claim, because, app.now(), "cancelled")
        inbox.unfetched(db, claim.owner, event_id, because, app.now())
    return because


def perform_deadline(app: App, claim: Claim) -> str:
    """The recovery window is over: if the money did not come, the case is lost."""
    passed = Event(
        f"reprieve:{claim.key}",
        "reprieve.deadline_passed",
        app.now(),
        claim.owner.account,
        claim.owner.livemode,
        DeadlinePassed(claim.invoice or ""),
        customer=claim.customer,
    )
    with app.db.begin() as db:
        store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
        case = store.case_of(db, claim.owner, claim.invoice or "")
        if case and case.deadline > app.now():  # extended after this was claimed
            outbox.postpone(db, claim, case.deadline - app.now(), "the window was extended", app.now())
            return "the window was extended"
        outbox.finish(db, claim, "the window is over", app.now())
        absorb_one(app, db, claim.owner, passed)
    return "the window is over"


def _again(app: App, claim: Claim, error: Exception) -> str:
    """Stripe could not be asked: wait longer each time, and in the end go on without."""
    if isinstance(error, StripeMissing) or (claim.tries >= TRIES and claim.kind is Kind.LOOK):
        return _finish(app, claim, str(error))
    try:
        with app.db.begin() as db:
            outbox.postpone(db, claim, min(WAIT * 2 ** min(claim.tries, 9), timedelta(hours=6)), str(error), app.now())
    except Lost:
        return "another worker has this"
    return str(error)


def _finish(app: App, claim: Claim, because: str) -> str:
    with app.db.begin() as db:
        outbox.finish(db, claim, because, app.now())
    return because
