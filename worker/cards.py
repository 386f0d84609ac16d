"""Every declined charge that we hear of, by card: what uses up the networks' budgets.

Filled by `absorb` in the transaction that learns of a charge, whoever made it, in whatever order and however often it
is told. `worker/allowance.py` asks what the rules make of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, or_, select, update

from billing.declines import DeclineTable, unknown_codes
from billing.events.occurrences import (
    Answer,
    AttemptAnswered,
    ChargeFailed,
    ChargeSucceeded,
    Event,
    InvoiceRead,
    PaymentIntentSeen,
    PaymentMethodSeen,
)
from billing.events.snapshots import Card, Charge, Decline
from billing.evidence import FRESH_METHOD
from billing.money import Amount
from billing.retry.limits import REFUSED
from worker import tables as t
from worker.store import Owner, owned
from worker.upsert import insert, replacing
from worker.values import to_json

KINDS = ("card", "method", "customer", "invoice")  # of names of cards, the surest first


def name_of(card: Card | None, method: str | None, customer: str | None, invoice: str | None) -> str:
    """The name under which a card's declines are counted: by the surest thing that is known of it."""
    ids = (card.fingerprint if card else None, method, customer, invoice)
    return next((f"{kind}:{id}" for kind, id in zip(KINDS, ids, strict=True) if id), "invoice:unknown")


# ---------------------------------------------------------------- what events tell


@dataclass(frozen=True, slots=True)
class _Told:
    """One declined charge as one source tells it."""

    charge: str
    name: str
    card: Card | None
    customer: str | None
    invoice: str | None
    intent: str | None
    amount: Amount
    at: datetime
    decline: Decline


def learn(db: Connection, owner: Owner, events: Sequence[Event], table: DeclineTable, now: datetime) -> None:
    """Keep every declined charge that these events tell of, once each; note approvals and new details of its card."""
    told = [each for event in events for each in _declines(db, owner, event)]
    _keep(db, owner, told, table, now)
    _note(db, owner, "approved_at", [each for event in events for each in _approved(db, owner, event)])
    _note(db, owner, "updated_at", [each for event in events for each in _updated(event)])


def _declines(db: Connection, owner: Owner, event: Event) -> Iterator[_Told]:
    match event.what:
        case ChargeFailed(charge):
            yield from _of_charge(charge, event, charge.invoice)
        case InvoiceRead(invoice=invoice, declined=charges):
            for charge in charges:
                yield from _of_charge(charge, event, invoice.id)
        case PaymentIntentSeen(intent) if intent.decline and intent.latest_charge and intent.decline != Decline():
            customer = intent.customer or event.customer
            name = name_of(intent.card, None, customer, intent.invoice)
            yield _Told(
                *(intent.latest_charge, name, intent.card, customer, intent.invoice, intent.id),
                *(intent.amount, event.at, intent.decline),
            )
        case AttemptAnswered() as answered if answered.answer in REFUSED:
            yield from _of_attempt(db, owner, answered, event)
        case _:
            return


def _of_charge(charge: Charge, event: Event, invoice: str | None) -> Iterator[_Told]:
    if charge.paid or charge.decline is None:
        return
    customer = charge.customer or event.customer
    name = name_of(charge.card, charge.payment_method, customer, invoice)
    at = charge.created or event.at
    intent = charge.payment_intent
    yield _Told(charge.id, name, charge.card, customer, invoice, intent, charge.amount, at, charge.decline)


def _of_attempt(db: Connection, owner: Owner, answered: AttemptAnswered, event: Event) -> Iterator[_Told]:
    """Our own attempt: a bank that wants authentication was not asked for the money unless a charge says so."""
    row = _attempt_row(db, owner, answered)
    if row is None or (answered.charge is None and answered.answer is Answer.NEEDS_ACTION):
        return
    name = name_of(answered.card, None, None, None) if answered.card and answered.card.fingerprint else row.card
    yield _Told(
        answered.charge or row.idem_key,
        name or name_of(None, None, event.customer, answered.invoice),
        answered.card,
        event.customer,
        answered.invoice,
        None,
        Amount(row.amount, row.currency),
        row.at,
        answered.decline or Decline(),
    )


def _attempt_row(db: Connection, owner: Owner, answered: AttemptAnswered) -> Any:
    attempt = t.attempt
    ours = and_(owner.of(attempt), attempt.c.invoice == answered.invoice, attempt.c.n == answered.n)
    return db.execute(select(attempt).where(ours)).first()


