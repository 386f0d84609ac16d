"""A story made of one case in the database: read only, nothing is written to it.

What the bank said is taken from what is known of it: the declines of this invoice in their order, and the money if it
came. What it would have said at another time nobody knows; the story lets it repeat its last answer until then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from sqlalchemy import Connection, select

from billing.case import RecoveryCase, State
from billing.events import occurrences as seen
from billing.events.snapshots import Card, Decline, Item
from billing.ledger.sources import RecoveredBy
from billing.money import Amount
from billing.retry.model import Model
from billing.retry.rules import Declined
from billing.words import counted
from config.settings import Settings
from worker import allowance, retry_models, store
from worker import tables as t
from worker.db import Database
from worker.rehearsal.story import VISA, Act, Elsewhere, Spell, Story
from worker.store import Owner
from worker.values import event_from_json, from_json

CHARGED = frozenset({RecoveredBy.OUR_RETRY, RecoveredBy.STRIPE_RETRY, RecoveredBy.CARD_UPDATER})
BY_HAND = frozenset(RecoveredBy) - CHARGED


@contextmanager
def reading(settings: Settings) -> Iterator[Connection]:
    """The operator's database, one transaction that only reads. Raises LookupError when there is none."""
    if settings.sqlite and not Path(settings.database_url.removeprefix("sqlite:///")).expanduser().exists():
        raise LookupError("there is no database yet: try `reprieve rehearse --example pay_day`")
    db = Database(settings.database_url)
    try:
        with db.read() as connection:
            yield connection
    finally:
        db.close()


def case_story(settings: Settings, invoice: str) -> Story:
    """The story of the case of this invoice. Raises LookupError when the database has none."""
    with reading(settings) as db:
        owner, case = _find(db, invoice)
        account = settings.account(owner.account, owner.livemode)
        home = account.country if account and account.id == owner.account else None
        return replace(_story(db, owner, case), rules=settings.network_rules_path, home=home)


def model_of(db: Connection, owner: Owner) -> Model:
    """The retry model in use; the shipped prior where none was learnt or it cannot be read."""
    models = retry_models.InUse()
    models.refresh(db)
    return models.of(owner)


def _find(db: Connection, invoice: str) -> tuple[Owner, RecoveryCase]:
    case = t.recovery_case
    rows = db.execute(select(case.c.account, case.c.livemode).where(case.c.invoice == invoice)).all()
    for account, livemode in rows:
        owner = Owner(account, livemode)
        if found := store.case_of(db, owner, invoice):
            return owner, found
    raise LookupError(f"there is no case of an invoice {invoice}: `reprieve explain` shows what is known of it")


def _story(db: Connection, owner: Owner, case: RecoveryCase) -> Story:
    declines = sorted(_declines(db, owner, case), key=lambda each: each[0])
    first = next((said for _, said in declines), case.decline or Decline(code="card_declined"))
    notes = list(_notes(case))
    card = card_of(db, owner, case)
    if card is None:
        card = replace(VISA, brand=case.brand or "visa")
        notes.append(f"the card itself is not known: a {card.brand} from the US is charged")
    return Story(
        title=f"{case.state}: {case.because}",
        failed_at=case.failed_at,
        amount=case.amount,
        decline=first,
        spells=tuple(_spells(case, declines or [(case.failed_at, first)])),
        acts=tuple(_acts(case)),
        card=card,
        interval=_interval(db, owner, case),
        invoice=case.invoice,
        customer=case.customer,
        subscription=case.subscription,
        elsewhere=_elsewhere(db, owner, case),
        model=model_of(db, owner),
        country=_country(db, owner, case),
        notes=tuple(notes),
    )


def _country(db: Connection, owner: Owner, case: RecoveryCase) -> str | None:
    """Whose clock the messages go by."""
    customer = t.customer
    country: str | None = db.scalar(
        select(customer.c.country).where(owner.of(customer), customer.c.id == case.customer)
    )
    return country


def _declines(db: Connection, owner: Owner, case: RecoveryCase) -> Iterator[tuple[datetime, Decline]]:
    """Every no of the bank that is known for this invoice, and when."""
    attempt = t.attempt
    ours = select(attempt.c.at, attempt.c.decline).where(owner.of(attempt), attempt.c.invoice == case.invoice)
    for at, decline in db.execute(ours):
        if decline:
            yield at, from_json(Decline, decline)
    charge = t.declined_charge
    told = select(charge.c.at, charge.c.decline).where(owner.of(charge), charge.c.invoice == case.invoice)
    for at, decline in db.execute(told):
        yield at, from_json(Decline, decline)
    if case.decline and case.decline_at:
        yield case.decline_at, case.decline


