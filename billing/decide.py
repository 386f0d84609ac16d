"""Start here: one event and one case in, one decision out.

`decide` is the only place where something that happened becomes something to do. It is pure: what it needs comes in,
what it wants goes out, with the reason. First the event is added to the evidence of the case (`learn`), then the case
is settled into the state the evidence says, then everything that should be waiting for this case is planned anew
(`plan`). Nothing depends on the order in which events arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from billing.actions import Action, Kind, deadline_key, look_key, notice_key, retry_key
from billing.case import Attempt, RecoveryCase, settle
from billing.declines import classify
from billing.events.occurrences import (
    Answer,
    AttemptAnswered,
    Card,
    ChargeDisputed,
    ChargeFailed,
    CustomerSeen,
    DeadlinePassed,
    Decline,
    Event,
    Invoice,
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
    Subscription,
    SubscriptionSeen,
)
from billing.ledger.items import items_of
from billing.ledger.mrr import level
from billing.ledger.policy import LedgerPolicy
from billing.money import MONTHLY, Amount
from billing.notices.sequence import due_notices
from billing.policy import Policy
from billing.retry.schedule import next_attempt

GIVEN_UP = frozenset({"max_payment_attempts", "payment_not_received", "subscription_paused"})


@dataclass(frozen=True, slots=True)
class Decision:
    """The case as it now is, everything that should be waiting for it, and why.

    `case` is None when the event concerns no failed payment; `actions` is complete: what is not in it and still
    waits is to be cancelled.
    """

    case: RecoveryCase | None
    actions: tuple[Action, ...]
    because: str


def decide(
    case: RecoveryCase | None, event: Event, policy: Policy, now: datetime, remembered: Sequence[Event] = ()
) -> Decision:
    """Add `event` to what is known of `case` and say what follows. Total: every event gives a decision.

    `remembered` is what was learnt earlier and may concern a case that this event opens.
    """
    if case is None:
        case, because = opened(event, policy)
        if case is None:
            return Decision(None, (), because)
        for earlier in remembered:
            case = learn(case, earlier, policy)
    case = settle(learn(case, event, policy))
    return Decision(case, plan(case, policy, now), case.because)


# ---------------------------------------------------------------- which invoice is a case


def opened(event: Event, policy: Policy) -> tuple[RecoveryCase | None, str]:
    """A new case if the event is the failure of a payment that may be recovered, else None and why not."""
    match event.what:
        case InvoiceFailed(invoice=invoice):
            pass
        case _:
            return None, f"{event.type}: no failed payment is known here"
    if invoice.billing_reason == "subscription_create":
        return None, "the first payment of a subscription is a checkout, not a failed renewal"
    if not invoice.remaining and not invoice.due:
        return None, "nothing is owed on this invoice"
    return (
        RecoveryCase(
            account=event.account,
            livemode=event.livemode,
            invoice=invoice.id,
            customer=invoice.customer or event.customer,
            subscription=invoice.subscription,
            amount=invoice.remaining if invoice.remaining else invoice.due,
            policy=policy.id,
            failed_at=event.at,
            last_failed_at=event.at,
            deadline=event.at + policy.window,
            number=invoice.number,
            collection_method=invoice.collection_method,
        ),
        "a payment failed",
    )


# ---------------------------------------------------------------- what an event adds to the evidence


def learn(case: RecoveryCase, event: Event, policy: Policy) -> RecoveryCase:
    """The case with the evidence of `event` added; the same for any order and repetition of events."""
    at = event.at
    match event.what:
        case InvoiceFailed(invoice, decline, action_required) if invoice.id == case.invoice:
            case = _failed(_snapshot(case, invoice, at), at)
            if action_required:
                case = replace(case, action_required_at=_latest(case.action_required_at, at))
                decline = decline or Decline(code="authentication_required", decline_code="authentication_required")
            return _declined(case, decline, at, None, policy) if decline else case
        case InvoicePaid(invoice) if invoice.id == case.invoice:
            return _paid(_snapshot(case, invoice, at), invoice.paid_at or at, event.caused_by, invoice.paid_out_of_band)
        case InvoiceVoided(invoice) if invoice.id == case.invoice:
            return replace(case, voided_at=_earliest(case.voided_at, invoice.voided_at or at))
        case InvoiceUncollectible(invoice, reason) if invoice.id == case.invoice:
            return _uncollectible(case, invoice.uncollectible_at or at, reason)
        case InvoiceSeen(invoice) if invoice.id == case.invoice:
            return _as_status_says(_snapshot(case, invoice, at), invoice, at)
        case InvoicePaymentPaid(invoice=invoice_id, outside_stripe=True) if invoice_id == case.invoice:
            return replace(case, paid_outside=True)
        case InvoicePaymentPaid(invoice=invoice_id, payment_intent=intent) if invoice_id == case.invoice:
            return replace(case, payment_intent=intent or case.payment_intent)
        case InvoiceRead() as read if read.invoice.id == case.invoice:
            return _read(case, read, at, policy)
        case ChargeFailed(charge) if _pays(case, charge.invoice, charge.payment_intent):
            return _declined(case, charge.decline, charge.created or at, charge.card, policy)
        case PaymentIntentSeen(intent) if _pays(case, intent.invoice, intent.id):
            if intent.status == "processing":
                return replace(case, processing_at=_latest(case.processing_at, at))
            return _declined(case, intent.decline, at, intent.card, policy) if intent.decline else case
        case ChargeDisputed(customer=customer) as dispute if customer and customer == case.customer:
            return _disputed(case, dispute.open, at)
        case PaymentMethodSeen(method, change) if method.customer == case.customer and change in _FRESH_METHOD:
            return replace(case, method_changed_at=_latest(case.method_changed_at, at))
        case SubscriptionSeen(subscription=subscription) if subscription.id == case.subscription:
            return _subscription(case, subscription, at)
        case AttemptAnswered() as answered if answered.invoice == case.invoice:
            return _answered(case, answered, at, policy)
        case DeadlinePassed(invoice=invoice_id) if invoice_id == case.invoice:
            return replace(case, expired_at=case.deadline)
        case NoticeEnded(invoice=invoice_id, step=step, outcome=outcome) if invoice_id == case.invoice:
            return replace(case, notices=tuple(sorted({**dict(case.notices), step: outcome}.items())))
        case CustomerSeen() | _:
            return case


_FRESH_METHOD = frozenset({"attached", "updated", "automatically_updated"})


def _earliest(known: datetime | None, at: datetime) -> datetime:
    return at if known is None else min(known, at)


def _latest(known: datetime | None, at: datetime) -> datetime:
    return at if known is None else max(known, at)


def _pays(case: RecoveryCase, invoice: str | None, intent: str | None) -> bool:
    return invoice == case.invoice or (intent is not None and intent == case.payment_intent)


def _failed(case: RecoveryCase, at: datetime) -> RecoveryCase:
    first = min(case.failed_at, at)
    window = case.deadline - case.failed_at
    case = _end_processing(case, Answer.DECLINED, at)
    return replace(case, failed_at=first, last_failed_at=max(case.last_failed_at, at), deadline=first + window)


def _end_processing(case: RecoveryCase, answer: Answer, at: datetime) -> RecoveryCase:
    """A debit of ours that was under way has ended: the event that tells so may come days later."""
    ended = (
        replace(attempt, answer=answer) if attempt.answer is Answer.PROCESSING and attempt.at <= at else attempt
        for attempt in case.attempts
    )
    return replace(case, attempts=tuple(ended))


def _snapshot(case: RecoveryCase, invoice: Invoice, at: datetime) -> RecoveryCase:
    """Take over what the newest snapshot says; ties in one second are broken by content, never by arrival."""
    owed = invoice.remaining if invoice.status == "open" and invoice.remaining else case.amount
    case = replace(
        case,
        stripe_attempts=max(case.stripe_attempts, invoice.attempt_count),
        payment_intent=invoice.payment_intent or case.payment_intent,
        customer=case.customer or invoice.customer,
        subscription=case.subscription or invoice.subscription,
        number=case.number or invoice.number,
    )
    if invoice.status == "paid":
        return case
    never = datetime.min.replace(tzinfo=at.tzinfo)
    mine = (case.stripe_seen_at or never, case.stripe_next_attempt or never, -case.amount.minor)
    if (at, invoice.next_payment_attempt or never, -owed.minor) <= mine:
        return case
    return replace(
        case,
        stripe_seen_at=at,
        stripe_next_attempt=invoice.next_payment_attempt,
        amount=owed,
        collection_method=invoice.collection_method or case.collection_method,
    )


def _as_status_says(case: RecoveryCase, invoice: Invoice, at: datetime) -> RecoveryCase:
    """A snapshot of an invoice that has ended says so, whatever event it came with."""
    match invoice.status:
        case "paid":
            return _paid(case, invoice.paid_at or at, None, invoice.paid_out_of_band)
        case "void":
            return replace(case, voided_at=_earliest(case.voided_at, invoice.voided_at or at))
        case "uncollectible":
            return _uncollectible(case, invoice.uncollectible_at or at, None)
        case _:
            return case


def _paid(case: RecoveryCase, at: datetime, key: str | None, outside: bool) -> RecoveryCase:
    keys = [known for known in (case.paid_by_key, key) if known]
    case = _end_processing(case, Answer.PAID, at)
    return replace(
        case,
        paid_at=_earliest(case.paid_at, at),
        paid_by_key=min(keys, default=None),
        paid_outside=case.paid_outside or outside,
    )


def _uncollectible(case: RecoveryCase, at: datetime, reason: str | None) -> RecoveryCase:
    return replace(
        case,
        uncollectible_at=_earliest(case.uncollectible_at, at),
        uncollectible_lost=case.uncollectible_lost or reason in GIVEN_UP,
    )


def _declined(
    case: RecoveryCase, decline: Decline | None, at: datetime, card: Card | None, policy: Policy
) -> RecoveryCase:
    """Keep the newest no of the bank; of two in one instant the one that says more, then by content."""
    if decline is None:
        return case
    if case.decline_at and (case.decline_at, _says(case.decline)) >= (at, _says(decline)):
        return case
    brand = (card.brand if card else None) or case.brand
    verdict = classify(decline, brand, policy.declines)
    wait = verdict.not_before_hours
    return replace(
        case,
        decline=decline,
        decline_at=at,
        brand=brand,
        decline_class=verdict.cls,
        decline_because=verdict.because,
        max_tries=verdict.max_tries,
        retry_not_before=at + timedelta(hours=wait) if wait else None,
    )


def _says(decline: Decline | None) -> tuple[int, str]:
    if decline is None:
        return 0, ""
    words = [decline.code, decline.decline_code, decline.advice_code, decline.network_decline_code]
    words += [decline.network_advice_code, decline.outcome_type, decline.reason]
    return sum(word is not None for word in words), repr(words)


def _disputed(case: RecoveryCase, still_open: bool, at: datetime) -> RecoveryCase:
    if case.dispute_seen_at and (case.dispute_seen_at, case.disputed_at is not None) >= (at, still_open):
        return case
    return replace(case, dispute_seen_at=at, disputed_at=at if still_open else None)


def _subscription(case: RecoveryCase, subscription: Subscription, at: datetime) -> RecoveryCase:
    if subscription.ended_at or subscription.status in ("canceled", "incomplete_expired"):
        ended = subscription.ended_at or subscription.canceled_at or at
        case = replace(
            case,
            ended_at=_earliest(case.ended_at, ended),
            ended_by_customer=case.ended_by_customer or ended_by_customer(subscription, case.failed_at),
        )
    if subscription.status == "unpaid":
        case = replace(case, unpaid_at=_latest(case.unpaid_at, at))
    mrr = _mrr(subscription, at) or case.mrr
    paused = subscription.status == "paused" or subscription.pause_behavior is not None
    mine = (case.pause_seen_at, case.paused_at is not None, case.mrr.minor if case.mrr else 0)
    if case.pause_seen_at and mine >= (at, paused, mrr.minor if mrr else 0):
        return case
    return replace(case, pause_seen_at=at, paused_at=at if paused else None, mrr=mrr)


def _mrr(subscription: Subscription, at: datetime) -> Amount | None:
    """What the subscription brings in a month, as far as its snapshot tells."""
    if not subscription.currency or not subscription.items:
        return None
    now = level(items_of(subscription.items), subscription.discounts, LedgerPolicy(), at)
    return Amount(now.total, subscription.currency + MONTHLY)


def ended_by_customer(subscription: Subscription, failed_at: datetime) -> bool:
    """Whether the end was the customer's decision (metrics.md D19): a dispute counts, a mere API call does not."""
    match subscription.cancel_reason:
        case "payment_failed":
            return False
        case "payment_disputed":
            return True
        case _:
            scheduled_before = subscription.canceled_at is not None and subscription.canceled_at < failed_at
            return bool(subscription.cancel_feedback) or subscription.cancel_at_period_end or scheduled_before