def _approved(db: Connection, owner: Owner, event: Event) -> Iterator[tuple[str, datetime]]:
    match event.what:
        case ChargeSucceeded(charge) if charge.card and charge.card.fingerprint:
            yield name_of(charge.card, None, None, None), charge.created or event.at
        case AttemptAnswered(answer=Answer.PAID) as answered:
            row = _attempt_row(db, owner, answered)
            if row is not None and row.card:
                yield row.card, row.at


def _updated(event: Event) -> Iterator[tuple[str, datetime]]:
    match event.what:
        case PaymentMethodSeen(method, change) if change in FRESH_METHOD:
            yield name_of(method.card, method.id, None, None), event.at


def _note(db: Connection, owner: Owner, column: str, found: Iterable[tuple[str, datetime]]) -> None:
    """Only of cards that were declined before: of the good ones nothing is kept."""
    rows = [{"name": name, "new": at} for name, at in sorted(found)]
    if not rows:
        return
    known = t.card_budget.c[column]
    db.execute(
        update(t.card_budget)
        .where(owner.of(t.card_budget), t.card_budget.c.card == bindparam("name"))
        .where(or_(known.is_(None), known < bindparam("new", type_=known.type)))
        .values({column: bindparam("new", type_=known.type)}),
        rows,
    )


# ---------------------------------------------------------------- keeping


def _keep(db: Connection, owner: Owner, told: Sequence[_Told], table: DeclineTable, now: datetime) -> None:
    if not told:
        return
    charges = sorted({each.charge for each in told})
    kept = {row["charge"]: row for row in _kept(db, owner, charges)}
    rows = dict(kept)
    cards: dict[str, Card | None] = {}
    for each in told:
        row = _row(owner, each, table)
        before = rows.get(each.charge)
        rows[each.charge] = _merged(before, row) if before else row
        cards[rows[each.charge]["card"]] = each.card
    changed = [rows[charge] for charge in charges if rows[charge] != kept.get(charge)]
    if not changed:
        return
    for name in sorted({row["card"] for row in changed}):
        lock(db, owner, name, cards.get(name), now)
    keys = ("account", "livemode", "charge")
    db.execute(replacing(db.dialect.name, t.declined_charge, tuple(changed[0]), keys), changed)


def _kept(db: Connection, owner: Owner, charges: Sequence[str]) -> Iterator[dict[str, Any]]:
    for row in db.execute(_KEPT, {**owner.key, "charges": charges}):
        yield dict(row._mapping)


_KEPT = select(t.declined_charge).where(
    owned(t.declined_charge), t.declined_charge.c.charge.in_(bindparam("charges", expanding=True))
)


def _row(owner: Owner, told: _Told, table: DeclineTable) -> dict[str, Any]:
    unknown = unknown_codes(told.decline, told.card.brand if told.card else None, table)
    return {
        **owner.key,
        "charge": told.charge,
        "card": told.name,
        "customer": told.customer,
        "invoice": told.invoice,
        "intent": told.intent,
        "amount": told.amount.minor,
        "currency": told.amount.unit,
        "at": told.at,
        "decline": to_json(told.decline),
        "unknown": ", ".join(unknown) or None,
    }


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What two sources know of one charge, whichever came first."""
    says = max((one, other), key=lambda row: (len(row["decline"]), repr(row["decline"]), row["unknown"] or ""))
    named = min((one, other), key=lambda row: (KINDS.index(row["card"].partition(":")[0]), row["card"]))
    return {
        **one,
        "card": named["card"],
        "customer": one["customer"] or other["customer"],
        "invoice": one["invoice"] or other["invoice"],
        "intent": one["intent"] or other["intent"],
        "at": min(one["at"], other["at"]),
        "decline": says["decline"],
        "unknown": says["unknown"],
    }


def lock(db: Connection, owner: Owner, name: str, card: Card | None, now: datetime) -> None:
    """Hold the budget of this card until the transaction ends, and remember what the card is."""
    values = {"brand": card.brand if card else None, "country": card.country if card else None}
    said = {key: value for key, value in values.items() if value}
    row = {**owner.key, "card": name, **said, "seen_at": now}
    keys = ["account", "livemode", "card"]
    statement = insert(db, t.card_budget).values(row)
    db.execute(statement.on_conflict_do_update(index_elements=keys, set_={**said, "seen_at": now}))
