"""One message, handed over at most once.

    claim -> is it still right? -> read the invoice -> is it still right? -> compose and render -> intent -> hand over
    -> finish

Errors before the whole message was given are certain, and the action waits; after that only the server knows, so the
message is marked unknown and not repeated (reliability.md D23-D26). The intent honours every stop in its statement.
What becomes of one message concerns no other: each person and each way has an action of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, update

from billing.events.occurrences import Event, NoticeEnded
from billing.notices import address
from billing.notices.compose import Skip
from billing.notices.sequence import ASKING, MERGED, Via
from worker import crash, metrics, outbox, store, suppression, volume, wording
from worker.absorb import absorb, absorb_one, read_event
from worker.app import App
from worker.channels import Handed, Message, Outcome
from worker.consent import Refused, phone_of
from worker.outbox import Claim, Lost
from worker.rendering import TemplateBroken
from worker.standing import MERGES, Go, Later, Never, end_merged, standing, too_often
from worker.stripe_gateway import StripeAway, StripeMissing, StripeRefused, dated
from worker.stripe_sends import unless_stripe_sends
from worker.tables import action, notice

log = structlog.get_logger(__name__)

CHANNEL = Via.EMAIL.value
GIVE_UP = timedelta(hours=24)  # a server that will not take a message for a day has refused it
WAIT = timedelta(minutes=5)
SKIPPED = "skipped"
TO_TEAM = "told_team"  # what the customer never saw is nobody's recovery
MISSING = {
    Via.EMAIL: "no mail server is configured",
    Via.SMS: "no SMS service is configured",
    Via.CHAT: "no chat address is configured",
}


@dataclass(frozen=True, slots=True)
class Ready:
    """A message that only has to be handed over, and what its row will say. `to` is the mailbox of an e-mail."""

    go: Go
    key: str
    recipient: str
    template: str
    rendered_hash: str
    message: Message
    to: address.Address | None


class Suppressed(Exception):
    """This person gets nothing, or not this message; the message says why."""


class Postponed(Exception):
    """The message may go out later."""

    def __init__(self, later: Later) -> None:
        super().__init__(later.because)
        self.later = later


def perform(app: App, claim: Claim) -> str:
    """Send the message that this action asks for; returns what became of it."""
    crash.point("M1")
    if claim.sending:
        return _end(app, claim, Outcome.UNKNOWN, "the process ended while the message was handed over")
    via = Via(claim.detail.get("channel", CHANNEL))
    channel = app.channels.get(via.value)
    if channel is None:
        return _end(app, claim, SKIPPED, MISSING[via])
    try:
        ready = _prepare(app, claim)
    except (StripeAway, StripeRefused, TemplateBroken) as error:
        if isinstance(error, TemplateBroken) and claim.tries > GIVE_UP / WAIT:
            return _end(app, claim, SKIPPED, f"it could not be written for a day: {error}")
        log.warning("notice_waits", because=str(error))
        return _later(app, claim, str(error))
    except StripeMissing as error:
        return _end(app, claim, SKIPPED, str(error))
    match ready:
        case Skip(because):
            return _end(app, claim, SKIPPED, because)
        case Never(because):
            return _taken_back(app, claim, because)
        case Later(until, because):
            return _later(app, claim, because, until)
    crash.point("M2")
    if because := volume.full(app, claim.owner):
        return _later(app, claim, because)
    try:
        with app.db.begin() as db:
            _intend(app, db, claim, ready)
    except Suppressed as error:
        return _end(app, claim, SKIPPED, str(error))
    except Postponed as error:
        return _wait_for(app, claim, ready, error.later)
    except Lost:
        return _later(app, claim, "stopped before the message was sent")
    crash.point("M3")
    app.db.outside_transaction("handing a message over")
    handed = channel.send(ready.message)
    crash.point("M5")
    return _handed(app, claim, handed)


# ---------------------------------------------------------------- what to say


def _prepare(app: App, claim: Claim) -> Ready | Skip | Later | Never:
    """Read the invoice, so that what is said is true now, and put the message into words."""
    with app.db.begin() as db:
        store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
        before = standing(app, db, claim)
    if not isinstance(before, Go):
        return before
    gateway = app.stripe.of(claim.owner.account, claim.owner.livemode)
    looked = dated(app.now())
    seen = gateway.read(claim.invoice or "") if gateway else None
    with app.db.begin() as db:
        store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
        if seen:
            absorb_one(app, db, claim.owner, read_event(claim, seen, looked))
        go = standing(app, db, claim)
        if not isinstance(go, Go):
            return go
        material = wording.material(app, db, claim, go, seen)
    return _ready(app, claim, go, material)


def _ready(app: App, claim: Claim, go: Go, material: wording.Material | Skip) -> Ready | Skip:
    if isinstance(material, Skip):
        return material
    composed = wording.composed(app, go, material)
    if go.due.via is Via.EMAIL and not go.due.to:  # Stripe writes to the address at Stripe alone
        composed = unless_stripe_sends(app.settings, claim.owner, composed)
    if isinstance(composed, Skip):
        return composed
    written = wording.written(app, go, material, composed)
    if isinstance(written, Skip):
        return written
    message, rendered_hash, recipient, key = written
    to = composed.to if go.due.via is Via.EMAIL else None
    return Ready(go, key, recipient, go.due.template.value, rendered_hash, message, to)


# ---------------------------------------------------------------- intent and end


def _intend(app: App, db: Connection, claim: Claim, ready: Ready) -> None:
    """Write down what is about to be sent.

    Refused, as Lost, if the case changed or a stop stands; as Suppressed, if this person gets nothing any more; as
    Postponed, if he had enough of us for now.
    """
    store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
    if because := _refusal(app, db, claim, ready):
        raise Suppressed(because)
    if later := too_often(db, claim, ready.go, ready.recipient, app.now()):
        raise Postponed(later)
    outbox.intend(db, claim, live_case=True, states=ready.go.states)
    if ready.go.merges:
        stands_for = {**claim.detail, MERGES: list(ready.go.merges)}
        db.execute(update(action).where(outbox.mine(claim)).values(detail=stands_for))
    row = {
        **claim.owner.key,
        "dedup_key": ready.key,
        "invoice": claim.invoice,
        "customer": claim.customer,
        "step": claim.detail["step"],
        "channel": ready.go.due.via.value,
        "recipient_hash": ready.recipient,
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
        set_={name: again.excluded[name] for name in ("rendered_hash", "state", "token", "at", "template")},
        where=notice.c.state == "waiting",
    )
    if db.execute(taken.returning(notice.c.id), row).first() is None:
        raise Suppressed("this address has had this message")


def _refusal(app: App, db: Connection, claim: Claim, ready: Ready) -> str:
    """Why this person may not be written to, as of this transaction; empty when he may."""
    match ready.go.due.via:
        case Via.SMS:
            permit = phone_of(db, app.settings, claim.owner, claim.customer)
            if isinstance(permit, Refused):
                return permit.because
            return "" if permit.to == ready.message.to else "the customer's number changed"
        case Via.EMAIL if ready.to:
            mailbox = suppression.mailbox_of(app.settings, ready.to)
            return suppression.refusal(db, app.settings, mailbox, ready.go.due.template)
        case _:
            return ""


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
    reached = outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN)
    team = reached and claim.detail.get("channel") == Via.CHAT
    try:
        with app.db.begin() as db:
            store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
            outbox.finish(db, claim, f"{outcome}: {because}", now)
            ended = [_ended(claim, claim.invoice or "", step, TO_TEAM if team else str(outcome), now)]
            if outcome != SKIPPED:
                _mark(db, claim, str(outcome), because, now)
            if reached:
                also = MERGED if outcome == Outcome.ACCEPTED else str(outcome)
                ended += [_ended(claim, *merged, also, now) for merged in end_merged(db, claim, now)]
            absorb(app, db, claim.owner, ended)
    except Lost:
        return "another worker has this"
    crash.point("M6")
    metrics.NOTICES.labels(str(outcome)).inc()
    log.info("notice_ended", invoice=claim.invoice, step=step, outcome=str(outcome), because=because)
    return str(outcome)


def _ended(claim: Claim, invoice: str, step: str, outcome: str, now: datetime) -> Event:
    return Event(
        f"reprieve:notice:{invoice}:{step}:{outcome}",
        "reprieve.notice_ended",
        now,
        claim.owner.account,
        claim.owner.livemode,
        NoticeEnded(invoice, step, outcome),
        customer=claim.customer,
    )


def _mark(db: Connection, claim: Claim, state: str, because: str, finished: datetime | None) -> None:
    mine = claim.owner.of(notice) & (notice.c.invoice == claim.invoice) & (notice.c.step == claim.detail["step"])
    db.execute(
        update(notice)
        .where(mine, notice.c.state == "handing_over")
        .values(state=state, because=because, finished_at=finished)
    )


def _later(app: App, claim: Claim, because: str, until: datetime | None = None) -> str:
    now = app.now()
    wait = until - now if until and until > now else WAIT
    try:
        with app.db.begin() as db:
            outbox.postpone(db, claim, wait, because, now)
    except Lost:
        return "another worker has this"
    return because


def _wait_for(app: App, claim: Claim, ready: Ready, later: Later) -> str:
    """Not lost, unless what it says would come too late."""
    if ready.go.due.template in ASKING and later.until >= ready.go.case.deadline:
        return _end(app, claim, SKIPPED, f"{later.because}, and the recovery window ends before the next may go out")
    return _later(app, claim, later.because, later.until)


def _taken_back(app: App, claim: Claim, because: str) -> str:
    """Nothing asks for it now: it did not end, and is planned again when something asks for it."""
    try:
        with app.db.begin() as db:
            outbox.finish(db, claim, f"taken back: {because}", app.now(), "cancelled")
    except Lost:
        return "another worker has this"
    log.info("notice_taken_back", invoice=claim.invoice, step=claim.detail["step"], because=because)
    return because
