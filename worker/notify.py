"""One message, handed over at most once.

    claim -> read the invoice -> compose and render -> intent -> hand over -> finish

Errors before the whole message was given are certain, and the action waits; after that only the server knows, so the
message is marked unknown and not repeated (reliability.md D23-D26). The intent honours every stop in its statement.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection, select, update

from billing.actions import Kind
from billing.case import RecoveryCase
from billing.declines import Tell, classify
from billing.events.occurrences import Event, InvoiceRead, NoticeEnded
from billing.notices import address
from billing.notices.compose import Habits, Links, Notice, Person, Skip, compose, dedup_key, message_id
from billing.notices.sequence import Step
from worker import crash, links, metrics, outbox, store, suppression, volume
from worker.absorb import absorb_one, read_event
from worker.app import App
from worker.channels import Handed, Message, Outcome
from worker.channels.once import once
from worker.outbox import Claim, Lost
from worker.rendering import TemplateBroken, message_of
from worker.stripe_gateway import StripeAway, StripeMissing, StripeRefused, dated
from worker.stripe_sends import unless_stripe_sends
from worker.tables import action, customer, notice

log = structlog.get_logger(__name__)

CHANNEL = "email"
GIVE_UP = timedelta(hours=24)  # a server that will not take a message for a day has refused it
WAIT = timedelta(minutes=5)
SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Ready:
    """A message that only has to be handed over, and what its row will say."""

    key: str
    mailbox: str
    template: str
    rendered_hash: str
    message: Message
    to: address.Address


class Suppressed(Exception):
    """This mailbox gets nothing, or not this message; the message says why."""


def perform(app: App, claim: Claim) -> str:
    """Send the message that this action asks for; returns what became of it."""
    crash.point("M1")
    if claim.sending:
        return _end(app, claim, Outcome.UNKNOWN, "the process ended while the message was handed over")
    channel = app.channels.get(CHANNEL)
    if channel is None:
        return _end(app, claim, SKIPPED, "no mail server is configured")
    try:
        ready = _prepare(app, claim)
    except (StripeAway, StripeRefused, TemplateBroken) as error:
        if isinstance(error, TemplateBroken) and claim.tries > GIVE_UP / WAIT:
            return _end(app, claim, SKIPPED, f"it could not be written for a day: {error}")
        log.warning("notice_waits", because=str(error))
        return _later(app, claim, str(error))
    except StripeMissing as error:
        return _end(app, claim, SKIPPED, str(error))
    if isinstance(ready, Skip):
        return _end(app, claim, SKIPPED, ready.because)
    crash.point("M2")
    if because := volume.full(app, claim.owner):
        return _later(app, claim, because)
    try:
        with app.db.begin() as db:
            _intend(app, db, claim, ready)
    except Suppressed as error:
        return _end(app, claim, SKIPPED, str(error))
    except Lost:
        return _later(app, claim, "stopped before the message was sent")
    crash.point("M3")
    app.db.outside_transaction("handing a message over")
    handed = channel.send(ready.message)
    crash.point("M5")
    return _handed(app, claim, handed)


# ---------------------------------------------------------------- what to say


def _prepare(app: App, claim: Claim) -> Ready | Skip:
    """Read the invoice, so that what is said is true now, and put the message into words."""
    gateway = app.stripe.of(claim.owner.account, claim.owner.livemode)
    looked = dated(app.now())
    seen = gateway.read(claim.invoice or "") if gateway else None
    step = Step(str(claim.detail["step"]))
    with app.db.begin() as db:
        store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
        if seen:
            absorb_one(app, db, claim.owner, read_event(claim, seen, looked))
        case = store.case_of(db, claim.owner, claim.invoice or "")
        person = _person(db, claim, seen)
        next_try = _next_try(db, claim)
        ours = _link(app, db, claim, case) if step is not Step.RECOVERED else None
    if case is None:
        return Skip("there is no such case")
    composed = compose(
        step,
        case,
        person,
        app.settings.mail_from_name,
        ours or (seen.invoice.hosted_invoice_url if seen else None),
        app.now(),
        links=links.allowed(app.settings) if ours else Links(stand_in=app.settings.stripe_api_base),
        card=seen.card if seen else None,
        tell=_tell(app, case),
        next_try=next_try or case.stripe_next_attempt,
        habits=Habits(app.settings.default_language, ZoneInfo(app.settings.reporting_timezone)),
    )
    composed = unless_stripe_sends(app.settings, claim.owner, composed)
    return _render(app, case, step, composed) if isinstance(composed, Notice) else composed


def _render(app: App, case: RecoveryCase, step: Step, composed: Notice) -> Ready:
    rendered = app.renderer.render(composed)
    mailbox = address.recipient_hash(composed.to)
    key = dedup_key(case, step, CHANNEL, mailbox)
    name = message_id(key, address.parse(app.settings.mail_from).domain)
    message = message_of(composed, rendered, name)
    more = (*suppression.headers(app.settings, composed.to), *once(app.settings.mail_provider, key))
    message = replace(message, headers=(*message.headers, *more))
    return Ready(key, mailbox, composed.template, rendered.hash, message, composed.to)


def _person(db: Connection, claim: Claim, seen: InvoiceRead | None) -> Person:
    """Whom to write to: what the invoice says now, else what we last saw of the customer."""
    row = db.execute(select(customer).where(claim.owner.of(customer), customer.c.id == claim.customer)).first()
    return Person(
        (seen and seen.invoice.customer_email) or (row.email if row else None),
        (seen and seen.invoice.customer_name) or (row.name if row else None),
        (row.locale,) if row and row.locale else (),
        row.country if row else None,
    )


def _link(app: App, db: Connection, claim: Claim, case: RecoveryCase | None) -> str | None:
    """Our own page for this customer and message; without it the message leads to Stripe's page of the invoice."""
    named = case.customer if case else None
    return links.for_customer(db, app.settings, claim.owner, named, claim.key, app.now())


