"""Builds that are broken on purpose, each by one mistake that real systems made. The tests have to catch them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete

from billing.actions import Kind
from billing.case import RecoveryCase
from billing.events.occurrences import Answer, AttemptAnswered, Event, InvoiceRead
from worker import charge, crash, flow, notify, outbox, store, stripe_gateway
from worker.absorb import absorb_one
from worker.app import App
from worker.outbox import Claim
from worker.store import Owner
from worker.stripe_gateway import Gateway, Paid
from worker.tables import action, notice

REAL = "real"
CONTROL = "control"  # a fresh random key each time, no intent row, saved afterwards: what most retry jobs do
SAVE_BEFORE = "save before"
NO_LAST_LOOK = "no last look"
NO_STOP_CHECK = "no stop check"
NO_TOKEN = "no token"
NO_AGE_GUARD = "no age guard"
UNHEARD_IS_DECLINED = "an answer not heard is a decline"
MAIL_AGAIN = "a message perhaps sent is sent again"

_answer_of = stripe_gateway._answer_of
_notice = notify.perform


def _control(app: App, claim: Claim) -> str:
    crash.point("C1")
    gateway = _gateway(app, claim)
    gateway.read(claim.invoice or "")
    for name in ("C2", "C3", "C4"):
        crash.point(name)
    paid = gateway.pay(claim.invoice or "", {"off_session": True}, uuid.uuid4().hex)
    crash.point("C6")
    with app.db.begin() as db:
        store.lock(db, claim.owner, [claim.customer or ""])
        outbox.finish(db, claim, paid.because, app.now())
        absorb_one(app, db, claim.owner, _answered(app, claim, paid))
        crash.point("C7")
    crash.point("C8")
    return paid.because


def _save_before(app: App, claim: Claim) -> str:
    """Call it done, then do it: nothing is charged twice, and what came of it after a crash is never learnt."""
    crash.point("C1")
    gateway = _gateway(app, claim)
    for name in ("C2", "C3"):
        crash.point(name)
    with app.db.begin() as db:
        outbox.finish(db, claim, "sent", app.now())
    crash.point("C4")
    paid = gateway.pay(claim.invoice or "", {"off_session": True}, uuid.uuid4().hex)
    crash.point("C6")
    with app.db.begin() as db:
        store.lock(db, claim.owner, [claim.customer or ""])
        absorb_one(app, db, claim.owner, _answered(app, claim, paid))
        crash.point("C7")
    crash.point("C8")
    return paid.because


def _gateway(app: App, claim: Claim) -> Gateway:
    gateway = app.stripe.of(claim.owner.account, claim.owner.livemode)
    assert gateway
    return gateway


def _answered(app: App, claim: Claim, paid: Paid) -> Event:
    what = AttemptAnswered(claim.invoice or "", int(claim.detail["n"]), paid.answer or Answer.NOT_EXECUTED)
    owner, name = claim.owner, f"broken:{claim.key}"
    return Event(
        name, "reprieve.attempt_answered", app.now(), owner.account, owner.livemode, what, customer=claim.customer
    )


def _blind(app: App, db: Connection, owner: Owner, event: Event) -> RecoveryCase | None:
    """What the last look shows is thrown away."""
    if isinstance(event.what, InvoiceRead):
        return store.case_of(db, owner, event.what.invoice.id)
    return absorb_one(app, db, owner, event)


def _any_token(claim: Claim) -> ColumnElement[bool]:
    return and_(action.c.id == claim.id, action.c.state.in_(("claimed", "sending")))


def _unheard_is_declined(error: Any) -> Paid:
    answer = _answer_of(error)
    return Paid(Answer.DECLINED, answer.because) if answer.answer is None else answer


def _mail_again(app: App, claim: Claim) -> str:
    with app.db.begin() as db:
        db.execute(delete(notice).where(notice.c.invoice == claim.invoice))
    return _notice(app, replace(claim, sending=False))


# What each build puts in whose place: (module or table, name in it, the broken thing).
BUILDS: dict[str, list[tuple[Any, Any, Any]]] = {
    REAL: [],
    CONTROL: [(flow.PERFORM, Kind.RETRY, _control)],
    SAVE_BEFORE: [(flow.PERFORM, Kind.RETRY, _save_before)],
    NO_LAST_LOOK: [(charge, "stop_before_paying", lambda *_: None), (charge, "absorb_one", _blind)],
    NO_STOP_CHECK: [(charge, "_stop", lambda *_: None)],
    NO_TOKEN: [(outbox, "mine", _any_token)],
    NO_AGE_GUARD: [(charge, "too_old", lambda *_: False)],
    UNHEARD_IS_DECLINED: [(stripe_gateway, "_answer_of", _unheard_is_declined)],
    MAIL_AGAIN: [(flow.PERFORM, Kind.NOTICE, _mail_again)],
}


def install(build: str) -> list[tuple[Any, Any, Any]]:
    """Make this process that build; returns what was there before, in the same form."""
    return [(place, name, _put(place, name, thing)) for place, name, thing in BUILDS[build]]


@contextmanager
def built(build: str) -> Iterator[None]:
    """This process is that build for the length of a block."""
    before = install(build)
    try:
        yield
    finally:
        for place, name, thing in before:
            _put(place, name, thing)


def _put(place: Any, name: Any, thing: Any) -> Any:
    """Set an item of a dict or an attribute of a module; returns the old one."""
    if isinstance(place, dict):
        before, place[name] = place[name], thing
    else:
        before = getattr(place, name)
        setattr(place, name, thing)
    return before
