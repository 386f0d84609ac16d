"""What is known of renewals and of what pays them: kept from events and readings, the newest by Stripe's clock.

`worker/absorb.py` tells every batch of events, the back-fill its pages; both under the lock of the customers concerned.
A warning that is under way learns here that the customer, or the network's updater, has given another way to pay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Table, delete, select, update

from billing.ahead.reading import DEFAULT, method_at, renewal_read
from billing.ahead.renewal import Renewal, Standing, renewal_of
from billing.events.occurrences import (
    ChargeSucceeded,
    CustomerSeen,
    Event,
    PaymentMethodSeen,
    SubscriptionSeen,
    Unreadable,
)
from billing.events.reading import MAX_MINOR, Reader
from billing.events.snapshots import Card, PaymentMethod, Subscription
from billing.events.stripe_objects import customer_id
from billing.money import MONTHLY, Amount
from worker.ahead_tables import ahead_default, ahead_method, ahead_renewal, ahead_warning
from worker.store import Owner, insert

log = structlog.get_logger(__name__)

UPDATER, CUSTOMER = "updater", "customer"


@dataclass(slots=True)
class _News:
    """The newest of each thing that one batch tells; `moved` says who changed a customer's way to pay, and when."""

    methods: dict[str, tuple[datetime, dict[str, Any]]] = field(default_factory=dict)
    defaults: dict[str, tuple[datetime, dict[str, Any]]] = field(default_factory=dict)
    renewals: dict[str, tuple[datetime, dict[str, Any]]] = field(default_factory=dict)
    moved: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def method(self, method: PaymentMethod, customer: str | None, at: datetime) -> None:
        card = method.card or Card()
        row = {
            "customer": customer,
            "kind": method.kind,
            "brand": card.brand,
            "last4": card.last4,
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
        }
        _newest(self.methods, method.id, at, row)

    def default(self, customer: str, method: str | None, at: datetime) -> None:
        _newest(self.defaults, customer, at, {"method": method})

    def subscription(self, seen: Subscription, at: datetime) -> None:
        found = renewal_of(seen, at)
        row = {
            "customer": seen.customer,
            "period_end": seen.period_end,
            "renews_at": found.at if found else None,
            "months": found.months if found else 0,
            "amount": _kept(found.amount) if found else None,
            "currency": seen.currency,
            "mrr": _kept(found.mrr) if found else None,
            "trial": bool(found and found.trial),
            "own_method": seen.default_payment_method,
        }
        _newest(self.renewals, seen.id, at, row)

    def mover(self, customer: str | None, at: datetime, who: str) -> None:
        if customer and (customer not in self.moved or self.moved[customer][0] <= at):
            self.moved[customer] = (at, who)


def _kept(amount: Amount | None) -> int | None:
    """Minor units that fit into a row; no price list comes near the limit, but anybody may write one."""
    return amount.minor if amount is not None and amount.minor <= MAX_MINOR else None


def _newest(known: dict[str, tuple[datetime, dict[str, Any]]], id: str, at: datetime, row: dict[str, Any]) -> None:
    if id not in known or known[id][0] <= at:
        known[id] = (at, row)


# ---------------------------------------------------------------- what is told


def learn(db: Connection, owner: Owner, events: Sequence[Event]) -> None:
    """Keep what these events tell; the same in whatever order and however often they come."""
    news = _News()
    for event in events:
        _hear(news, event)
    _keep(db, owner, news)


def _hear(news: _News, event: Event) -> None:
    match event.what:
        case PaymentMethodSeen(method, change):
            news.method(method, method.customer, event.at)
            who = UPDATER if change == "automatically_updated" else CUSTOMER
            news.mover(method.customer or event.customer, event.at, who)
        case ChargeSucceeded(charge) if charge.payment_method and charge.card and charge.card.exp_year:
            method = PaymentMethod(charge.payment_method, charge.customer, "card", charge.card)
            if charge.customer:
                news.method(method, charge.customer, charge.created or event.at)
        case CustomerSeen(customer) if customer.deleted:
            news.gone.add(customer.id)
        case CustomerSeen(customer):
            news.default(customer.id, customer.default_payment_method, event.at)
            news.mover(customer.id, event.at, CUSTOMER)
        case SubscriptionSeen(subscription):
            news.subscription(subscription, event.at)
            news.mover(subscription.customer, event.at, CUSTOMER)
        case _:
            return


def read(db: Connection, owner: Owner, things: Iterable[Mapping[str, Any]], seen: datetime) -> None:
    """Keep what Stripe answered at `seen`: customers or subscriptions, with what was expanded in them."""
    news = _News()
    for thing in things:
        try:
            _look(news, Reader(dict(thing)), seen)
        except Unreadable as lack:
            log.warning("renewal_unreadable", because=str(lack))
    _keep(db, owner, news)


def _look(news: _News, it: Reader, seen: datetime) -> None:
    own: PaymentMethod | None = None
    owner = it
    if it.get("object") == "subscription":
        found = renewal_read(it.node)
        own, owner = found.own, it.inside("customer")
        news.subscription(found.subscription, seen)
    customer, default = owner.ref("id") or customer_id(it), method_at(owner, DEFAULT)
    if owner.node and customer and not owner.flag("deleted"):
        news.default(customer, default.id if default else None, seen)
    for method in (own, default):
        if method is not None and method.kind is not None:
            news.method(method, customer, seen)
    news.mover(customer, seen, CUSTOMER)


