"""One past failure worked through under a policy: when it would have asked the bank, and what that is worth.

Every decision is the product's own (`billing.decide`). The bank's answer is a chance, and the case goes on with the
rest of it as declined: so one walk gives the expectation, and no dice are thrown. What cannot be known is left as it
was: a declined retry repeats the code that was said last, and the customer pays by hand when he did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from billing import case as cases
from billing.actions import Kind
from billing.case import RecoveryCase, settle
from billing.decide import opened, plan
from billing.events.occurrences import Answer, AttemptAnswered, Event, InvoiceFailed
from billing.events.snapshots import Card, Decline, Invoice
from billing.evidence import learn
from billing.money import Amount
from billing.notices.due import Facts, due_notices
from billing.notices.sequence import ASKING
from billing.policy import Policy
from billing.retry import belief as beliefs
from billing.retry.calendars import local_hours
from billing.retry.learned import facts_of
from billing.retry.limits import case_ruling
from billing.retry.model import Model
from billing.retry.rules import Never, NotBefore

NEAR = timedelta(hours=12)  # an attempt so near to one that was made would have been answered alike
NOTHING_LEFT = 1e-4
MOST = 40  # attempts of one walk: far beyond every cap


@dataclass(frozen=True, slots=True)
class Reply:
    """The bank's answer as a chance to be paid; `decline` is its no otherwise. `seen`: history says so."""

    chance: float
    decline: Decline | None = None
    seen: bool = False


@dataclass(frozen=True, slots=True)
class Past:
    """One failure that is over. `ended_at`: when its subscription ended or the invoice was given up in reality."""

    invoice: str
    customer: str
    failed_at: datetime
    amount: Amount
    decline: Decline
    card: Card
    interval: str | None = None  # of the subscription
    began_at: datetime | None = None  # the subscription did
    earlier: tuple[cases.Past, ...] = ()  # failures of the same customer
    pays_at: datetime | None = None
    renewed_at: datetime | None = None  # when other card details came
    ended_at: datetime | None = None
    made: tuple[tuple[datetime, bool, Decline | None], ...] = ()  # attempts that were made: (at, paid, the no)


Bank = Callable[[Past, RecoveryCase, Policy, datetime], Reply]


@dataclass(frozen=True, slots=True)
class Walked:
    """Expectations for one failure. `days`: of the recovered part, so divide by `recovered`; `seen` counts what
    history answered, of attempts and of recovery; what the customer paid by hand is `by_hand`."""

    customer: str
    amount: Amount
    recovered: float
    by_hand: float
    attempts: float
    seen_attempts: float
    seen_recovered: float
    refused: float
    messages: float
    days: float


