"""History in: what a Stripe account can still tell of the time before anybody listened.

Page by page, each with its cursor in one transaction: killed at any point it goes on where it stood, and run again it
adds nothing. Events come first, because Stripe forgets them after thirty days; what lies before is rebuilt from
objects (`billing/history.py`). Facts only, so nothing is charged or written because of history; at the very end the
invoices that are open and failing now become cases, which wait for their plan like any other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, delete, select, update

from billing.events import (
    ChargeDisputed,
    Customer,
    CustomerSeen,
    Event,
    InvoiceFailed,
    Unreadable,
    from_stripe,
    known_types,
)
from billing.events.snapshots import Item
from billing.history import Billed, Historian, billed_by, prices_in, terms_of
from billing.memory import invoice_of, kept
from worker import books, store
from worker import tables as t
from worker.absorb import absorb
from worker.ahead import known as ahead
from worker.app import App
from worker.store import Owner
from worker.stripe_gateway import Gateway, StripeMissing, StripeRefused, dated
from worker.values import event_from_json, from_json, to_json

EVENTS_KEPT = timedelta(days=30)
SPARE = timedelta(days=1)  # the last day of events may be gone before its page is read
COUPONS = "data.discounts.source.coupon"
PAYS = ("data.invoice_settings.default_payment_method", "data.default_source")  # what the customer is charged with
OWN = "data.default_payment_method"
BOOKS = "books"  # the last stage, after those of Stripe's lists

Page = list[dict[str, Any]]
Tell = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far one stage has come."""

    after: str | None
    objects: int
    horizon: datetime
    done: bool


@dataclass(slots=True)
class Run:
    """One back-fill under way. Prices are read when an invoice first names them."""

    app: App
    owner: Owner
    stripe: Gateway
    horizon: datetime
    prices: dict[str, Item] = field(default_factory=dict)
    unpriced: set[str] = field(default_factory=set)

    @property
    def historian(self) -> Historian:
        return Historian(self.owner.account, self.owner.livemode, self.horizon)

    def read_prices(self, things: Page) -> None:
        """Terms of the prices that these objects name; of one that cannot be read, its invoices must tell."""
        for price in sorted(prices_in(things) - self.prices.keys() - self.unpriced):
            try:
                self.prices[price] = terms_of(self.stripe.fetch(f"/v1/prices/{price}?expand[]=tiers"))
            except (StripeMissing, StripeRefused, Unreadable):
                self.unpriced.add(price)


@dataclass(frozen=True, slots=True)
class Stage:
    """One list of Stripe's. `prepare` may ask Stripe for more; what it returns is stored by `keep`."""

    name: str
    path: str
    params: Mapping[str, Any]
    prepare: Callable[[Run, Page], Page]
    keep: Callable[[Run, Connection, Page, datetime], None]


def run(app: App, owner: Owner, tell: Tell = lambda stage, objects: None) -> dict[str, int]:
    """Load one account; how many objects of each kind that were. `tell` hears of every page that is committed.

    Raises LookupError when no key is configured, StripeRefused when the key may not read, StripeAway after some tries.
    """
    gateway = app.stripe.of(owner.account, owner.livemode)
    if gateway is None:
        raise LookupError(f"no Stripe key is configured for the account {owner.account}")
    cursors = _begin(app, owner)
    work = Run(app, owner, gateway, cursors[STAGES[0].name].horizon)
    for stage in STAGES:
        if not cursors[stage.name].done:
            _load(work, stage, cursors[stage.name], tell)
    if not cursors[BOOKS].done:
        _keep_books(work, tell)
    return progress(app, owner)


def _keep_books(work: Run, tell: Tell) -> None:
    """Nothing more is read once this has begun: killed here, the back-fill goes on with the books."""
    with work.app.db.begin() as db:
        db.execute(delete(t.billed).where(work.owner.of(t.billed)))
    books.keep(work.app, lambda customers: tell(BOOKS, customers))
    if not work.app.stopping.is_set():
        with work.app.db.begin() as db:
            _commit(db, work.owner, BOOKS, None, 0, work.app.now())


def progress(app: App, owner: Owner) -> dict[str, int]:
    """Objects loaded so far, by stage."""
    with app.db.read() as db:
        return {name: cursor.objects for name, cursor in _cursors(db, owner).items() if name != BOOKS}


def _begin(app: App, owner: Owner) -> dict[str, Cursor]:
    """The cursors of the back-fill under way, or of a new one; the horizon of the first one stays."""
    now = app.now()
    with app.db.begin() as db:
        known = _cursors(db, owner)
        if known.keys() >= set(NAMES) and not all(cursor.done for cursor in known.values()):
            return known
        horizon = next((cursor.horizon for cursor in known.values()), now - EVENTS_KEPT + SPARE)
        for name in NAMES:
            new = {"after": None, "objects": 0, "horizon": horizon, "started_at": now, "done_at": None}
            statement = store.insert(db, t.backfill_cursor)
            statement = statement.on_conflict_do_update(
                index_elements=["account", "livemode", "resource"], set_={n: statement.excluded[n] for n in new}
            )
            db.execute(statement, [{**owner.key, "resource": name, **new}])
        return _cursors(db, owner)