# ---------------------------------------------------------------- keeping


def _keep(db: Connection, owner: Owner, news: _News) -> None:
    _upsert(db, owner, ahead_method, "method", news.methods)
    _upsert(db, owner, ahead_default, "customer", news.defaults)
    _upsert(db, owner, ahead_renewal, "subscription", news.renewals)
    for table in (ahead_method, ahead_default, ahead_renewal) if news.gone else ():
        db.execute(delete(table).where(owner.of(table), table.c.customer.in_(sorted(news.gone))))
    if news.moved:
        _mend(db, owner, news.moved)


def _upsert(
    db: Connection, owner: Owner, table: Table, key: str, told: Mapping[str, tuple[datetime, dict[str, Any]]]
) -> None:
    if not told:
        return
    rows = [{**owner.key, key: id, "told_at": at, **row} for id, (at, row) in sorted(told.items())]
    statement = insert(db, table)
    newer = {name: statement.excluded[name] for name in rows[0] if name not in ("account", "livemode", key)}
    db.execute(
        statement.on_conflict_do_update(
            index_elements=["account", "livemode", key],
            set_=newer,
            where=table.c.told_at <= statement.excluded.told_at,
        ),
        rows,
    )


def _mend(db: Connection, owner: Owner, moved: Mapping[str, tuple[datetime, str]]) -> None:
    """Note on warnings under way that what pays is no longer what it was when the arm was drawn."""
    warning = ahead_warning
    under_way = warning.c.arm.is_not(None) & warning.c.ended_at.is_(None) & warning.c.mended_at.is_(None)
    mine = owner.of(warning) & warning.c.customer.in_(sorted(moved)) & under_way
    rows = db.execute(select(warning).where(mine)).all()
    paying = methods_of(db, owner, [row.subscription for row in rows])
    for row in rows:
        (at, who), now = moved[row.customer], paying.get(row.subscription)
        if now is not None and at >= row.arm_at and _another(now, row.method, row.expires):
            db.execute(update(warning).where(warning.c.id == row.id).values(mended_at=at, mended_by=who))


def _another(now: PaymentMethod, id: str | None, expired: str | None) -> bool:
    """Another method, or the same one with another expiry; what only now became known is no change."""
    new = expires(now)
    return now.id != id or (new is not None and expired is not None and new != expired)


# ---------------------------------------------------------------- asking


def expires(method: PaymentMethod | None) -> str | None:
    """The last month of a card as `2026-04`; None for anything without one."""
    card = method.card if method else None
    return f"{card.exp_year}-{card.exp_month:02}" if card and card.exp_year and card.exp_month else None


def methods_of(db: Connection, owner: Owner, subscriptions: Sequence[str]) -> dict[str, PaymentMethod]:
    """What would pay each of these subscriptions, as far as is known."""
    if not subscriptions:
        return {}
    wanted = owner.of(ahead_renewal) & ahead_renewal.c.subscription.in_(sorted(set(subscriptions)))
    found = standings(db, owner, db.execute(select(ahead_renewal).where(wanted)).all())
    return {each.renewal.subscription: each.method for each in found if each.method}


def standings(db: Connection, owner: Owner, rows: Sequence[Any]) -> list[Standing]:
    """Rows of `ahead_renewal` with what would pay them: two queries, however many they are."""
    customers = sorted({row.customer for row in rows if row.customer})
    default = ahead_default
    named = select(default.c.customer, default.c.method).where(owner.of(default), default.c.customer.in_(customers))
    defaults = {row.customer: row.method for row in db.execute(named)} if customers else {}
    method = ahead_method
    ids = sorted({id for row in rows if (id := row.own_method or defaults.get(row.customer))})
    kept = db.execute(select(method).where(owner.of(method), method.c.method.in_(ids))).all() if ids else []
    methods = {row.method: row for row in kept}
    return [
        Standing(_renewal(row), _method(id, methods), known=bool(row.own_method) or row.customer in defaults)
        for row in rows
        for id in [row.own_method or defaults.get(row.customer)]
    ]


def _method(id: str | None, known: Mapping[str, Any]) -> PaymentMethod | None:
    row = known.get(id or "")
    if id is None or row is None:
        return PaymentMethod(id, None, None) if id else None
    card = Card(brand=row.brand, last4=row.last4, exp_month=row.exp_month, exp_year=row.exp_year)
    return PaymentMethod(id, row.customer, row.kind, card)


def _renewal(row: Any) -> Renewal:
    currency = row.currency or "usd"
    return Renewal(
        subscription=row.subscription,
        customer=row.customer or "",
        at=row.renews_at or row.period_end or row.told_at,
        months=row.months,
        amount=Amount(row.amount, currency) if row.amount is not None else None,
        mrr=Amount(row.mrr, currency + MONTHLY) if row.mrr is not None else None,
        trial=row.trial,
        own_method=row.own_method,
    )
