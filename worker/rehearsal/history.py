"""The merchant's own closed cases as past failures, each with every attempt that history saw."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from billing.case import ENDED, RecoveryCase, State
from billing.events.occurrences import Answer
from billing.events.snapshots import Card, Decline
from worker import store
from worker import tables as t
from worker.rehearsal.real import BY_HAND, CHARGED, card_of
from worker.rehearsal.replay import Past
from worker.store import Owner
from worker.values import from_json

Made = tuple[datetime, bool, Decline | None]


@dataclass(frozen=True, slots=True)
class History:
    """`closed`: how many closed cases there are; `past`: those drawn from them."""

    closed: int
    past: tuple[Past, ...]


def closed_cases(db: Connection, owner: Owner, most: int, seed: int) -> History:
    """Up to `most` closed cases of the account, drawn by the seed. Only reads."""
    case = t.recovery_case
    query = select(case.c.invoice).where(owner.of(case), case.c.state.in_([state.value for state in ENDED]))
    names = [name for (name,) in db.execute(query.order_by(case.c.failed_at, case.c.invoice))]
    drawn = names if len(names) <= most else sorted(random.Random(seed).sample(names, most))  # noqa: S311 - no secret
    made = _made(db, owner, drawn)
    found = [_past(db, owner, each, made[name]) for name in drawn if (each := store.case_of(db, owner, name))]
    return History(len(names), tuple(filter(None, found)))


def _made(db: Connection, owner: Owner, invoices: Sequence[str]) -> dict[str, list[Made]]:
    """Every attempt that reached the bank, ours and Stripe's, by invoice, in order of time."""
    found: dict[str, list[Made]] = defaultdict(list)
    attempt, charge = t.attempt, t.declined_charge
    for batch in range(0, len(invoices), 500):
        names = list(invoices[batch : batch + 500])
        ours = select(attempt).where(owner.of(attempt), attempt.c.invoice.in_(names))
        told = set()
        for row in db.execute(ours.where(attempt.c.answer.in_(("paid", "declined", "needs_action")))):
            no = from_json(Decline, row.decline) if row.decline else None
            found[row.invoice].append((row.at, row.answer == Answer.PAID, no))
            told.add(row.charge)
        for row in db.execute(select(charge).where(owner.of(charge), charge.c.invoice.in_(names))):
            if row.charge not in told:
                found[row.invoice].append((row.at, False, from_json(Decline, row.decline)))
    for rows in found.values():
        rows.sort(key=lambda made: made[0])
    return found


def _past(db: Connection, owner: Owner, case: RecoveryCase, made: list[Made]) -> Past | None:
    """What is needed of one closed case; None where no charge was possible."""
    if case.collection_method == "send_invoice" or not case.amount.minor:
        return None
    said = next((no for _, paid, no in made if no and not paid), case.decline)
    card = card_of(db, owner, case) or Card(brand=case.brand)
    by_hand = case.paid_at if case.recovered_by in BY_HAND else None
    given_up = case.closed_at if case.state in (State.CANCELLED, State.FORGIVEN) else None
    if case.paid_at and case.recovered_by in CHARGED and not any(paid for _, paid, _ in made):
        made = [*made, (case.paid_at, True, None)]
    renewed = case.method_changed_at if (case.method_changed_at or case.failed_at) > case.failed_at else None
    return Past(
        invoice=case.invoice,
        customer=case.customer or case.invoice,
        failed_at=case.failed_at,
        amount=case.amount,
        decline=said or Decline(code="card_declined"),
        card=card,
        interval=case.interval,
        began_at=case.began_at,
        earlier=case.past,
        pays_at=by_hand,
        renewed_at=renewed,
        ended_at=given_up,
        made=tuple(made),
    )


def owners(db: Connection) -> Iterator[Owner]:
    """Every account and mode that has cases."""
    case = t.recovery_case
    for account, livemode in db.execute(select(case.c.account, case.c.livemode).distinct()):
        yield Owner(account, livemode)
