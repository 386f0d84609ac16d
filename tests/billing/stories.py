"""Events as a few words each, and the life of one case told in any order, as `worker.absorb` would live it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from billing.actions import Action
from billing.case import RecoveryCase
from billing.decide import decide, opened, plan
from billing.events.occurrences import (
    Answer,
    AttemptAnswered,
    ChargeDisputed,
    ChargeFailed,
    DeadlinePassed,
    Event,
    InvoiceFailed,
    InvoicePaid,
    InvoicePaymentPaid,
    InvoiceRead,
    InvoiceSeen,
    InvoiceUncollectible,
    InvoiceVoided,
    NoticeEnded,
    PaymentIntentSeen,
    PaymentMethodSeen,
    SubscriptionSeen,
    What,
)
from billing.events.snapshots import Card, Charge, Decline, Invoice, Item, PaymentIntent, PaymentMethod, Subscription
from billing.memory import kept, may_concern
from billing.money import Amount
from billing.policy import Mode, Policy
from config.policies import parse, read

DAY0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STANDARD = parse(read("ladder"), "ladder.toml")  # of the shipped ones that whose days are round
OWN = replace(STANDARD, mode=Mode.OWN)

FUNDS = Decline(code="card_declined", decline_code="insufficient_funds")
BUSY = Decline(code="card_declined", decline_code="issuer_not_available")
LOST = Decline(code="card_declined", decline_code="lost_card")
EXPIRED = Decline(code="expired_card", decline_code="expired_card")
VISA, MASTERCARD = Card("fp_1", "visa"), Card("fp_2", "mastercard")


def usd(minor: int) -> Amount:
    return Amount(minor, "usd")


def event(what: What, day: float = 0, name: str = "", **more: Any) -> Event:
    """`what` happened `day` days after the story's start; the id says what and when, so equal events are one."""
    at = DAY0 + timedelta(days=day)
    id = f"evt_{name}_{type(what).__name__}_{day}"
    return Event(id, f"test.{type(what).__name__}", at, "self", False, what, **{"customer": "cus_1", **more})


def invoice(status: str = "open", remaining: int = 2000, **more: Any) -> Invoice:
    owed = remaining if status == "open" else 0
    facts = {"subscription": "sub_1", "collection_method": "charge_automatically", "number": "A-1", **more}
    return Invoice("in_1", "cus_1", status, usd(2000), usd(2000 - remaining), usd(owed), **facts)


def failed(day: float = 0, *, decline: Decline | None = None, action_required: bool = False, **more: Any) -> Event:
    return event(InvoiceFailed(invoice(**more), decline, action_required), day, "action" if action_required else "")


def paid(day: float, *, outside: bool = False, caused_by: str | None = None) -> Event:
    at = DAY0 + timedelta(days=day)
    return event(InvoicePaid(invoice("paid", paid_at=at, paid_out_of_band=outside)), day, caused_by=caused_by)


def seen(day: float, status: str = "open", **more: Any) -> Event:
    return event(InvoiceSeen(invoice(status, **{"attempt_count": 1, **more})), day, status)


def voided(day: float) -> Event:
    return event(InvoiceVoided(invoice("void", voided_at=DAY0 + timedelta(days=day))), day)


def uncollectible(day: float, reason: str | None = None) -> Event:
    return event(InvoiceUncollectible(invoice("uncollectible"), reason), day)


def charge_failed(
    day: float, decline: Decline, *, basil: bool = False, intent: str = "pi_1", card: Card | None = VISA
) -> Event:
    """Since basil a charge does not name its invoice."""
    charge = Charge("ch_1", "cus_1", usd(2000), False, None if basil else "in_1", intent, card=card, decline=decline)
    return event(ChargeFailed(charge), day)


def intent_processing(day: float, *, basil: bool = True, intent: str = "pi_1") -> Event:
    it = PaymentIntent(intent, "cus_1", "processing", usd(2000), None if basil else "in_1")
    return event(PaymentIntentSeen(it), day)


def payment_linked(day: float, *, intent: str = "pi_1", outside: bool = False) -> Event:
    return event(InvoicePaymentPaid("in_1", intent, "ch_1", outside, usd(2000)), day)


def looked(day: float, *, status: str = "open", **more: Any) -> Event:
    return event(InvoiceRead(invoice(status, payment_intent="pi_1"), **more), day)


def disputed(day: float, charge: str = "ch_0", *, open: bool = True) -> Event:
    return event(ChargeDisputed(charge, None, "cus_1", "needs_response" if open else "won", open), day, charge)


def method(day: float, change: str = "attached") -> Event:
    return event(PaymentMethodSeen(PaymentMethod("pm_2", "cus_1", "card"), change), day, change)


def subscription(day: float, status: str = "past_due", **more: Any) -> Event:
    monthly = Item("si_1", "price_1", "prod_1", "2000", 1, "month")
    it = Subscription("sub_1", "cus_1", status, "usd", **{"items": (monthly,), **more})
    return event(SubscriptionSeen(it, "updated"), day, status)


def deleted(day: float, *, asked: float | None = None, **more: Any) -> Event:
    at, asked_at = DAY0 + timedelta(days=day), DAY0 + timedelta(days=day if asked is None else asked)
    return subscription(day, "canceled", ended_at=at, canceled_at=asked_at, **more)


def answered(day: float, n: int, answer: Answer, decline: Decline | None = None) -> Event:
    return event(AttemptAnswered("in_1", n, answer, decline), day, f"{n}{answer}")


def notice(day: float, outcome: str = "accepted", step: str = "payment_failed") -> Event:
    return event(NoticeEnded("in_1", step, outcome), day)


def deadline_passed(day: float = 28) -> Event:
    return event(DeadlinePassed("in_1"), day)


# ---------------------------------------------------------------- living it


OURS = (AttemptAnswered, DeadlinePassed, InvoiceRead, NoticeEnded)  # what cannot happen before there is a case
Life = tuple[RecoveryCase | None, tuple[Action, ...]]


def step(case: RecoveryCase | None, past: Iterable[Event], new: Event, policy: Policy) -> RecoveryCase | None:
    """One event more: what came before the case was opened is remembered as facts are."""
    remembered: list[Event] = []
    if case is None and (candidate := opened(new, policy)[0]):
        facts = [fact for earlier in past if (fact := kept(earlier))]
        remembered = [fact for fact in facts if may_concern(fact, candidate)]
    return decide(case, new, policy, new.at, remembered).case


def live(events: Sequence[Event], policy: Policy = OWN, now: datetime | None = None) -> Life:
    """The case after these events in this order, and what waits for it at `now` (or at the last event)."""
    case: RecoveryCase | None = None
    for number, new in enumerate(events):
        case = step(case, events[:number], new, policy)
    return case, plan(case, policy, now or max(e.at for e in events)) if case else ()


def case_after(*events: Event, policy: Policy = OWN) -> RecoveryCase:
    case, _ = live(events, policy)
    assert case is not None
    return case


def in_one_second(events: Iterable[Event]) -> list[Event]:
    """The same events, all of Stripe's told to have happened at once; what their objects say of time stays."""
    return [each if isinstance(each.what, OURS) else replace(each, at=DAY0) for each in events]