def _cursors(db: Connection, owner: Owner) -> dict[str, Cursor]:
    cursor = t.backfill_cursor
    rows = db.execute(select(cursor).where(owner.of(cursor), cursor.c.resource.in_(NAMES)))
    return {row.resource: Cursor(row.after, row.objects, row.horizon, row.done_at is not None) for row in rows}


def _load(work: Run, stage: Stage, cursor: Cursor, tell: Tell) -> None:
    after, objects = cursor.after, cursor.objects
    more = True
    while more:
        seen = dated(work.app.now())
        try:
            page, more = work.stripe.page(stage.path, stage.params, after)
        except StripeMissing:
            if after is None:
                raise
            after, objects = None, 0  # the object where we stopped is gone: from the beginning, adding nothing twice
            continue
        page = stage.prepare(work, page)
        after, objects = (str(page[-1]["id"]) if page else after), objects + len(page)
        with work.app.db.begin() as db:
            stage.keep(work, db, page, seen)
            _commit(db, work.owner, stage.name, after, objects, None if more else work.app.now())
        tell(stage.name, objects)


def _commit(
    db: Connection, owner: Owner, stage: str, after: str | None, objects: int, done_at: datetime | None
) -> None:
    cursor = t.backfill_cursor
    db.execute(
        update(cursor)
        .where(owner.of(cursor), cursor.c.resource == stage)
        .values(after=after, objects=objects, done_at=done_at)
    )


# ---------------------------------------------------------------- the same door, without opening cases


def learn(work: Run, db: Connection, events: Sequence[Event]) -> None:
    """Add facts. Cases that exist hear of them; a failure of the past opens none."""
    owner, now = work.owner, work.app.now()
    store.lock(db, owner, [event.customer for event in events if event.customer])
    known = store.cases_for_update(
        db, owner, {e.customer for e in events if e.customer}, {i for e in events if (i := invoice_of(e))}
    )
    concerned = {case.customer for case in known.values()}
    told: list[Event] = []
    silent: list[Event] = []
    for event in events:
        opens = isinstance(event.what, InvoiceFailed) and invoice_of(event) not in known
        heard = event.customer in concerned or invoice_of(event) in known or event.customer is None
        (told if heard and not opens else silent).append(event)
    if told:
        absorb(work.app, db, owner, told)
    store.keep(db, owner, [fact for event in silent if (fact := kept(event))], now)


def store_events(db: Connection, owner: Owner, page: Page, state: str, because: str, now: datetime) -> list[str]:
    """Put events of Stripe's list into the inbox; the ids of those that were not there yet."""
    if not page:
        return []
    listed = [str(thing["id"]) for thing in page]
    there = set(db.scalars(select(t.inbox.c.event_id).where(owner.of(t.inbox), t.inbox.c.event_id.in_(listed))))
    rows = [
        {
            **owner.key,
            "event_id": thing["id"],
            "type": thing["type"],
            "api_version": thing.get("api_version"),
            "created_at": _instant(thing["created"]),
            "received_at": now,
            "body": orjson.dumps(thing),
            "state": state,
            "tries": 0,
            "due_at": now,
            "because": because,
            "finished_at": None if state == "received" else now,
        }
        for thing in page
        if thing["id"] not in there
    ]
    if rows:
        db.execute(store.insert(db, t.inbox).on_conflict_do_nothing(), rows)
    return [str(row["event_id"]) for row in rows]


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# ---------------------------------------------------------------- stages


def _as_it_is(work: Run, page: Page) -> Page:
    return page


def _priced(work: Run, page: Page) -> Page:
    work.read_prices(page)
    return page


def _whole_invoices(work: Run, page: Page) -> Page:
    """Invoices with all their lines; a list shows the first ten."""
    for invoice in page:
        lines = invoice.get("lines")
        if isinstance(lines, dict) and lines.get("has_more"):
            rest = work.stripe.pages(f"/v1/invoices/{invoice['id']}/lines", {}, lines["data"][-1]["id"])
            invoice["lines"] = {
                **lines,
                "data": [*lines["data"], *(x for each in rest for x in each)],
                "has_more": False,
            }
    return _priced(work, page)


def _events(work: Run, db: Connection, page: Page, seen: datetime) -> None:
    """The events themselves; one that names an object without showing it is left to the inbox."""
    now, known = work.app.now(), known_types()
    page = [e for e in page if e["type"] in known and _instant(e["created"]) >= work.horizon]
    read: list[Event] = []
    by_state: dict[str, Page] = defaultdict(list)
    for thing in page:
        try:
            event = from_stripe(thing, account=work.owner.account)
        except Unreadable:
            by_state["quarantined"].append(thing)
            continue
        if event is None or event.livemode != work.owner.livemode:
            continue
        if isinstance(event.what, ChargeDisputed) and event.customer is None:
            by_state["received"].append(thing)
            continue
        by_state["done"].append(thing)
        read.append(event)
    for state, things in by_state.items():
        new = set(store_events(db, work.owner, things, state, "loaded by the back-fill", now))
        if state == "done":
            read = [event for event in read if event.id in new]
    learn(work, db, read)
    store.save_customers(db, work.owner, _people(reversed(read)), now)