def walk(past: Past, policy: Policy, bank: Bank) -> Walked:
    """Work one failure through. `policy` in the mode that is to be tried."""
    case = _opened(past, policy)
    now, left, renewed = past.failed_at, 1.0, False
    attempts = seen_attempts = recovered = seen_recovered = refused = days = 0.0
    asks = _asking(case, policy)
    told = [1.0] * len(asks)  # the part that is still unpaid when each message goes out
    stop = min(filter(None, (past.pays_at, past.ended_at, case.deadline)))
    for _ in range(MOST):
        due = next((action.due_at for action in plan(case, policy, now) if action.kind is Kind.RETRY), None)
        due = max(due, now) if due else None
        if past.renewed_at and not renewed and (due is None or due > past.renewed_at) and past.renewed_at < stop:
            renewed, now = True, max(now, past.renewed_at)
            case = settle(replace(case, method_changed_at=past.renewed_at))
            continue
        ruling = case_ruling(case, policy, due or now)
        if isinstance(ruling, Never) and policy.mode.charges:
            refused += left
        if due is None or due >= stop or isinstance(ruling, Never):
            break
        if isinstance(ruling, NotBefore):
            refused += left
            now = ruling.at
            continue
        reply = bank(past, case, policy, due)
        gained = left * reply.chance
        attempts, recovered = attempts + left, recovered + gained
        days += gained * ((due - past.failed_at) / timedelta(days=1))
        if reply.seen:
            seen_attempts, seen_recovered = seen_attempts + left, seen_recovered + gained
        left -= gained
        told = [left if due <= at else part for at, part in zip(asks, told, strict=True)]
        if left < NOTHING_LEFT:
            break
        case, now = _declined(case, policy, reply.decline or case.decline or past.decline, past.card, due), due
    by_hand = left if past.pays_at and past.pays_at <= case.deadline else 0.0
    if past.pays_at:
        days += by_hand * ((past.pays_at - past.failed_at) / timedelta(days=1))
    sent = [part for at, part in zip(asks, told, strict=True) if at < stop and policy.mode.sends]
    thanked = max(0.0, recovered - (1 - sent[0])) + by_hand if sent else 0.0
    return Walked(
        customer=past.customer,
        amount=past.amount,
        recovered=recovered + by_hand,
        by_hand=by_hand,
        attempts=attempts,
        seen_attempts=seen_attempts,
        seen_recovered=seen_recovered + by_hand,
        refused=refused,
        messages=sum(sent) + thanked,
        days=days,
    )


def _asking(case: RecoveryCase, policy: Policy) -> list[datetime]:
    """When the customer would be asked, as things stand at the failure."""
    dues = due_notices(case, policy.sequence, Facts(), case.failed_at)
    return [due.at for due in dues if due.template in ASKING and due.step == due.step.partition(":")[0]]


def _opened(past: Past, policy: Policy) -> RecoveryCase:
    """The case as the product would open it."""
    nothing = Amount(0, past.amount.currency)
    invoice = Invoice(past.invoice, past.customer, "open", past.amount, nothing, past.amount, attempt_count=1)
    what = InvoiceFailed(invoice, past.decline)
    failed = Event(f"failed:{past.invoice}", "invoice.payment_failed", past.failed_at, "self", False, what)
    case, because = opened(failed, policy)
    if case is None:
        raise ValueError(f"{past.invoice}: {because}")
    at, card = past.failed_at, past.card
    return settle(
        replace(
            learn(case, failed, policy),
            brand=card.brand,
            brand_at=at,
            country=card.country,
            funding=card.funding,
            country_at=at if card.country else None,
            interval=past.interval,
            began_at=past.began_at,
            past=past.earlier,
        )
    )


def _declined(case: RecoveryCase, policy: Policy, no: Decline, card: Card, at: datetime) -> RecoveryCase:
    n = len(case.attempts) + 1
    what = AttemptAnswered(case.invoice, n, Answer.DECLINED, no, card=card)
    answered = Event(f"answered:{case.invoice}:{n}", "reprieve.attempt_answered", at, "self", False, what)
    return settle(learn(case, answered, policy))


# ---------------------------------------------------------------- who answers


def by_history_and_model(model: Model) -> Bank:
    """What was seen within `NEAR` of the time; else the model's chance, after all that this walk has heard."""

    def reply(past: Past, case: RecoveryCase, policy: Policy, at: datetime) -> Reply:
        near = [made for made in past.made if abs(made[0] - at) <= NEAR]
        if near:
            _, paid, no = min(near, key=lambda made: abs(made[0] - at))
            return Reply(1.0 if paid else 0.0, no, seen=True)
        return Reply(chance(case, policy, model, at))

    return reply


def chance(case: RecoveryCase, policy: Policy, model: Model, at: datetime) -> float:
    """The model's calibrated chance that an attempt at that time succeeds."""
    facts = facts_of(case, policy)
    belief = beliefs.believe(facts, model)
    said = beliefs.chance_at(belief, model, local_hours(at, facts.utc_offset_h or 0.0))
    return min(1.0, max(0.0, model.calibrated(said)))