def _read(case: RecoveryCase, read: InvoiceRead, at: datetime, policy: Policy) -> RecoveryCase:
    case = _as_status_says(_snapshot(case, read.invoice, at), read.invoice, at)
    case = replace(
        case,
        looked_at=_latest(case.looked_at, at),
        processing_at=_latest(case.processing_at, at) if read.processing else None,
    )
    if read.card and read.card.brand and not case.brand:
        case = replace(case, brand=read.card.brand)
    declined_at = read.declined_at or max(case.last_failed_at, case.decline_at or case.failed_at)
    case = _declined(case, read.decline, declined_at, read.card, policy)
    if read.subscription:
        case = _subscription(case, read.subscription, at)
    return _disputed(case, True, at) if read.disputed else case


def _answered(case: RecoveryCase, answered: AttemptAnswered, at: datetime, policy: Policy) -> RecoveryCase:
    known = {attempt.n: attempt for attempt in case.attempts}
    before = known.get(answered.n)
    if before is None or before.alive:
        known[answered.n] = Attempt(answered.n, before.at if before else at, answered.answer)
    case = replace(case, attempts=tuple(known[n] for n in sorted(known)))
    match answered.answer:
        case Answer.PAID | Answer.PAID_ELSEWHERE:
            return _paid(case, at, None, False)
        case Answer.NOT_PAYABLE:
            return _declined(case, answered.decline, at, answered.card, policy)
        case Answer.DECLINED | Answer.NEEDS_ACTION:
            return _declined(_failed(case, at), answered.decline or Decline(), at, answered.card, policy)
        case _:
            return case