def _next_try(db: Connection, claim: Claim) -> datetime | None:
    """When our next attempt waits to be made."""
    ours = claim.owner.of(action) & (action.c.invoice == claim.invoice) & (action.c.kind == Kind.RETRY.value)
    found: datetime | None = db.scalar(select(action.c.due_at).where(ours, action.c.state == "waiting"))
    return found


def _tell(app: App, case: RecoveryCase) -> Tell | None:
    """What the customer may hear about this decline."""
    if case.decline is None:
        return None
    declines = app.policies.of(case.account, case.livemode, case.policy).declines
    return Tell(classify(case.decline, case.brand, declines).tell)


# ---------------------------------------------------------------- intent and end


def _intend(app: App, db: Connection, claim: Claim, ready: Ready) -> None:
    """Write down what is about to be sent.

    Refused, as Lost, if the case ended or a stop stands; as Suppressed, if the mailbox gets nothing any more.
    """
    mailbox = suppression.mailbox_of(app.settings, ready.to)
    if because := suppression.refusal(db, app.settings, mailbox, Step(str(claim.detail["step"]))):
        raise Suppressed(because)
    outbox.intend(db, claim, live_case=claim.detail["step"] != Step.RECOVERED)
    row = {
        **claim.owner.key,
        "dedup_key": ready.key,
        "invoice": claim.invoice,
        "customer": claim.customer,
        "step": claim.detail["step"],
        "channel": CHANNEL,
        "recipient_hash": ready.mailbox,
        "template": ready.template,
        "message_id": ready.message.id,
        "rendered_hash": ready.rendered_hash,
        "state": "handing_over",
        "token": claim.token,
        "at": app.now(),
    }
    again = store.insert(db, notice)
    # Only a message that the server certainly did not take is handed over again, under the same Message-ID.
    taken = again.on_conflict_do_update(
        index_elements=["account", "livemode", "dedup_key"],
        set_={name: again.excluded[name] for name in ("rendered_hash", "state", "token", "at")},
        where=notice.c.state == "waiting",
    )
    if db.execute(taken.returning(notice.c.id), row).first() is None:
        raise Lost(ready.key)


def _handed(app: App, claim: Claim, handed: Handed) -> str:
    """Book what the channel said; a message that was certainly not taken waits for the next try, for a day."""
    if handed.outcome is not Outcome.LATER:
        return _end(app, claim, handed.outcome, handed.because)
    if claim.tries > GIVE_UP / WAIT:
        return _end(app, claim, Outcome.REJECTED, f"not taken for a day: {handed.because}")
    with app.db.begin() as db:
        outbox.hold(db, claim)
        _mark(db, claim, "waiting", handed.because, None)
        db.execute(update(action).where(outbox.mine(claim)).values(state="claimed"))
        outbox.postpone(db, claim, WAIT, handed.because, app.now())
    return handed.because


def _end(app: App, claim: Claim, outcome: str, because: str) -> str:
    """One transaction: the message's end, the action's end, and the case that may now be planned differently."""
    now, step = app.now(), str(claim.detail["step"])
    ended = Event(
        f"reprieve:{claim.key}:{outcome}",
        "reprieve.notice_ended",
        now,
        claim.owner.account,
        claim.owner.livemode,
        NoticeEnded(claim.invoice or "", step, str(outcome)),
        customer=claim.customer,
    )
    try:
        with app.db.begin() as db:
            store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
            outbox.finish(db, claim, f"{outcome}: {because}", now)
            if outcome != SKIPPED:
                _mark(db, claim, str(outcome), because, now)
            absorb_one(app, db, claim.owner, ended)
    except Lost:
        return "another worker has this"
    crash.point("M6")
    metrics.NOTICES.labels(str(outcome)).inc()
    log.info("notice_ended", invoice=claim.invoice, step=step, outcome=str(outcome), because=because)
    return str(outcome)


def _mark(db: Connection, claim: Claim, state: str, because: str, finished: datetime | None) -> None:
    mine = claim.owner.of(notice) & (notice.c.invoice == claim.invoice) & (notice.c.step == claim.detail["step"])
    db.execute(
        update(notice)
        .where(mine, notice.c.state == "handing_over")
        .values(state=state, because=because, finished_at=finished)
    )


def _later(app: App, claim: Claim, because: str) -> str:
    try:
        with app.db.begin() as db:
            outbox.postpone(db, claim, WAIT, because, app.now())
    except Lost:
        return "another worker has this"
    return because
