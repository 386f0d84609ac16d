"""Tell Stripe once that an invoice was paid outside, so that a crash at any line neither loses it nor charges anybody.

    claim -> last look -> intent -> mark -> finish

The request moves no money and its key is the same for ever, so whoever finds an intent without a result sends the same
request again: Stripe repeats its answer, or says that the invoice is paid, and reading says by what. No attempt of ours
can be under way meanwhile: the case is held from the transaction that asked for it on, and the intent looks again.
"""

from __future__ import annotations

from datetime import datetime

import structlog
from sqlalchemy import Connection

from billing.actions import settle_idempotency_key
from billing.events.asked import PaidOutside
from billing.events.occurrences import Answer, Event, InvoicePaymentPaid, What
from billing.operator import after
from billing.retry.last_look import PAYABLE
from worker import crash, outbox, store
from worker.absorb import absorb_one
from worker.app import App
from worker.charge import WAIT, backoff
from worker.outbox import Claim, Lost
from worker.stripe_gateway import Gateway, Paid, StripeAway, StripeMissing, StripeRefused

log = structlog.get_logger(__name__)

MOST_TRIES = 80  # then three days have passed, and a person has to mend it
BODY = {"paid_out_of_band": True}


def perform(app: App, claim: Claim) -> str:
    """Mark the invoice of this action as paid outside; returns what became of it."""
    crash.point("S1")
    gateway = app.stripe.of(claim.owner.account, claim.owner.livemode)
    if gateway is None:
        return _later(app, claim, "no Stripe key is configured for this account")
    try:
        if not claim.sending and (because := _refusal(gateway, claim)):
            return _end(app, claim, None, because)
        crash.point("S2")
        if not claim.sending:
            with app.db.begin() as db:
                _intend(app, db, claim)
            crash.point("S3")
        key = settle_idempotency_key(claim.owner.account, claim.owner.livemode, claim.invoice or "")
        answer = gateway.pay(claim.invoice or "", BODY, key)
        crash.point("S4")
        return _answered(app, claim, gateway, answer)
    except _NotYet as error:
        return _later(app, claim, str(error))
    except Lost:
        return _later(app, claim, "stopped before Stripe was told")
    except StripeMissing as error:
        return _end(app, claim, None, str(error))
    except (StripeAway, StripeRefused) as error:
        return _later(app, claim, str(error))


class _NotYet(Exception):
    """A payment of ours is under way; the message says so."""


def _refusal(gateway: Gateway, claim: Claim) -> str | None:
    """Why Stripe need not, or must not, be told; None: it may."""
    seen = gateway.read(claim.invoice or "")
    if seen.invoice.status not in PAYABLE:
        return f"the invoice is {seen.invoice.status} at Stripe"
    if seen.processing:
        raise _NotYet("a payment of this invoice is under way at Stripe")
    return None


def _intend(app: App, db: Connection, claim: Claim) -> None:
    """Write down that Stripe is told now, unless an attempt of ours has begun or the wish was taken back."""
    store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
    outbox.hold(db, claim)
    case = store.case_of(db, claim.owner, claim.invoice or "")
    if case is None or not case.operator.outside:
        raise Lost(claim.key)
    if case.in_flight:
        raise _NotYet("an attempt of ours is under way and its end is not known")
    outbox.intend(db, claim, live_case=False)


def _answered(app: App, claim: Claim, gateway: Gateway, answer: Paid) -> str:
    """Where the answer alone does not tell, what the invoice says does."""
    told = InvoicePaymentPaid(claim.invoice or "", None, None, True, None)
    if answer.answer is Answer.PAID:
        return _end(app, claim, told, "Stripe has it as paid outside")
    seen = gateway.read(claim.invoice or "").invoice
    if seen.status == "paid" and seen.paid_out_of_band:
        return _end(app, claim, told, "reading shows that Stripe has it as paid outside")
    if seen.status in PAYABLE:
        return _later(app, claim, answer.because)
    return _end(app, claim, None, f"the invoice is {seen.status} at Stripe")


def _end(app: App, claim: Claim, told: InvoicePaymentPaid | None, because: str) -> str:
    """One transaction: the action's end and what follows. Without `told` the wish is over."""
    now = app.now()
    try:
        with app.db.begin() as db:
            store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
            outbox.finish(db, claim, because, now, "done" if told else "cancelled")
            absorb_one(app, db, claim.owner, _event(db, claim, told, now))
            crash.point("S5")
    except Lost:
        return "another worker finished this"
    log.info("paid_outside_ended", invoice=claim.invoice, because=because)
    return because


def _event(db: Connection, claim: Claim, told: InvoicePaymentPaid | None, now: datetime) -> Event:
    """What the case and the books learn: that it was paid outside, or that the wish is over."""
    case = store.case_of(db, claim.owner, claim.invoice or "")
    at = now if told else after(now, case.operator.outside_told_at if case else None)
    name = "paid_outside" if told else "paid_outside_refused"
    what: What = told or PaidOutside(claim.invoice or "", False)
    return Event(
        f"reprieve:{claim.key}:{name}:{at.isoformat()}",
        f"reprieve.{name}",
        at,
        claim.owner.account,
        claim.owner.livemode,
        what,
        customer=claim.customer,
    )


def _later(app: App, claim: Claim, because: str) -> str:
    try:
        with app.db.begin() as db:
            if claim.tries >= MOST_TRIES:
                outbox.finish(db, claim, f"after {claim.tries} tries: {because}", app.now(), "stuck")
                return because
            outbox.postpone(db, claim, max(WAIT, backoff(claim)), because, app.now())
    except Lost:
        return "another worker has this"
    return because