# ---------------------------------------------------------------- what should be waiting now


def plan(case: RecoveryCase, policy: Policy, now: datetime) -> tuple[Action, ...]:
    """Everything that should wait for this case; the keys are stable, so planning again changes only what changed."""

    def action(key: str, kind: Kind, due: datetime, because: str, **detail: str | int) -> Action:
        return Action(key, kind, due, because, case.invoice, case.customer, detail)

    wanted = [
        action(notice_key(case.invoice, step), Kind.NOTICE, due, because, step=step)
        for step, due, because in (due_notices(case, policy.notice_delay, now) if policy.mode.sends else ())
    ]
    if not case.live:
        return tuple(wanted)
    wanted.append(action(deadline_key(case.invoice), Kind.DEADLINE, case.deadline, "the recovery window ends"))
    if look := _look(case):
        due, because = look
        wanted.append(action(look_key(case.invoice, due), Kind.LOOK, due, because))
    wait = next_attempt(case, policy, now)
    if wait.until:
        n = len(case.attempts) + 1
        wanted.append(action(retry_key(case.invoice, n), Kind.RETRY, wait.until, wait.because, n=n))
    return tuple(wanted)


_SAME_FAILURE = timedelta(hours=1)


def _look(case: RecoveryCase) -> tuple[datetime, str] | None:
    """When the invoice should be read, and why: events since 2025 do not say what the bank answered."""
    if case.processing_at and case.processing_at >= case.last_failed_at:
        return case.processing_at + timedelta(days=1), "see how the payment under way ended"
    known = max(filter(None, (case.decline_at, case.looked_at)), default=None)
    if known is None or case.last_failed_at > known + _SAME_FAILURE:
        return case.last_failed_at, "learn what the bank answered"
    return None