def _people(events: Iterable[Event]) -> list[Customer]:
    """Who is seen in these events, the newest last."""
    return [e.what.customer for e in events if isinstance(e.what, CustomerSeen) and not e.what.customer.deleted]


def _customers(work: Run, db: Connection, page: Page, seen: datetime) -> None:
    events = [event for thing in page for event in work.historian.customer(thing)]
    store.save_customers(db, work.owner, _people(events), seen)
    learn(work, db, [event for event in events if kept(event)])
    ahead.read(db, work.owner, page, seen)


def _invoices(work: Run, db: Connection, page: Page, seen: datetime) -> None:
    found = [bill for thing in page if (bill := billed_by(thing, work.prices))]
    rows = [
        {
            **work.owner.key,
            "invoice": bill.invoice.id,
            "subscription": bill.invoice.subscription,
            "body": to_json(bill),
        }
        for bill in found
    ]
    if rows:
        statement = store.insert(db, t.billed)
        newest = {name: statement.excluded[name] for name in ("subscription", "body")}
        db.execute(
            statement.on_conflict_do_update(index_elements=["account", "livemode", "invoice"], set_=newest), rows
        )
    learn(work, db, [event for thing in page for event in work.historian.invoice(thing)])


def _payments(work: Run, db: Connection, page: Page, seen: datetime) -> None:
    bills = _bills(db, work.owner, t.billed.c.invoice, [str(thing["invoice"]) for thing in page])
    by_invoice = {bill.invoice.id: bill for bill in bills}
    found = [e for thing in page for e in work.historian.payment(thing, by_invoice.get(str(thing["invoice"])))]
    learn(work, db, found)


def _subscriptions(work: Run, db: Connection, page: Page, seen: datetime) -> None:
    by_subscription: dict[str, list[Billed]] = defaultdict(list)
    for bill in _bills(db, work.owner, t.billed.c.subscription, [str(thing["id"]) for thing in page]):
        by_subscription[bill.invoice.subscription or ""].append(bill)
    told = [
        event
        for thing in page
        for event in work.historian.subscription(thing, by_subscription[str(thing["id"])], work.prices, seen)
    ]
    learn(work, db, told)
    ahead.read(db, work.owner, page, seen)


def _bills(db: Connection, owner: Owner, column: Any, wanted: Iterable[str]) -> list[Billed]:
    rows = db.scalars(select(t.billed.c.body).where(owner.of(t.billed), column.in_(sorted(set(wanted)))))
    return [from_json(Billed, body) for body in rows]


def _open_invoices(work: Run, db: Connection, page: Page, seen: datetime) -> None:
    """Cases for what is open and failing now; what is known of each was kept before, so each opens as it stands."""
    open_cases(work.app, db, work.owner, page, work.historian)


def open_cases(app: App, db: Connection, owner: Owner, page: Page, historian: Historian) -> list[str]:
    """Open a case for each of these open invoices that failed and has none; their ids."""
    ids = [str(thing["id"]) for thing in page]
    known = store.cases_for_update(db, owner, (), ids)
    told = _first_failures(db, owner, [id for id in ids if id not in known])
    found = [
        event
        for thing in page
        if thing["id"] not in known and (event := told.get(thing["id"]) or historian.failure_now(thing))
    ]
    absorb(app, db, owner, found)
    opened = store.cases_for_update(db, owner, (), [invoice_of(event) or "" for event in found])
    return sorted(opened)


def _first_failures(db: Connection, owner: Owner, invoices: Sequence[str]) -> dict[str, Event]:
    """The earliest failure that is known of each invoice."""
    fact = t.fact
    rows = db.execute(
        select(fact.c.invoice, fact.c.body)
        .where(owner.of(fact), fact.c.invoice.in_(invoices), fact.c.kind == "InvoiceFailed")
        .order_by(fact.c.at.desc(), fact.c.id.desc())
    )
    return {row.invoice: event_from_json(row.body) for row in rows}


STAGES = (
    Stage("events", "/v1/events", {}, _as_it_is, _events),
    Stage("customers", "/v1/customers", {"expand[]": ["data.discount.source.coupon", *PAYS]}, _as_it_is, _customers),
    Stage("invoices", "/v1/invoices", {"expand[]": [COUPONS]}, _whole_invoices, _invoices),
    Stage(
        "invoice_payments",
        "/v1/invoice_payments",
        {"status": "paid", "expand[]": ["data.payment.payment_intent.latest_charge"]},
        _as_it_is,
        _payments,
    ),
    Stage("subscriptions", "/v1/subscriptions", {"status": "all", "expand[]": [COUPONS, OWN]}, _priced, _subscriptions),
    Stage("open invoices", "/v1/invoices", {"status": "open"}, _as_it_is, _open_invoices),
)
NAMES = (*(stage.name for stage in STAGES), BOOKS)
