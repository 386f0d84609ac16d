"""What happens here, told to the merchant's own systems: signed webhooks through an outbox of their own.

    what happened -> event, and a delivery per endpoint, in the same transaction -> claim -> POST -> delivered

Signed as Standard Webhooks says (https://www.standardwebhooks.com): `webhook-id` stays the same at every try, so a
receiver can tell a repeat. An endpoint that is away delays only its own deliveries; after three days one is stuck, and
waits for `reprieve webhooks resend`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import structlog
from pydantic import SecretStr
from sqlalchemy import Connection, and_, or_, select, update

from config.channels import EVENTS, Endpoint
from worker import egress, store
from worker.app import App
from worker.channel_tables import outgoing_delivery as delivery
from worker.channel_tables import outgoing_event
from worker.columns import db_in, db_now
from worker.outbox import Lost
from worker.store import Owner

log = structlog.get_logger(__name__)

GIVE_UP = timedelta(days=3)
LEASE = timedelta(seconds=60)  # three times what one request may take
BACK_OFF = tuple(timedelta(seconds=s) for s in (5, 30, 120, 600, 1800, 3600, 7200, 14400))  # then every 8 hours
LONGEST_WAIT = timedelta(hours=8)
MOST_AT_ONCE = 8  # endpoints


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event to one endpoint, ours until the lease ends."""

    id: int
    owner: Owner
    event_id: str
    token: int
    tries: int
    created_at: datetime


# ---------------------------------------------------------------- in the transaction in which it happened


def put(app: App, db: Connection, owner: Owner, kind: str, key: str, data: Mapping[str, Any]) -> None:
    """Tell every endpoint that wants it; told once for each `key`, which must come from stable ids."""
    if kind not in EVENTS:
        raise ValueError(f"no such event: {kind}")
    wanting = [each for each in app.settings.outgoing_webhooks if not each.events or kind in each.events]
    if not wanting:
        return
    now, name = app.now(), event_id(owner, kind, key)
    body = {
        "type": kind,
        "timestamp": now.isoformat(),
        "data": {"account": owner.account, "livemode": owner.livemode, **data},
    }
    row = {**owner.key, "event_id": name, "type": kind, "at": now, "body": body}
    added = store.insert(db, outgoing_event).values(row).on_conflict_do_nothing().returning(outgoing_event.c.id)
    if db.execute(added).first() is not None:
        _queue(db, owner, name, [each.name for each in wanting], now)


def wanted(app: App, kind: str) -> bool:
    """Whether any endpoint wants to hear of this; who asks can spare the work otherwise."""
    return any(not each.events or kind in each.events for each in app.settings.outgoing_webhooks)


def _queue(db: Connection, owner: Owner, name: str, endpoints: Sequence[str], now: datetime) -> None:
    fresh = {"event_id": name, "state": "waiting", "tries": 0, "token": 0, "due_at": now, "created_at": now}
    rows = [{**owner.key, **fresh, "endpoint": endpoint} for endpoint in endpoints]
    db.execute(store.insert(db, delivery).on_conflict_do_nothing(), rows)


def event_id(owner: Owner, kind: str, key: str) -> str:
    """The same for the same occurrence, whoever learns of it and however often."""
    identity = orjson.dumps([owner.account, owner.livemode, kind, key])
    return f"evt_{hashlib.sha256(identity).hexdigest()[:32]}"


# ---------------------------------------------------------------- delivering


def send_due(app: App) -> int:
    """Deliver what is due, every endpoint by itself; how many deliveries were tried."""
    endpoints = app.settings.outgoing_webhooks
    if not endpoints:
        return 0
    with ThreadPoolExecutor(min(len(endpoints), MOST_AT_ONCE), "outgoing") as pool:
        return sum(pool.map(lambda endpoint: _drain(app, endpoint), endpoints))


def _drain(app: App, endpoint: Endpoint) -> int:
    """Deliver what waits for this endpoint, until one delivery fails: then the others would, too."""
    tried = 0
    while not app.stopping.is_set():
        with app.db.begin() as db:
            mine = _claim(db, endpoint, app.now())
        if mine is None:
            return tried
        tried += 1
        try:
            if not _deliver(app, endpoint, mine):
                break
        except Lost:
            log.info("delivery_lost", endpoint=endpoint.name, event_id=mine.event_id)
    return tried


