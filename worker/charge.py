"""One payment attempt, so that a crash at any line neither charges twice nor loses a success.

    claim -> last look -> intent -> age guard -> pay -> finish

The intent row holds the request and its key before Stripe hears of it; the result follows in one transaction with
everything it causes. Whoever finds an intent without a result reads Stripe first, and only then may send the same
request with the same key, while Stripe still remembers keys. Source: reliability.md 6.3 and D10-D12.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Row, insert, select, update

from billing.actions import idempotency_key
from billing.case import RecoveryCase, State
from billing.events.occurrences import Answer, AttemptAnswered, Event, InvoiceRead, RetryRefused
from billing.events.snapshots import PaymentMethod
from billing.money import Amount
from billing.retry.last_look import PAYABLE, stop_before_paying
from billing.retry.method import method_to_name
from billing.retry.rules import Allowed, NotBefore
from billing.retry.schedule import NO_BACKUP
from worker import allowance, crash, methods, metrics, outbox, store, switch
from worker.absorb import absorb_one, read_event, replan
from worker.allowance import Asked
from worker.app import App
from worker.columns import db_in, db_now
from worker.outbox import Claim, Lost
from worker.stripe_gateway import Gateway, Paid, StripeAway, StripeMissing, StripeRefused, dated
from worker.tables import attempt
from worker.values import to_json

log = structlog.get_logger(__name__)

KEY_AGE = timedelta(hours=20)  # Stripe remembers keys for at least 24 hours; we stop repeating before that
UNDECIDED = timedelta(hours=72)  # without an answer to our reading: then a person has to look
SKEW = timedelta(minutes=5)
WAIT = timedelta(seconds=30)
REFUSED = timedelta(hours=1)  # a refusal that planning does not see is asked again after this
STATES = {
    Answer.PAID: "succeeded",
    Answer.DECLINED: "failed",
    Answer.NEEDS_ACTION: "failed",
    Answer.NOT_EXECUTED: "failed",
    Answer.PROCESSING: "processing",
    Answer.UNKNOWN: "unknown",
    Answer.PAID_ELSEWHERE: "cancelled",
    Answer.NOT_PAYABLE: "cancelled",
}


def perform(app: App, claim: Claim) -> str:
    """Make the payment attempt that this action asks for; returns what became of it."""
    crash.point("C1")
    gateway = app.stripe.of(claim.owner.account, claim.owner.livemode)
    if gateway is None:
        return _give_back(app, claim, timedelta(hours=1), "no Stripe key is configured for this account")
    looked = dated(app.now())
    try:
        seen = gateway.read(claim.invoice or "")
        backup = claim.detail.get("backup") and not claim.sending
        saved = gateway.saved_cards(claim.customer or "") if backup else None
    except StripeMissing as error:
        return _end(app, claim, Answer.NOT_PAYABLE, str(error))
    except StripeRefused as error:
        _stop_account(app, claim, str(error))
        return _give_back(app, claim, WAIT, str(error))
    except StripeAway as error:
        return _give_back(app, claim, backoff(claim), str(error))
    crash.point("C2")
    try:
        read = read_event(claim, seen, looked)
        if claim.sending:
            return _resolve(app, claim, gateway, seen, read)
        return _first_time(app, claim, gateway, seen, read, saved)
    except Lost:
        # A stop came first, or the case ended: what was not begun waits, and the next look says what to do with it.
        return _give_back(app, claim, WAIT, "stopped before the request was sent")


def too_old(app: App, claim: Claim) -> bool:
    """Whether so much of the lease is gone that another worker may soon own the action."""
    return time.monotonic() - claim.since > app.settings.lease_seconds / 2


def backoff(claim: Claim) -> timedelta:
    wait: timedelta = WAIT * 2 ** min(claim.tries, 7)
    return min(wait, timedelta(hours=1))


# ---------------------------------------------------------------- the first time


def _first_time(
    app: App,
    claim: Claim,
    gateway: Gateway,
    seen: InvoiceRead,
    read: Event,
    saved: Sequence[PaymentMethod] | None,
) -> str:
    now = app.now()
    with app.db.begin() as db:
        store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
        outbox.hold(db, claim)
        before = store.case_of(db, claim.owner, claim.invoice or "")
        case = absorb_one(app, db, claim.owner, read)
        if before is None or case is None:
            outbox.finish(db, claim, "there is no such case", now, "cancelled")
            return "no case"
        policy = app.policies.of(case.account, case.livemode, case.policy)
        named = method_to_name(case, seen)
        if named and saved is None:  # it stands behind another one in Stripe's order, and is the one to charge
            seen = replace(seen, method=PaymentMethod(named, case.customer, None))
        asked, method = methods.choose(db, claim, case, policy, seen, saved, now)
        because = stop_before_paying(case, before.amount, seen, policy, now, asked.ruling, saved is not None)
        if because is None and saved is not None and method is None:
            because = "the customer has no other saved card that was not tried for this invoice"
            outbox.finish(db, claim, because, now, "cancelled")
            _tell_refusal(app, db, claim, NO_BACKUP, None, because)
            return because
        if because:
            # The plan made from this reading may want the same attempt later: it then waits again under this key.
            outbox.finish(db, claim, because, now, "cancelled")
            if not _refused(app, db, claim, case, asked, because, saved is not None):
                replan(app, db, claim.owner, case, now + REFUSED)
            return because
        request = methods.request(method if saved is not None or named else None)
        _intent(db, claim, case, request, now, asked.card)
        crash.point("C3")
    crash.point("C4")
    with app.db.read() as db:
        stop = _stop(db, claim)
    if stop:
        return _end(app, claim, Answer.NOT_EXECUTED, f"the request was not sent: {stop}")
    if too_old(app, claim):
        return "too old to send: the next owner reads first"
    return _send(app, claim, gateway, request, int(claim.detail["n"]))


def _refused(
    app: App, db: Connection, claim: Claim, case: RecoveryCase, asked: Asked, because: str, backup: bool
) -> bool:
    """Whether it was a network rule that forbade the attempt; then the refusal is kept and the case learns of it."""
    ruling = asked.ruling
    if isinstance(ruling, Allowed) or because != ruling.because:
        return False
    allowance.refuse(db, claim.owner, asked, case, claim.key, app.now())
    until = ruling.at if isinstance(ruling, NotBefore) else None
    rule = NO_BACKUP if backup and until is None else ruling.rule.name
    _tell_refusal(app, db, claim, rule, until, because)
    return True


def _tell_refusal(app: App, db: Connection, claim: Claim, rule: str, until: datetime | None, because: str) -> None:
    """Let the case learn that nothing may be asked before `until`."""
    now = app.now()
    what = RetryRefused(claim.invoice or "", rule, until, because)
    name = f"reprieve:{claim.key}:{claim.token}:refused"
    refused = Event(
        name, "reprieve.retry_refused", now, claim.owner.account, claim.owner.livemode, what, customer=claim.customer
    )
    absorb_one(app, db, claim.owner, refused)


def _intent(
    db: Connection, claim: Claim, case: RecoveryCase, request: Mapping[str, object], now: datetime, card: str
) -> None:
    """Write down what is about to be asked, guarded by the token and by every stop that is committed."""
    outbox.intend(db, claim, live_case=True)
    n = int(claim.detail["n"])
    db.execute(
        insert(attempt),
        {
            **claim.owner.key,
            "invoice": case.invoice,
            "n": n,
            "action_key": claim.key,
            "state": "sending",
            "token": claim.token,
            "idem_key": idempotency_key(case.account, case.livemode, case.invoice, n),
            "request": request,
            "amount": case.amount.minor,
            "currency": case.amount.currency,
            "card": card,
            "first_sent_at": db.scalar(select(db_now())),
            "at": now,
        },
    )


def _send(app: App, claim: Claim, gateway: Gateway, request: Mapping[str, object], n: int) -> str:
    key = idempotency_key(claim.owner.account, claim.owner.livemode, claim.invoice or "", n)
    answer = gateway.pay(claim.invoice or "", request, key)
    crash.point("C6")
    if answer.stopped:
        _stop_account(app, claim, answer.because)
        if claim.sending:  # refused is this repetition; of the first request it says nothing
            answer = replace(answer, answer=None)
    if answer.look:
        answer = _look_closer(gateway, claim, answer)
    if answer.answer is None or answer.answer is Answer.UNKNOWN:
        return _give_back(app, claim, backoff(claim), answer.because, unknown=answer.answer is Answer.UNKNOWN)
    return _end(app, claim, answer.answer, answer.because, answer)


def _look_closer(gateway: Gateway, claim: Claim, answer: Paid) -> Paid:
    """What the invoice says where the answer alone does not tell."""
    try:
        seen = gateway.read(claim.invoice or "")
    except (StripeAway, StripeMissing, StripeRefused):
        return replace(answer, answer=None)
    if answer.answer is Answer.NOT_PAYABLE and seen.invoice.status == "paid":
        return Paid(Answer.PAID_ELSEWHERE, "the invoice was paid by something else meanwhile")
    if answer.answer is Answer.PROCESSING and seen.invoice.status == "paid":
        return Paid(Answer.PAID, "Stripe collected the invoice")
    if answer.answer is Answer.PROCESSING and not seen.processing:
        return Paid(None, "Stripe took the request, and neither payment nor decline is seen yet")
    return answer


# ---------------------------------------------------------------- found with an intent and no result


def _resolve(app: App, claim: Claim, gateway: Gateway, seen: InvoiceRead, read: Event) -> str:
    """Only what Stripe shows decides; the same request is repeated while its key still protects it."""
    with app.db.begin() as db:
        row = db.execute(
            select(attempt, db_now().label("db_now"))
            .where(claim.owner.of(attempt), attempt.c.action_key == claim.key)
            .order_by(attempt.c.n.desc())
        ).first()
        if row is None:
            raise Lost(claim.key)
        db.execute(
            update(attempt).where(attempt.c.id == row.id, attempt.c.token < claim.token).values(token=claim.token)
        )
    if seen.invoice.status == "paid":
        return _end(app, claim, Answer.PAID, "reading the invoice shows that it was paid")
    if seen.processing:
        return _end(app, claim, Answer.PROCESSING, "reading the invoice shows a payment under way")
    if seen.invoice.status not in PAYABLE:
        return _end(app, claim, Answer.NOT_PAYABLE, f"the invoice is {seen.invoice.status}")
    if row.db_now - row.first_sent_at >= KEY_AGE:
        return _by_reading_alone(app, claim, seen, row.first_sent_at)
    if row.state == "unknown":
        return _give_back(app, claim, backoff(claim), "the key was refused: waiting until reading is certain")
    if stop := _stop_before_repeating(app, claim, read, seen.invoice.remaining, row):
        return _give_back(app, claim, backoff(claim), f"the request is not repeated: {stop}")
    if too_old(app, claim):
        return "too old to send: the next owner reads first"
    return _send(app, claim, gateway, row.request, row.n)


def _by_reading_alone(app: App, claim: Claim, seen: InvoiceRead, sent: datetime) -> str:
    """The key no longer protects a repetition, and a request this old cannot be on its way any more."""
    if seen.decline and seen.declined_at and seen.declined_at >= sent - SKEW:
        because = "reading the invoice shows that the bank declined"
        charge = next((each.id for each in seen.declined if each.created == seen.declined_at), None)
        paid = Paid(Answer.DECLINED, because, seen.decline, seen.card, charge)
        return _end(app, claim, Answer.DECLINED, because, paid)
    return _end(app, claim, Answer.NOT_EXECUTED, "reading shows neither a payment nor one under way")


def _stop_before_repeating(app: App, claim: Claim, read: Event, owed: Amount, row: Row[Any]) -> str | None:
    """Why the same request may not be sent again; the reading may tell of a stop before its event comes."""
    with app.db.begin() as db:
        store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
        outbox.hold(db, claim)
        absorb_one(app, db, claim.owner, read)
        stop = _stop(db, claim)
    asked = Amount(row.amount, row.currency)
    return stop or (f"{owed} is owed, {asked} was asked for" if owed != asked else None)


def _stop(db: Connection, claim: Claim) -> str | None:
    """What our tables hold against asking for money now: a stop that came after the intent, None if nothing does."""
    if any(scope in (switch.EVERYTHING, claim.owner.account) for scope, *_ in switch.standing(db)):
        return "charging is stopped"
    case = store.case_of(db, claim.owner, claim.invoice or "")
    if case is None or not case.live:
        return f"the case has ended: {case.because}" if case else "there is no such case"
    return case.because if case.state in (State.HELD, State.PAUSED) else None


# ---------------------------------------------------------------- the end


def _end(app: App, claim: Claim, answer: Answer, because: str, paid: Paid | None = None) -> str:
    """One transaction: the attempt's end, the action's end, the case, its next steps, and the facts for the books."""
    now = app.now()
    n = int(claim.detail["n"])
    what = AttemptAnswered(
        claim.invoice or "",
        n,
        answer,
        paid.decline if paid else None,
        paid.charge if paid else None,
        paid.card if paid else None,
    )
    event = Event(
        f"reprieve:{claim.key}:{answer}",
        "reprieve.attempt_answered",
        now,
        claim.owner.account,
        claim.owner.livemode,
        what,
        customer=claim.customer,
    )
    try:
        with app.db.begin() as db:
            store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
            outbox.finish(db, claim, f"{answer}: {because}", now)
            db.execute(
                update(attempt)
                .where(claim.owner.of(attempt), attempt.c.action_key == claim.key, attempt.c.n == n)
                .where(attempt.c.state.in_(("sending", "unknown")))
                .values(
                    state=STATES[answer],
                    answer=answer.value,
                    token=claim.token,
                    because=because,
                    charge=what.charge,
                    brand=what.card.brand if what.card else None,
                    fingerprint=what.card.fingerprint if what.card else None,
                    decline=to_json(what.decline) if what.decline else None,
                    finished_at=None if answer in (Answer.PROCESSING, Answer.UNKNOWN) else now,
                )
            )
            absorb_one(app, db, claim.owner, event)
            crash.point("C7")
    except Lost:
        return "another worker finished this"
    crash.point("C8")
    metrics.ATTEMPTS.labels(answer.value).inc()
    log.info("attempt_ended", invoice=claim.invoice, n=n, answer=answer.value, because=because)
    return answer.value


def _give_back(app: App, claim: Claim, wait: timedelta, because: str, unknown: bool = False) -> str:
    """Leave the action for later; one whose request is out and cannot be read about for days goes to a person."""
    ours = claim.owner.of(attempt) & (attempt.c.action_key == claim.key)
    try:
        with app.db.begin() as db:
            if unknown:
                db.execute(update(attempt).where(ours, attempt.c.state == "sending").values(state="unknown"))
            if claim.sending and db.scalar(
                select(attempt.c.id).where(ours, attempt.c.first_sent_at < db_in(-UNDECIDED.total_seconds()))
            ):
                outbox.finish(db, claim, f"nobody can say after {UNDECIDED}: {because}", app.now(), "stuck")
            else:
                outbox.postpone(db, claim, wait, because, app.now())
    except Lost:
        return "another worker has this"
    return because


def _stop_account(app: App, claim: Claim, because: str) -> None:
    """Stripe refuses our key: charging stops for the whole account until a person has mended it."""
    log.error("charging_stopped", account=claim.owner.account, because=because)
    with app.db.begin() as db:
        switch.turn(db, claim.owner, True, "reprieve", f"Stripe refuses the key: {because}", app.now())