def _elsewhere(db: Connection, owner: Owner, case: RecoveryCase) -> Elsewhere:
    """What is known of the card on which this invoice failed, as far back as any rule looks."""
    charge, card = t.declined_charge, t.card_budget
    ours = select(charge.c.card).where(owner.of(charge), charge.c.invoice == case.invoice)
    name = db.scalar(ours.order_by(charge.c.at, charge.c.charge).limit(1))
    known = db.execute(select(card).where(owner.of(card), card.c.card == name)).first()
    before = (
        [at if at and at < case.failed_at else None for at in (known.approved_at, known.updated_at)] if known else ()
    )
    return Elsewhere(tuple(_declined_elsewhere(db, owner, case, name)), *before)


def _declined_elsewhere(db: Connection, owner: Owner, case: RecoveryCase, card: str | None) -> Iterator[Declined]:
    charge = t.declined_charge
    near = charge.c.at.between(case.failed_at - allowance.REMEMBERED, case.deadline)
    rows = db.execute(select(charge).where(owner.of(charge), charge.c.card == card, near).order_by(charge.c.at))
    for row in rows:
        unknown = tuple(row.unknown.split(", ")) if row.unknown else ()
        if row.invoice != case.invoice and not (row.invoice is None and row.intent in case.payment_intents):
            amount, decline = Amount(row.amount, row.currency), from_json(Decline, row.decline)
            yield Declined(row.at, amount, decline, row.invoice or "of another invoice", unknown)


def _spells(case: RecoveryCase, declines: list[tuple[datetime, Decline]]) -> Iterator[Spell]:
    """Each answer holds until another one was heard; the last one until the money came by a charge, or for good."""
    came = case.paid_at if case.recovered_by in CHARGED else None
    changed = [pair for pair, before in zip(declines, [None, *declines], strict=False) if _differs(before, pair)]
    for (_, said), (until, _) in pairwise(changed):
        yield Spell(said, until)
    if came is None or came > changed[-1][0]:
        yield Spell(changed[-1][1], came)


def _differs(before: tuple[datetime, Decline] | None, after: tuple[datetime, Decline]) -> bool:
    return before is None or _codes(before[1]) != _codes(after[1])


def _codes(said: Decline) -> tuple[str | None, ...]:
    """Several sources tell of one answer, not all of them everything."""
    return said.decline_code or said.code, said.advice_code, said.network_advice_code


def _acts(case: RecoveryCase) -> Iterator[Act]:
    """What the customer did in reality, at the same instant."""
    if case.method_changed_at and case.method_changed_at > case.failed_at:
        yield Act(case.method_changed_at, "new_card")
    if case.paid_at and case.recovered_by in BY_HAND:
        yield Act(case.paid_at, "pay")
    if case.state is State.CANCELLED and case.ended_at and case.ended_at > case.failed_at:
        yield Act(case.ended_at, "cancel")


def _notes(case: RecoveryCase) -> Iterator[str]:
    if case.stripe_attempts > 1:
        yield f"Stripe itself made {counted(case.stripe_attempts, 'attempt')}; here its own retries are switched off"
    if case.disputed_at:
        yield "the dispute is not played"
    if case.collection_method == "send_invoice":
        yield "this invoice is paid by hand in reality; here a card is charged"
    if case.failed_at.second or case.failed_at.microsecond:
        yield "the failure is played to the second at which Stripe told of it"


def card_of(db: Connection, owner: Owner, case: RecoveryCase) -> Card | None:
    """The card as events told of it, the one before the failure first."""
    if case.customer is None:
        return None
    fact = t.fact
    telling = fact.c.kind.in_(["PaymentMethodSeen", "ChargeFailed", "PaymentIntentSeen"])
    rows = db.execute(
        select(fact.c.body)
        .where(owner.of(fact), fact.c.customer == case.customer, telling)
        .order_by((fact.c.at > case.failed_at + timedelta(hours=1)), fact.c.at.desc(), fact.c.id.desc())
        .limit(20)
    )
    for (body,) in rows:
        match event_from_json(body).what:
            case seen.PaymentMethodSeen(method=method):
                card = method.card
            case seen.ChargeFailed(charge=charge):
                card = charge.card
            case seen.PaymentIntentSeen(intent=intent):
                card = intent.card
            case _:
                card = None
        if card and card.brand:
            return card
    return None


def _interval(db: Connection, owner: Owner, case: RecoveryCase) -> str:
    """How often the subscription bills; a month when nobody told."""
    fact = t.fact
    query = select(fact.c.body).where(owner.of(fact), fact.c.subscription == case.subscription)
    rows = db.execute(
        query.where(fact.c.kind == "SubscriptionSeen").order_by(fact.c.at.desc(), fact.c.id.desc()).limit(5)
    )
    for (body,) in rows:
        what = event_from_json(body).what
        items: tuple[Item, ...] = what.subscription.items if isinstance(what, seen.SubscriptionSeen) else ()
        for item in items:
            if item.interval:
                return item.interval
    return "month"