def _claim(db: Connection, endpoint: Endpoint, now: datetime) -> Delivery | None:
    free = or_(delivery.c.lease_until.is_(None), delivery.c.lease_until < db_now())
    due = and_(delivery.c.state == "waiting", delivery.c.endpoint == endpoint.name, delivery.c.due_at <= now, free)
    first = select(delivery.c.id).where(due).order_by(delivery.c.due_at, delivery.c.id).limit(1)
    taken = (
        update(delivery)
        .where(delivery.c.id == first.with_for_update(skip_locked=True).scalar_subquery())
        .values(token=delivery.c.token + 1, tries=delivery.c.tries + 1, lease_until=db_in(LEASE.total_seconds()))
        .returning(delivery)
    )
    row = db.execute(taken).first()
    if row is None:
        return None
    owner = Owner(row.account, row.livemode)
    return Delivery(row.id, owner, row.event_id, row.token, row.tries, row.created_at)


def _deliver(app: App, endpoint: Endpoint, mine: Delivery) -> bool:
    with app.db.read() as db:
        event = db.scalar(
            select(outgoing_event.c.body).where(
                mine.owner.of(outgoing_event), outgoing_event.c.event_id == mine.event_id
            )
        )
    app.db.outside_transaction("telling another system")
    because = attempt(endpoint, mine.event_id, orjson.dumps(event), app.now())
    now = app.now()
    delivered = not because
    if delivered:
        values: dict[str, Any] = {"state": "delivered", "finished_at": now}
    elif now - mine.created_at >= GIVE_UP:
        values = {"state": "stuck", "finished_at": now}
    else:
        values = {"due_at": now + wait(mine.tries)}
    still = (delivery.c.id == mine.id) & (delivery.c.token == mine.token) & (delivery.c.state == "waiting")
    with app.db.begin() as db:
        ended = update(delivery).where(still).values(**values, because=because or "delivered", lease_until=None)
        if db.execute(ended).rowcount != 1:
            raise Lost(mine.event_id)
    if not delivered:
        log.warning("webhook_not_delivered", endpoint=endpoint.name, event_id=mine.event_id, because=because)
    return delivered


def attempt(endpoint: Endpoint, name: str, body: bytes, now: datetime) -> str:
    """POST one event; why it was not taken, or an empty string. What is said never names the address."""
    headers = {"Content-Type": "application/json", **signed(endpoint.secrets, name, body, now)}
    try:
        status = egress.post(endpoint.url.get_secret_value(), body, headers, private=endpoint.allow_private)
    except egress.Forbidden as error:
        return str(error)
    except OSError as error:
        return f"no answer: {type(error).__name__}"
    return "" if 200 <= status <= 299 else f"it answered {status}"


def wait(tries: int) -> timedelta:
    """How long to wait after so many tries."""
    return BACK_OFF[tries - 1] if tries <= len(BACK_OFF) else LONGEST_WAIT


def signed(secrets: Sequence[SecretStr], name: str, body: bytes, now: datetime) -> dict[str, str]:
    """The three headers of Standard Webhooks; one signature for each secret, so that a secret can be rolled."""
    at = str(int(now.timestamp()))
    content = f"{name}.{at}.".encode() + body
    macs = (hmac.digest(_key(secret), content, "sha256") for secret in secrets)
    signatures = " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)
    return {"webhook-id": name, "webhook-timestamp": at, "webhook-signature": signatures}


def _key(secret: SecretStr) -> bytes:
    return base64.b64decode(secret.get_secret_value().removeprefix("whsec_"))


# ---------------------------------------------------------------- for people


def listing(db: Connection, state: str | None, most: int) -> list[Any]:
    """The newest deliveries, in one state if it is named."""
    wanted = select(delivery, outgoing_event.c.type).join(
        outgoing_event,
        (outgoing_event.c.event_id == delivery.c.event_id)
        & (outgoing_event.c.account == delivery.c.account)
        & (outgoing_event.c.livemode == delivery.c.livemode),
    )
    if state:
        wanted = wanted.where(delivery.c.state == state)
    return list(db.execute(wanted.order_by(delivery.c.id.desc()).limit(most)))


def resend(db: Connection, event: str | None, now: datetime) -> int:
    """Let an event, or everything that is stuck, be delivered anew; how many deliveries."""
    which = delivery.c.event_id == event if event else delivery.c.state == "stuck"
    anew = {"state": "waiting", "tries": 0, "due_at": now, "created_at": now, "finished_at": None, "lease_until": None}
    # A new token: whoever still holds the delivery may not end it any more.
    changed = update(delivery).where(which).values(**anew, token=delivery.c.token + 1, because="sent again")
    return db.execute(changed).rowcount
