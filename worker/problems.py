"""What a person should look at: facts that contradict, events that could not be read, events of nobody we know.

Everything listed was kept. The pure half (`billing/ledger/problems.py`) says what is wrong with a customer's facts;
here stand those that never became a customer's facts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from sqlalchemy import Connection, select

from billing.ledger.facts import KINDS
from billing.ledger.problems import Problem, problems
from worker import books
from worker import tables as t
from worker.store import Owner


def listed(db: Connection, owner: Owner) -> Iterator[Problem]:
    """Every problem of one account: its customers' one after the other, then what belongs to nobody."""
    for facts in books.facts_by_customer(db, owner):
        yield from problems(facts)
    yield from _of_nobody(db, owner)
    yield from _unreadable(db, owner)


def _of_nobody(db: Connection, owner: Owner) -> Iterator[Problem]:
    fact = t.fact
    nameless = select(fact.c.source, fact.c.kind, fact.c.subscription, fact.c.invoice, fact.c.at).where(
        owner.of(fact), fact.c.customer.is_(None), fact.c.kind.in_(sorted(KINDS))
    )
    known = select(fact.c.invoice).where(owner.of(fact), fact.c.customer.is_not(None), fact.c.invoice.is_not(None))
    lost = nameless.where(fact.c.invoice.is_(None) | fact.c.invoice.not_in(known))
    for row in db.execute(lost.order_by(fact.c.at, fact.c.id)):
        about = row.invoice or row.subscription or "neither an invoice nor a subscription"
        yield Problem(
            "nobody",
            None,
            row.subscription,
            row.at,
            f"{row.kind} names no customer; it is about {about}",
            "nothing",
            "run `reprieve backfill`: when the invoice is known, so is its customer",
            row.source,
        )


def _unreadable(db: Connection, owner: Owner) -> Iterator[Problem]:
    inbox = t.inbox
    quarantined = select(inbox.c.event_id, inbox.c.type, inbox.c.received_at, inbox.c.because, inbox.c.body).where(
        owner.of(inbox), inbox.c.state == "quarantined"
    )
    for row in db.execute(quarantined.order_by(inbox.c.id)):
        thing = _object(row.body)
        yield Problem(
            "unreadable",
            _id(thing.get("customer")),
            _id(thing.get("subscription")),
            row.received_at,
            f"{row.type} could not be handled: {row.because or 'no reason was kept'}",
            "nothing; the event is kept",
            f"`reprieve inbox show {row.event_id}` shows it, `reprieve inbox rerun {row.event_id}` tries again",
            row.event_id,
        )


def _object(body: bytes | None) -> dict[str, Any]:
    """What the event is about, as far as its body can be read at all."""
    try:
        found = orjson.loads(body or b"{}")
        thing = found["data"]["object"]
    except (ValueError, KeyError, TypeError):
        return {}
    return thing if isinstance(thing, dict) else {}


def _id(value: object) -> str | None:
    named = value.get("id") if isinstance(value, dict) else value
    return named if isinstance(named, str) else None
