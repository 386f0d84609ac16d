"""What webhooks missed: Stripe's list of events every hour, Stripe's present state every day.

An event that never arrived is put into the inbox and handled as if it had come late. Where a state differs from what
the facts say and no event tells why, the state itself becomes a fact (`reconcile:...`) and goes through the same door.
Both are due rows of one table: any number of workers have the effect of one, and one that dies is followed by another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, func, select

from billing.case import LIVE
from billing.events import Event, InvoiceRead, SubscriptionSeen, Unreadable, known_types
from billing.events import stripe_objects as read
from billing.events.reading import Reader
from billing.events.snapshots import Subscription
from billing.history import Historian, fingerprint
from worker import schedule, store
from worker import tables as t
from worker.absorb import absorb
from worker.app import App
from worker.backfill import COUPONS, open_cases, store_events
from worker.store import Owner
from worker.stripe_gateway import Gateway, StripeAway, StripeMissing, StripeRefused, dated
from worker.values import event_from_json

log = structlog.get_logger(__name__)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EVENTS_KEPT = timedelta(days=30)
UNDER_WAY = timedelta(minutes=5)  # an event younger than this is still being delivered
OVERLAP = HOUR  # Stripe may list an event later than one that is younger
TRY_AGAIN = timedelta(minutes=10)
EVENTS = "reconcile events"  # the cursor: events were compared up to `started_at`


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that Stripe knew and we did not."""

    object: str
    found: str


# ---------------------------------------------------------------- events


def events(app: App, owner: Owner) -> list[Finding]:
    """Fetch the events since the last comparison, an hour of overlap included; those that never came are kept now."""
    gateway = _gateway(app, owner)
    until = dated(app.now() - UNDER_WAY)
    since = max(_compared(app, owner) or until - OVERLAP, until - EVENTS_KEPT + OVERLAP) - OVERLAP
    window = {"created[gte]": int(since.timestamp()), "created[lt]": int(until.timestamp())}
    missed: list[Finding] = []
    for page in gateway.pages("/v1/events", window):
        ours = [e for e in page if e["type"] in known_types() and e["livemode"] == owner.livemode]
        with app.db.begin() as db:
            new = set(store_events(db, owner, ours, "received", "missed by the webhook", app.now()))
        missed += [Finding(e["id"], f"{e['type']} never arrived") for e in ours if e["id"] in new]
    _compare_from(app, owner, until)
    if missed:
        app.bell.ring("inbox")
    return missed


def _compared(app: App, owner: Owner) -> datetime | None:
    cursor = t.backfill_cursor
    with app.db.read() as db:
        return db.scalar(select(cursor.c.started_at).where(owner.of(cursor), cursor.c.resource == EVENTS))


def _compare_from(app: App, owner: Owner, until: datetime) -> None:
    row = {**owner.key, "resource": EVENTS, "objects": 0, "started_at": until}
    with app.db.begin() as db:
        statement = store.insert(db, t.backfill_cursor)
        moved = {"started_at": statement.excluded.started_at}
        keys = ["account", "livemode", "resource"]
        db.execute(statement.on_conflict_do_update(index_elements=keys, set_=moved), [row])


# ---------------------------------------------------------------- state


def state(app: App, owner: Owner) -> list[Finding]:
    """Compare every subscription, every open invoice and every live case with Stripe; what differs is booked."""
    gateway = _gateway(app, owner)
    found = _subscriptions(app, owner, gateway)
    found += _live_cases(app, owner, gateway)
    found += _open_invoices(app, owner, gateway)
    if found:
        app.bell.ring("books")
    return found


def _subscriptions(app: App, owner: Owner, gateway: Gateway) -> list[Finding]:
    found: list[Finding] = []
    seen = dated(app.now())
    for page in gateway.pages("/v1/subscriptions", {"status": "all", "expand[]": [COUPONS]}):
        with app.db.begin() as db:
            known = _last_seen(db, owner, [str(thing["id"]) for thing in page])
            differing = [each for thing in page if (each := _differs(thing, known, seen, owner))]
            absorb(app, db, owner, [event for event, _ in differing])
        found += [finding for _, finding in differing]
        seen = dated(app.now())
    return found


def _last_seen(db: Connection, owner: Owner, ids: Sequence[str]) -> dict[str, Subscription]:
    """The newest state that is known of each subscription."""
    fact = t.fact
    kinds = ("SubscriptionSeen", "InvoiceRead")
    newest = func.row_number().over(partition_by=fact.c.subscription, order_by=(fact.c.at.desc(), fact.c.id.desc()))
    ranked = (
        select(fact.c.subscription, fact.c.body, newest.label("rank"))
        .where(owner.of(fact), fact.c.subscription.in_(ids), fact.c.kind.in_(kinds))
        .subquery()
    )
    rows = db.execute(select(ranked.c.body).where(ranked.c.rank == 1))
    found: dict[str, Subscription] = {}
    for (body,) in rows:
        what = event_from_json(body).what
        if isinstance(what, (SubscriptionSeen, InvoiceRead)) and what.subscription is not None:
            found[what.subscription.id] = what.subscription
    return found


