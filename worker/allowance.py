"""What the network rules make of a card's declined charges, asked before the intent of a payment attempt is written.

Attempts that are on their way count as declined until they end, and the card's row is locked meanwhile: two invoices of
one card cannot both take the last of a budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, insert, select

from billing.case import EARLIER, RecoveryCase
from billing.events.snapshots import Card, Decline, PaymentMethod
from billing.money import Amount
from billing.policy import Policy
from billing.retry.rules import (
    Allowed,
    Budget,
    Charging,
    Declined,
    Effect,
    NotBefore,
    Ruling,
    at_stake,
    budgets,
    remaining,
    ruled,
)
from worker import tables as t
from worker.cards import lock, name_of
from worker.store import Owner
from worker.values import from_json

REMEMBERED = timedelta(days=200)  # longer than any rule looks back
UNDER_WAY = timedelta(hours=1)  # an attempt of another invoice has ended by then, or a person looks at it


@dataclass(frozen=True, slots=True)
class Asked:
    """What the rules say of one card and one amount, and what they went by."""

    card: str
    charging: Charging
    declined: tuple[Declined, ...]  # with attempts under way, as if they were declined
    ruling: Ruling


def name_for(case: RecoveryCase, method: PaymentMethod | None) -> str:
    """The name of the budget that a charge of this method uses."""
    return name_of(method.card if method else None, method.id if method else None, case.customer, case.invoice)


def hold_and_ask(
    db: Connection,
    owner: Owner,
    policy: Policy,
    case: RecoveryCase,
    method: PaymentMethod | None,
    now: datetime,
    action_key: str,
) -> Asked:
    """`ask` for this action, with the card's budget locked until the transaction ends."""
    name = name_for(case, method)
    lock(db, owner, name, method.card if method else None, now)
    return ask(db, owner, policy, case, name, method, now, action_key)


def ask(
    db: Connection,
    owner: Owner,
    policy: Policy,
    case: RecoveryCase,
    name: str,
    method: PaymentMethod | None,
    now: datetime,
    besides: str | None = None,
) -> Asked:
    """May the card of this name be charged for the case? `besides`: the action that asks does not count itself."""
    known = db.execute(select(t.card_budget).where(owner.of(t.card_budget), t.card_budget.c.card == name)).first()
    card = method.card if method and method.card else Card()
    brand = card.brand or (known.brand if known else None) or (method.kind if method else None)
    changed = known.approved_at if known else None
    if not name.startswith("card:"):
        changed = max(filter(None, (changed, case.method_changed_at)), default=None)
    charging = Charging(
        amount=case.amount,
        brand=None if brand == "card" else brand,
        country=card.country or (known.country if known else None),
        home=policy.home,
        invoice=case.invoice,
        changed_at=changed,
        updated_at=known.updated_at if known else None,
    )
    past = tuple(_declined(db, owner, case, name, now))
    live = tuple(_under_way(db, owner, name, besides))
    ruling = ruled(policy.rules, charging, (*past, *live), now)
    if live and not isinstance(ruling, Allowed) and isinstance(ruled(policy.rules, charging, past, now), Allowed):
        because = f"{ruling.because}; a charge of this card is on its way, which may use up the last of it"
        ruling = NotBefore(now + UNDER_WAY, ruling.rule, because)
    if not isinstance(ruling, Allowed) and not name.startswith("card:"):
        ruling = replace(ruling, because=f"{ruling.because}; counted by {name}, since the card itself is not known")
    return Asked(name, charging, (*past, *live), ruling)


def _declined(db: Connection, owner: Owner, case: RecoveryCase, name: str, now: datetime) -> Iterator[Declined]:
    table = t.declined_charge
    recent = and_(owner.of(table), table.c.card == name, table.c.at > now - REMEMBERED)
    rows = list(db.execute(select(table).where(recent).order_by(table.c.at, table.c.charge)))
    intents = {row.intent for row in rows if row.invoice == case.invoice} | set(case.payment_intents)
    for row in rows:
        unknown = tuple(row.unknown.split(", ")) if row.unknown else ()
        decline, amount = from_json(Decline, row.decline), Amount(row.amount, row.currency)
        invoice = row.invoice
        if invoice is None and (row.intent in intents or _may_be_ours(case, row.at, amount)):
            invoice = case.invoice
        yield Declined(row.at, amount, decline, invoice, unknown)


def _may_be_ours(case: RecoveryCase, at: datetime, amount: Amount) -> bool:
    """As long as nobody says for which invoice it was, a charge of this amount since the failure is taken for ours."""
    return amount == case.amount and at >= case.failed_at - EARLIER


def _under_way(db: Connection, owner: Owner, name: str, besides: str | None) -> Iterator[Declined]:
    table = t.attempt
    live = table.c.state.in_(("sending", "processing", "unknown"))
    rows = db.execute(select(table).where(owner.of(table), table.c.card == name, live, table.c.action_key != besides))
    for row in rows:
        yield Declined(row.at, Amount(row.amount, row.currency), Decline(), row.invoice)


def refuse(db: Connection, owner: Owner, asked: Asked, case: RecoveryCase, action_key: str, now: datetime) -> None:
    """Keep the refusal of a planned retry, with the rule's name and what stands at stake."""
    if isinstance(asked.ruling, Allowed):
        return
    rule = asked.ruling.rule
    left = remaining(rule, asked.charging, asked.declined, now) if rule.effect is Effect.AT_MOST else None
    fee = at_stake(rule, asked.charging)
    db.execute(
        insert(t.refusal),
        {
            **owner.key,
            "invoice": case.invoice,
            "action_key": action_key,
            "card": asked.card,
            "rule": rule.name,
            "effect": rule.effect.value,
            "because": asked.ruling.because,
            "at": now,
            "until": asked.ruling.at if isinstance(asked.ruling, NotBefore) else None,
            "used": left.used if left else None,
            "most": rule.most if left else None,
            "fee": fee.minor if fee else None,
            "fee_currency": fee.unit if fee else None,
        },
    )


def budget_of(
    db: Connection, owner: Owner, policy: Policy, case: RecoveryCase, now: datetime
) -> tuple[Asked, tuple[Budget, ...]] | None:
    """What is left of the card that was last declined for this case; None where no declined charge is known."""
    table = t.declined_charge
    newest = select(table.c.card).where(owner.of(table), table.c.invoice == case.invoice)
    name = db.scalar(newest.order_by(table.c.at.desc(), table.c.charge).limit(1))
    if name is None:
        return None
    asked = ask(db, owner, policy, case, name, None, now)
    return asked, budgets(policy.rules, asked.charging, asked.declined, now)
