"""Which payment method an attempt charges: the one that Stripe would take, or another saved one of the customer.

Another one is only ever asked for all that is owed, once for an invoice, and within its own card's budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from billing.case import RecoveryCase
from billing.events.occurrences import InvoiceRead
from billing.events.snapshots import Card, PaymentMethod
from billing.policy import Policy
from billing.retry.rules import Allowed, NotBefore
from worker import allowance
from worker import tables as t
from worker.allowance import Asked, name_for
from worker.outbox import Claim
from worker.store import Owner

NEVER = datetime.max.replace(tzinfo=UTC)


def choose(
    db: Connection,
    claim: Claim,
    case: RecoveryCase,
    policy: Policy,
    seen: InvoiceRead,
    saved: Sequence[PaymentMethod] | None,
    now: datetime,
) -> tuple[Asked, PaymentMethod | None]:
    """What is to be charged and what the rules say of it, with the card's budget locked.

    `saved` is None for the usual method; else the first of the saved ones that the rules allow is taken, or the one
    they allow soonest. No method at all: there is none left to try.
    """
    usual = method_to_charge(seen, case)
    if saved is None:
        return allowance.hold_and_ask(db, claim.owner, policy, case, usual, now, claim.key), usual
    refused: list[tuple[Asked, PaymentMethod]] = []
    for method in others(db, claim.owner, case, usual, saved, now):
        asked = allowance.hold_and_ask(db, claim.owner, policy, case, method, now, claim.key)
        if isinstance(asked.ruling, Allowed):
            return asked, method
        refused.append((asked, method))
    if refused:
        return min(refused, key=lambda each: _soonest(each[0]))
    nobody = allowance.ask(db, claim.owner, policy, case, name_for(case, None), None, now)
    return replace(nobody, ruling=Allowed()), None


def request(backup: PaymentMethod | None) -> dict[str, object]:
    """The body of the payment request: all that is owed, never a part of it."""
    return {"off_session": True, **({"payment_method": backup.id} if backup else {})}


def method_to_charge(seen: InvoiceRead, case: RecoveryCase) -> PaymentMethod | None:
    """What Stripe would charge for the invoice that was just read, with its card where anything tells it."""
    method, last = seen.method, max(seen.declined, key=lambda charge: charge.created or case.failed_at, default=None)
    if method and method.card is None and last and last.payment_method == method.id:
        return replace(method, card=last.card)
    if method is None and seen.card and not case.card_changed:
        return PaymentMethod("", case.customer, None, seen.card)
    return method


def others(
    db: Connection,
    owner: Owner,
    case: RecoveryCase,
    usual: PaymentMethod | None,
    saved: Sequence[PaymentMethod],
    now: datetime,
) -> list[PaymentMethod]:
    """The saved methods that were never tried for this invoice, in their order: other cards, and not expired."""
    tried = {name_for(case, usual)}
    for table in (t.attempt, t.declined_charge):
        tried |= set(db.scalars(select(table.c.card).where(owner.of(table), table.c.invoice == case.invoice)))
    return [each for each in saved if name_for(case, each) not in tried and not _expired(each.card, now)]


def _expired(card: Card | None, now: datetime) -> bool:
    """A card is good until the end of its month."""
    return bool(card and card.exp_year and (card.exp_year, card.exp_month or 12) < (now.year, now.month))


def _soonest(asked: Asked) -> datetime:
    return asked.ruling.at if isinstance(asked.ruling, NotBefore) else NEVER