def _differs(
    thing: Mapping[str, Any], known: Mapping[str, Subscription], seen: datetime, owner: Owner
) -> tuple[Event, Finding] | None:
    """The present state as an event, if the facts say something else."""
    try:
        now = read.subscription(Reader(dict(thing)))
    except Unreadable as lack:
        log.warning("subscription_unreadable", subscription=thing.get("id"), because=str(lack))
        return None
    before = known.get(now.id)
    said = differences(before, now)
    if not said:
        return None
    id = f"reconcile:{now.id}:{fingerprint(now)}:{int(seen.timestamp())}"
    what = SubscriptionSeen(now, "read", before.status if before else None)
    event = Event(id, "reconcile.subscription", seen, owner.account, owner.livemode, what, customer=now.customer)
    return event, Finding(now.id, said)


def differences(before: Subscription | None, now: Subscription) -> str:
    """What the facts lack about a subscription, in words; empty when they agree."""
    if before is None:
        return f"never seen, {now.status}"
    said = []
    if before.status != now.status:
        said.append(f"{now.status}, not {before.status}")
    if now.items_complete and _terms(before) != _terms(now):
        said.append("other prices or quantities")
    if (before.cancel_at_period_end, before.cancel_at) != (now.cancel_at_period_end, now.cancel_at):
        said.append("another planned end")
    if before.pause_behavior != now.pause_behavior:
        said.append("collection paused" if now.pause_behavior else "collection resumed")
    return ", ".join(said)


def _terms(seen: Subscription) -> list[tuple[str, str | None, int]]:
    return sorted((item.id, item.price, item.quantity) for item in seen.items)


def _live_cases(app: App, owner: Owner, gateway: Gateway) -> list[Finding]:
    """Live cases whose invoice is no longer open at Stripe: the invoice is read and the case learns from it."""
    found: list[Finding] = []
    case = t.recovery_case
    with app.db.read() as db:
        live = list(
            db.scalars(select(case.c.invoice).where(owner.of(case), case.c.state.in_([each.value for each in LIVE])))
        )
    stripe_open = (
        {str(thing["id"]) for page in gateway.pages("/v1/invoices", {"status": "open"}) for thing in page}
        if live
        else set()
    )
    for invoice in sorted(set(live) - stripe_open):
        seen = dated(app.now())
        try:
            looked = gateway.read(invoice)
        except StripeMissing:
            found.append(Finding(invoice, "gone at Stripe: look at it"))
            continue
        if looked.invoice.status == "open":
            continue
        id = f"reconcile:{invoice}:{looked.invoice.status}"
        event = Event(
            id, "reconcile.invoice", seen, owner.account, owner.livemode, looked, None, None, looked.invoice.customer
        )
        with app.db.begin() as db:
            absorb(app, db, owner, [event])
        found.append(Finding(invoice, f"{looked.invoice.status}, and its case was open"))
    return found


def _open_invoices(app: App, owner: Owner, gateway: Gateway) -> list[Finding]:
    """Open invoices that failed and of which no event told."""
    found: list[Finding] = []
    for page in gateway.pages("/v1/invoices", {"status": "open"}):
        historian = Historian(owner.account, owner.livemode, app.now())
        with app.db.begin() as db:
            opened = open_cases(app, db, owner, page, historian)
        found += [Finding(invoice, "open and failing, and nobody had told") for invoice in opened]
    return found


# ---------------------------------------------------------------- on schedule


@dataclass(frozen=True, slots=True)
class Job:
    every: timedelta
    work: Callable[[App, Owner], list[Finding]]


JOBS = {"reconcile events": Job(HOUR, events), "reconcile state": Job(DAY, state)}


def run_due(app: App) -> int:
    """Do what is due now; how many jobs that were. A job of an account without a key is left out."""
    done = 0
    for account in app.settings.all_accounts:
        owner = Owner(account.id, account.livemode)
        if account.api_key is None:
            continue
        for name, job in JOBS.items():
            if not app.stopping.is_set() and schedule.take(app, owner, name, job.every):
                _perform(app, owner, name, job)
                done += 1
    return done


def _perform(app: App, owner: Owner, name: str, job: Job) -> None:
    wait = job.every
    try:
        found = job.work(app, owner)
        because = f"{len(found)} things found"
        log.info("reconciled", job=name, account=owner.account, found=len(found))
        for each in found:
            log.warning("reconcile_found", object=each.object, found=each.found)
    except (StripeAway, StripeRefused) as error:
        wait, because = TRY_AGAIN, str(error)
        log.warning("reconcile_failed", job=name, account=owner.account, because=because)
    schedule.done(app, owner, name, wait, because)


def _gateway(app: App, owner: Owner) -> Gateway:
    gateway = app.stripe.of(owner.account, owner.livemode)
    if gateway is None:
        raise LookupError(f"no Stripe key is configured for the account {owner.account}")
    return gateway
