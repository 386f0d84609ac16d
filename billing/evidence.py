"""What one event adds to the evidence of a case.

`learn` is a fold whose result does not depend on the order or repetition of events: every field is the earliest or the
latest of something, or the newest statement about one thing with ties broken by content, and what several fields say
together is worked out anew at the end. Nothing here reads the clock or chooses a state.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from billing.case import Attempt, Dispute, No, RecoveryCase, Refusal, Told
from billing.declines import classify
from billing.events.asked import Extended, Held, NoticeAsked, PaidOutside, RetryAsked
from billing.events.occurrences import (
    Answer,
    AttemptAnswered,
    ChargeDisputed,
    ChargeFailed,
    CustomerSeen,
    DeadlinePassed,
    EndMade,
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
    Promised,
    RetryRefused,
    SubscriptionSeen,
)
from billing.events.snapshots import Card, Decline, Invoice
from billing.money import Amount
from billing.operator_evidence import operator_says, with_window
from billing.policy import Policy
from billing.subscription_evidence import earliest, subscription_says, with_unpaid

GIVEN_UP = frozenset({"max_payment_attempts", "payment_not_received", "subscription_paused"})
AUTHENTICATE = Decline(code="authentication_required", decline_code="authentication_required")
FRESH_METHOD = frozenset({"attached", "updated", "automatically_updated"})
BROUGHT = frozenset({"attached", "set_up"})  # by the customer, not by the network


def learn(case: RecoveryCase, event: Event, policy: Policy) -> RecoveryCase:
    """The case with the evidence of `event` added; an event about something else leaves it as it is."""
    return _concluded(case, _added(case, event), policy)


def _added(case: RecoveryCase, event: Event) -> RecoveryCase:
    at = event.at
    match event.what:
        case InvoiceFailed(invoice, decline, action_required) if invoice.id == case.invoice:
            case = _failed(_as_status_says(_snapshot(case, invoice, at), invoice, at), at)
            if action_required:
                case = replace(case, action_required_at=_latest(case.action_required_at, at))
                decline = decline or AUTHENTICATE
            return _declined(_refusing(case, decline, at), decline, at)
        case InvoicePaid(invoice) if invoice.id == case.invoice:
            return _paid(_snapshot(case, invoice, at), invoice.paid_at or at, event.asked_by, invoice.paid_out_of_band)
        case InvoiceVoided(invoice) if invoice.id == case.invoice:
            return replace(case, voided_at=earliest(case.voided_at, invoice.voided_at or at))
        case InvoiceUncollectible(invoice, reason) if invoice.id == case.invoice:
            return _uncollectible(case, invoice.uncollectible_at or at, reason)
        case InvoiceSeen(invoice) if invoice.id == case.invoice:
            return _as_status_says(_snapshot(case, invoice, at), invoice, at)
        case InvoicePaymentPaid(invoice=invoice_id, outside_stripe=True) if invoice_id == case.invoice:
            return replace(case, paid_outside=True)
        case InvoicePaymentPaid(invoice=invoice_id, payment_intent=intent) if invoice_id == case.invoice:
            return _linked(case, intent)
        case InvoiceRead() as read if read.invoice.id == case.invoice:
            return _read(case, read, at)
        case ChargeFailed(charge) if charge.decline:
            told = Told(charge.payment_intent or "", charge.created or at, charge.decline, charge.card)
            return _told(case, charge.invoice, charge.customer, told)
        case PaymentIntentSeen(intent) if intent.status == "processing":
            return _told(case, intent.invoice, intent.customer, Told(intent.id, at))
        case PaymentIntentSeen(intent) if intent.decline:
            return _told(case, intent.invoice, intent.customer, Told(intent.id, at, intent.decline, intent.card))
        case ChargeDisputed(charge=charge_id, customer=customer) as dispute if customer and customer == case.customer:
            return _disputed(case, Dispute(charge_id, at, dispute.open))
        case PaymentMethodSeen(method, change) if method.customer and method.customer == case.customer:
            case = _brought(case, at) if change in BROUGHT else case
            return _method(case, method.id, at) if change in FRESH_METHOD else case
        case CustomerSeen(customer, default_changed=True) if customer.id == case.customer:
            case = _brought(case, at) if customer.default_payment_method else case
            return _method(case, customer.default_payment_method, at)
        case Promised(invoice=invoice_id, until=until) if invoice_id == case.invoice:
            known = (case.promised_at or at, case.promised_until or until)
            return replace(case, promised_at=at, promised_until=until) if (at, until) >= known else case
        case (Held() | Extended() | RetryAsked() | NoticeAsked() | PaidOutside()) as asked if (
            asked.invoice == case.invoice
        ):
            return operator_says(case, asked, at)
        case SubscriptionSeen(subscription=subscription) if subscription.id == case.subscription:
            return subscription_says(case, subscription, at)
        case AttemptAnswered() as answered if answered.invoice == case.invoice:
            return _answered(case, answered, at)
        case RetryRefused(invoice_id, rule, until, because) if invoice_id == case.invoice:
            return _refused(case, Refusal(at, rule, until, because))
        case DeadlinePassed(invoice=invoice_id) if invoice_id == case.invoice:
            return replace(case, expired_at=case.deadline)
        case EndMade(invoice=invoice_id, part=part, outcome=outcome) if invoice_id == case.invoice:
            return replace(case, endings=tuple(sorted({**dict(case.endings), part: outcome}.items())))
        case NoticeEnded(invoice=invoice_id, step=step, outcome=outcome) if invoice_id == case.invoice:
            return _noticed(case, step, outcome, at)
        case _:
            return case


def _concluded(before: RecoveryCase, case: RecoveryCase, policy: Policy) -> RecoveryCase:
    """What the evidence means together: whichever part of it came last."""
    if case is before:
        return case
    no = max(case.last_failed_at, case.decline_at or case.last_failed_at)
    case = replace(
        case,
        expired_at=case.deadline if case.expired_at else None,
        unlinked=tuple(told for told in case.unlinked if told.at <= case.deadline),
        attempts=tuple(
            replace(attempt, answer=Answer.PAID if case.paid_at else Answer.DECLINED)
            # A debit that was under way has ended; Stripe's times are whole seconds.
            if attempt.answer is Answer.PROCESSING and (case.paid_at or no >= attempt.at.replace(microsecond=0))
            else attempt
            for attempt in case.attempts
        ),
    )
    if (case.decline, case.decline_at, case.brand) == (before.decline, before.decline_at, before.brand):
        return case
    verdict = classify(case.decline, case.brand, policy.declines)
    wait = verdict.not_before_hours
    return replace(
        case,
        decline_class=verdict.cls,
        decline_because=verdict.because if case.decline else "",
        max_tries=verdict.max_tries if case.decline else None,
        retry_not_before=case.decline_at + timedelta(hours=wait) if case.decline_at and wait else None,
    )


def _latest(known: datetime | None, at: datetime) -> datetime:
    return at if known is None else max(known, at)


def _noticed(case: RecoveryCase, step: str, outcome: str, at: datetime) -> RecoveryCase:
    outcomes = {**dict(case.notices), step: outcome}
    ends = {**dict(case.notices_at), step: at}
    return replace(case, notices=tuple(sorted(outcomes.items())), notices_at=tuple(sorted(ends.items())))


def _brought(case: RecoveryCase, at: datetime) -> RecoveryCase:
    return replace(case, method_brought_at=_latest(case.method_brought_at, at))


def _method(case: RecoveryCase, method: str | None, at: datetime) -> RecoveryCase:
    """The customer brought, renewed or chose a payment method; of two in one second the greater id counts."""
    if method is None:
        return case
    if case.method_changed_at and (case.method_changed_at, case.fresh_method or "") >= (at, method):
        return case
    return replace(case, method_changed_at=at, fresh_method=method)


# ---------------------------------------------------------------- the invoice


def _failed(case: RecoveryCase, at: datetime) -> RecoveryCase:
    first = min(case.failed_at, at)
    window = case.window_ends - case.failed_at
    case = replace(case, failed_at=first, last_failed_at=max(case.last_failed_at, at))
    return with_window(with_unpaid(case), first + window)


def _snapshot(case: RecoveryCase, invoice: Invoice, at: datetime) -> RecoveryCase:
    """Take over what the newest snapshot says; ties in one second are broken by content, never by arrival."""
    case = replace(
        _linked(case, invoice.payment_intent),
        stripe_attempts=max(case.stripe_attempts, invoice.attempt_count),
        customer=case.customer or invoice.customer,
        subscription=case.subscription or invoice.subscription,
        number=case.number or invoice.number,
        collection_method=case.collection_method or invoice.collection_method,
    )
    if invoice.status != "open" or not invoice.remaining:
        return case
    known = _rank(case.stripe_seen_at, case.stripe_seen_attempts, case.stripe_next_attempt, case.amount)
    if _rank(at, invoice.attempt_count, invoice.next_payment_attempt, invoice.remaining) <= known:
        return case
    return replace(
        case,
        stripe_seen_at=at,
        stripe_seen_attempts=invoice.attempt_count,
        stripe_next_attempt=invoice.next_payment_attempt,
        amount=invoice.remaining,
    )


def _rank(at: datetime | None, attempts: int, planned: datetime | None, owed: Amount) -> tuple[Any, ...]:
    """Which of two snapshots is the newer; of one second it is the one that counts more attempts.

    Of two that count the same, the one that plans an attempt for this very second is from before that attempt.
    """
    never = datetime.min.replace(tzinfo=UTC)
    made = planned is not None and at is not None and planned <= at
    return at or never, attempts, not made, planned or never, -owed.minor


def _as_status_says(case: RecoveryCase, invoice: Invoice, at: datetime) -> RecoveryCase:
    """A snapshot of an invoice that has ended says so, whatever event it came with."""
    match invoice.status:
        case "paid":
            return _paid(case, invoice.paid_at or at, None, invoice.paid_out_of_band)
        case "void":
            return replace(case, voided_at=earliest(case.voided_at, invoice.voided_at or at))
        case "uncollectible":
            return _uncollectible(case, invoice.uncollectible_at or at, None)
        case _:
            return case


def _paid(case: RecoveryCase, at: datetime, key: str | None, outside: bool) -> RecoveryCase:
    keys = [known for known in (case.paid_by_key, key) if known]
    return replace(
        case,
        paid_at=earliest(case.paid_at, at),
        paid_by_key=min(keys, default=None),
        paid_outside=case.paid_outside or outside,
    )


def _uncollectible(case: RecoveryCase, at: datetime, reason: str | None) -> RecoveryCase:
    return replace(
        case,
        uncollectible_at=earliest(case.uncollectible_at, at),
        uncollectible_lost=case.uncollectible_lost or reason in GIVEN_UP,
    )


def _read(case: RecoveryCase, read: InvoiceRead, at: datetime) -> RecoveryCase:
    case = _as_status_says(_snapshot(case, read.invoice, at), read.invoice, at)
    case = _processing(replace(case, looked_at=_latest(case.looked_at, at)), read.processing, at)
    declined_at = read.declined_at or max(case.last_failed_at, case.decline_at or case.failed_at)
    case = _declined(_branded(case, read.card, read.declined_at or at), read.decline, declined_at)
    for charge in read.declined:
        case = _refusing(case, charge.decline, charge.created) if charge.created else case
    if read.subscription:
        case = subscription_says(case, read.subscription, at)
    if read.method and read.method.kind:
        case = _by_method(case, read.method.kind, at)
    return _disputed(case, Dispute(f"of {case.invoice}", at, True)) if read.disputed else case


# ---------------------------------------------------------------- payments


def _told(case: RecoveryCase, invoice: str | None, customer: str | None, told: Told) -> RecoveryCase:
    """Since basil a payment does not name its invoice: what is told of it waits until the link is known."""
    if invoice == case.invoice:
        return _heard(_linked(case, told.intent), told)
    if invoice or not told.intent or not customer or customer != case.customer:
        return case
    if told.intent in case.payment_intents:
        return _heard(case, told)
    return replace(case, unlinked=tuple(sorted({*case.unlinked, told}, key=repr)))


def _linked(case: RecoveryCase, intent: str | None) -> RecoveryCase:
    """`intent` pays this invoice: what was told of it before counts from now on."""
    if not intent or intent in case.payment_intents:
        return case
    waiting = [told for told in case.unlinked if told.intent == intent]
    case = replace(
        case,
        payment_intents=tuple(sorted({*case.payment_intents, intent})),
        unlinked=tuple(told for told in case.unlinked if told.intent != intent),
    )
    for told in waiting:
        case = _heard(case, told)
    return case


def _heard(case: RecoveryCase, told: Told) -> RecoveryCase:
    if told.decline is None:
        return _processing(case, True, told.at)
    return _declined(_refusing(_branded(case, told.card, told.at), told.decline, told.at), told.decline, told.at)


def _refusing(case: RecoveryCase, decline: Decline | None, at: datetime) -> RecoveryCase:
    """Keep that the bank refused at that instant, and what it said."""
    said = decline or Decline()
    new = No(at, said.decline_code or said.code, said.network_advice_code)
    if new in case.noes:
        return case
    return replace(case, noes=tuple(sorted({*case.noes, new}, key=lambda no: no.order)))


def _declined(case: RecoveryCase, decline: Decline | None, at: datetime) -> RecoveryCase:
    """Keep the newest no of the bank that says anything; of two in one instant the one that says more."""
    if decline is None or decline == Decline():
        return case
    if case.decline and case.decline_at and (case.decline_at, _says(case.decline)) >= (at, _says(decline)):
        return case
    return replace(case, decline=decline, decline_at=at)


def _says(decline: Decline) -> tuple[int, str]:
    words = [decline.code, decline.decline_code, decline.advice_code, decline.network_decline_code]
    words += [decline.network_advice_code, decline.outcome_type, decline.reason]
    return sum(word is not None for word in words), repr(words)


def _branded(case: RecoveryCase, card: Card | None, at: datetime) -> RecoveryCase:
    """The newest that is known of the card, each thing by itself: not every source tells everything."""
    if card is None:
        return case
    told = (card.country or "", card.funding or "")
    known = (case.country or "", case.funding or "")
    if card.country and (not case.country_at or (at, *told) > (case.country_at, *known)):
        case = replace(case, country_at=at, country=card.country, funding=card.funding)
    if card.brand is None or (case.brand and case.brand_at and (case.brand_at, case.brand) >= (at, card.brand)):
        return case
    return replace(case, brand=card.brand, brand_at=at)


def _by_method(case: RecoveryCase, kind: str, at: datetime) -> RecoveryCase:
    if case.method and case.method_at and (case.method_at, case.method) >= (at, kind):
        return case
    return replace(case, method=kind, method_at=at)


def _processing(case: RecoveryCase, under_way: bool, at: datetime) -> RecoveryCase:
    """The newest statement holds; in a tie the careful one."""
    if case.processing_seen_at and (case.processing_seen_at, case.processing_at is not None) >= (at, under_way):
        return case
    return replace(case, processing_seen_at=at, processing_at=at if under_way else None)


def _disputed(case: RecoveryCase, dispute: Dispute) -> RecoveryCase:
    """The newest statement about each charge holds: the end of one dispute does not end another."""
    known = {each.charge: each for each in case.disputes}
    before = known.get(dispute.charge)
    since = earliest(before.since if before else None, dispute.at if dispute.open else None)
    newest = max(filter(None, (before, dispute)), key=lambda each: (each.at, each.open))
    known[dispute.charge] = replace(newest, since=since)
    return replace(case, disputes=tuple(known[charge] for charge in sorted(known)))


def _answered(case: RecoveryCase, answered: AttemptAnswered, at: datetime) -> RecoveryCase:
    known = {attempt.n: attempt for attempt in case.attempts}
    before = known.get(answered.n)
    if before and before.alive:
        known[answered.n] = replace(before, answer=answered.answer)
    elif before is None:
        known[answered.n] = Attempt(answered.n, at, answered.answer)
    case = _branded(replace(case, attempts=tuple(known[n] for n in sorted(known))), answered.card, at)
    asked = known[answered.n].at
    match answered.answer:
        case Answer.PAID | Answer.PAID_ELSEWHERE:
            return _paid(case, at, None, False)
        case Answer.PROCESSING:
            return _processing(case, True, at)
        case Answer.NOT_PAYABLE:
            return _declined(case, answered.decline, at)
        case Answer.DECLINED:
            return _declined(_refusing(_failed(case, at), answered.decline, asked), answered.decline, at)
        case Answer.NEEDS_ACTION:
            decline = answered.decline or AUTHENTICATE
            return _declined(_refusing(_failed(case, at), decline, asked), decline, at)
        case _:
            return case


def _refused(case: RecoveryCase, refusal: Refusal) -> RecoveryCase:
    before = case.refusal
    return (
        case if before and (before.at, repr(before)) >= (refusal.at, repr(refusal)) else replace(case, refusal=refusal)
    )
