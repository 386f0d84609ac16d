"""The two places where thinking meets acting: an event that came in, and an action that is due.

    inbox -> from_stripe -> facts -> decide -> cases + actions      handle_inbox
    claim -> act -> what happened -> decide -> cases + actions      perform_action

Both end in `absorb`: under the lock of the customers concerned, in one transaction, facts first, then every case
that an event concerns is decided anew and saved with what should wait for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import orjson
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from billing.actions import Action, Kind, fetch_key
from billing.events import ChargeDisputed, Event, Unreadable, from_stripe, to_fetch
from worker import charge, ending, entitlement_turn, inbox, look, notify, outbox, queue_settle, store, talk
from worker.absorb import absorb
from worker.ahead import mail
from worker.app import App
from worker.db import is_outage
from worker.inbox import End, Kept
from worker.outbox import Claim, Lost
from worker.store import Owner

log = structlog.get_logger(__name__)

BATCH = 64


# ---------------------------------------------------------------- events


def handle_inbox(app: App) -> int:
    """Bring every waiting event to a decision; how many there were."""
    handled = 0
    while not app.stopping.is_set() and (batch := _handle_batch(app)):
        handled += batch
    return handled


def _handle_batch(app: App, most: int = BATCH, only: int | None = None) -> int:
    """One batch in one transaction; if anything in it fails, each event again in a transaction of its own."""
    taken: list[Kept] = []
    try:
        with app.db.begin() as db:
            taken = inbox.take(db, app.now(), most, only)
            _handle(app, db, taken)
    except Exception as error:
        if is_outage(error) or not taken:
            raise
        if only is None:
            return sum(_handle_batch(app, 1, kept.id) for kept in taken)
        _put_aside(app, taken[0], error)
    if taken:
        app.bell.ring("actions")
    return len(taken)


def _put_aside(app: App, event: Kept, error: Exception) -> None:
    """Count the failure; what kind of error it was is kept, never its text, which may quote the body."""
    because = type(error).__name__ if isinstance(error, SQLAlchemyError) else f"{type(error).__name__}: {error}"[:500]
    with app.db.begin() as db:
        state = inbox.failed(db, event.id, because, app.now())
    log.error("event_failed", event_id=event.event_id, state=state, error=type(error).__name__)


def _handle(app: App, db: Connection, taken: Sequence[Kept]) -> None:
    now = app.now()
    ends: list[End] = []
    read: dict[Owner, list[tuple[Kept, Event]]] = defaultdict(list)
    for item in taken:
        try:
            event = _read(item, now)
        except (Unreadable, ValueError, KeyError) as error:
            ends.append(End(item.id, "quarantined", str(error)[:500]))
            continue
        if isinstance(event, Action):
            store.add_actions(db, item.owner, [event], now)
            ends.append(End(item.id, "fetching", event.because))
        elif event is None:
            ends.append(End(item.id, "ignored", "a type that recovery does not use"))
        else:
            read[item.owner].append((item, event))
    for owner, pairs in read.items():
        reasons = absorb(app, db, owner, [event for _, event in pairs])
        ends += [End(item.id, "done", because) for (item, _), because in zip(pairs, reasons, strict=True)]
    inbox.finish(db, ends, now)


def _read(item: Kept, now: datetime) -> Event | Action | None:
    """What a stored body says; where it names an object without showing it, the action that reads that object."""
    payload: dict[str, Any] = item.payload()
    fetched = orjson.loads(item.fetched) if item.fetched else None
    if fetched is None and to_fetch(payload):
        return _fetch(item, str(payload["related_object"]["url"]), now)
    if fetched is not None and "data" in payload:
        payload = {**payload, "data": {**payload["data"], "object": fetched}}
    event = from_stripe(payload, fetched, account=item.owner.account)
    if event and event.customer is None and isinstance(event.what, ChargeDisputed) and fetched is None:
        thing = payload["data"]["object"]
        return _fetch(item, f"/v1/{DISPUTES[thing['object']]}/{thing['id']}?expand[]=charge", now)
    return event


# A dispute names a charge, and only the charge names the customer.
DISPUTES = {"dispute": "disputes", "radar.early_fraud_warning": "radar/early_fraud_warnings"}


def _fetch(item: Kept, path: str, now: datetime) -> Action:
    detail = {"event": item.event_id, "path": path}
    return Action(fetch_key(item.event_id), Kind.FETCH, now, f"{path} has to be read first", detail=detail)


# ---------------------------------------------------------------- actions


def perform_due(app: App) -> int:
    """Perform every action that is due, the longest waiting first; how many there were."""
    performed = 0
    while not app.stopping.is_set() and perform_action(app):
        performed += 1
    return performed


def perform_action(app: App, owner: Owner | None = None, key: str | None = None) -> bool:
    """Claim one due action, the named one or any, and perform it; False when there is none to be had."""
    with app.db.begin() as db:
        named = (owner, key) if owner and key else None
        claim = outbox.claim(db, app.now(), app.settings.lease, named)
    if claim is None:
        return False
    try:
        PERFORM[claim.kind](app, claim)
    except Lost:
        log.info("action_lost", key=claim.key)
    except Exception as error:
        if is_outage(error):
            raise
        # The lease runs out and another try follows; an action that keeps failing is put before a person.
        log.exception("action_failed", key=claim.key)
        if claim.tries >= MOST_TRIES and not claim.sending:
            with app.db.begin() as db:
                outbox.finish(db, claim, f"failed {claim.tries} times: {type(error).__name__}", app.now(), "stuck")
    return True


MOST_TRIES = 10
PERFORM: dict[Kind, Callable[[App, Claim], str]] = {
    Kind.RETRY: charge.perform,
    Kind.NOTICE: notify.perform,
    Kind.AHEAD: mail.perform,
    Kind.LOOK: look.perform_look,
    Kind.FETCH: look.perform_fetch,
    Kind.DEADLINE: look.perform_deadline,
    Kind.TALK: talk.perform,
    Kind.SETTLE: queue_settle.perform,
    Kind.END: ending.perform,
    Kind.ACCESS: entitlement_turn.perform,
}
