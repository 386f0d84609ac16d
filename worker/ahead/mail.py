"""One warning: read what is true now, draw the arm, and tell the customer or nobody.

    claim -> read the subscription -> judge again -> compose -> draw the arm + intent -> hand over -> finish

The arm is drawn last, when nothing else speaks against the message: so both arms hold the same kind of customers. It is
written down in the transaction of the intent, before anything leaves the house. The hand-over itself is that of
`worker/notify.py`: at most once, and unknown where only the mail server knows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection, func, literal, select, update

from billing.ahead.experiment import Arm, arm_of
from billing.ahead.reading import EXPAND, RenewalRead, renewal_read
from billing.ahead.renewal import Standing, renewal_of
from billing.ahead.rules import Due, awake, due, send_at
from billing.events import Unreadable
from billing.events.reading import Reader
from billing.money import Amount
from billing.notices import address
from billing.notices.compose import Ahead, Habits, Notice, Person, Skip, compose, message_id
from billing.notices.language import zone_of
from billing.notices.sequence import Step
from billing.policy import Policy
from worker import crash, handover, links, metrics, outbox, store, suppression, volume
from worker.ahead import known, plan
from worker.ahead_tables import ahead_assignment, ahead_warning
from worker.app import App
from worker.channels import Handed, Message, Outcome
from worker.channels.once import once
from worker.columns import Instant
from worker.outbox import Claim, Lost
from worker.rendering import TemplateBroken, message_of
from worker.stripe_gateway import Gateway, StripeAway, StripeMissing, StripeRefused, dated
from worker.stripe_sends import already_sent_by_stripe
from worker.tables import customer

log = structlog.get_logger(__name__)

GIVE_UP = timedelta(hours=24)  # a server that will not take a message for a day has refused it
WAIT = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A message that only has to be handed over."""

    key: str
    mailbox: str
    template: str
    rendered_hash: str
    message: Message
    to: address.Address


class _Withdrawn(Exception):
    """What was planned is not true any more; the message says why."""


class _Spared(Exception):
    """This customer is not written to now; the message says why."""


class _Asleep(Exception):
    """It is night where the customer lives."""

    def __init__(self, until: datetime) -> None:
        super().__init__("it is night where the customer lives")
        self.until = until


def perform(app: App, claim: Claim) -> str:
    """Bring this warning to its end; returns what became of it."""
    crash.point("A1")
    if claim.sending:
        return _end(app, claim, Outcome.UNKNOWN, "the process ended while the message was handed over")
    policy = app.policies.current(claim.owner.account, claim.owner.livemode)
    try:
        if because := plan.off(app, claim.owner):
            raise _Withdrawn(because)
        ready = _prepare(app, claim, policy)
        crash.point("A2")
        if because := volume.full(app, claim.owner):
            return _later(app, claim, because, WAIT)
        with app.db.begin() as db:
            arm = _draw(app, db, claim, policy, ready)
    except (StripeAway, StripeRefused, TemplateBroken, Unreadable) as error:
        log.warning("warning_waits", because=str(error))
        return _later(app, claim, str(error), WAIT)
    except _Asleep as night:
        return _later(app, claim, str(night), night.until - app.now())
    except (_Withdrawn, StripeMissing) as error:
        return _end(app, claim, "withdrawn", str(error))
    except _Spared as error:
        return _end(app, claim, "skipped", str(error))
    except Lost:
        return _later(app, claim, "stopped before the message was sent", WAIT)
    crash.point("A3")
    if arm is Arm.CONTROL:
        return arm
    app.db.outside_transaction("handing a message over")
    handed = app.channels[plan.CHANNEL].send(ready.message)
    crash.point("A5")
    return _handed(app, claim, handed)


# ---------------------------------------------------------------- what is true now


def _prepare(app: App, claim: Claim, policy: Policy) -> _Ready:
    """Judge by what Stripe says now, and put it into words. Raises _Withdrawn and _Spared."""
    gateway = app.stripe.of(claim.owner.account, claim.owner.livemode)
    if gateway is None:
        raise _Withdrawn("no Stripe key is configured")
    step, subscription = Step(str(claim.detail["step"])), str(claim.detail["subscription"])
    looked = dated(app.now())
    expand = "&".join(f"expand[]={path}" for path in EXPAND)
    thing = gateway.fetch(f"/v1/subscriptions/{subscription}?{expand}")
    seen = renewal_read(thing)
    stands = _judged(claim, policy, step, seen, app.now())
    amount = _asked(gateway, subscription)
    with app.db.begin() as db:
        store.lock(db, claim.owner, [stands.renewal.customer])
        known.read(db, claim.owner, [thing], looked)
        _note(db, claim, stands, amount)
        if because := _against(app, db, claim, policy, step):
            raise _Spared(because)
        person = _person(db, claim, seen)
        zone = zone_of(person.country, ZoneInfo(app.settings.reporting_timezone))
        if not awake(app.now(), zone):
            raise _Asleep(send_at(app.now(), policy.ahead.hour, zone))
        link = links.for_customer(
            db, app.settings, claim.owner, claim.customer, claim.key, app.now(), path=links.METHOD_PATH
        )
    composed = compose(
        step,
        Ahead(amount, stands.renewal.at, known.expires(stands.method)),
        person,
        app.settings.mail_from_name,
        link,
        app.now(),
        links=links.allowed(app.settings),
        card=stands.method.card if stands.method else None,
        habits=Habits(app.settings.default_language, ZoneInfo(app.settings.reporting_timezone)),
    )
    if isinstance(composed, Skip):
        raise _Spared(composed.because)
    return _rendered(app, claim, composed)


def _judged(claim: Claim, policy: Policy, step: Step, seen: RenewalRead, now: datetime) -> Standing:
    """The renewal as it stands, if it still deserves this very warning."""
    if seen.subscription.customer != claim.customer:
        raise _Withdrawn("the subscription belongs to another customer")
    renewal = renewal_of(seen.subscription, now)
    if renewal is None:
        raise _Withdrawn("nothing will be charged by itself any more")
    stands = Standing(renewal, seen.method)
    judged = due(step, stands, policy.ahead, now)
    if not isinstance(judged, Due):
        raise _Withdrawn(judged.because)
    if judged.subject != claim.detail["subject"]:
        raise _Withdrawn(f"something else is to be warned of by now: {judged.because}")
    if judged.at > now + plan.LOOK_AHEAD:
        raise _Withdrawn(f"it is not time yet: {judged.because}")
    return stands


def _asked(gateway: Gateway, subscription: str) -> Amount:
    """What the renewal will cost with tax, usage so far and credit: Stripe's own preview of the invoice."""
    shown = Reader(dict(gateway.preview(subscription)))
    amount = Amount(shown.need_minor("amount_due"), shown.unit())
    if amount.minor <= 0:
        raise _Withdrawn("nothing will be charged")
    return amount


def _against(app: App, db: Connection, claim: Claim, policy: Policy, step: Step) -> str:
    """Why this customer hears nothing from us now, in whatever arm; empty when nothing speaks against it."""
    name = claim.customer or ""
    if because := already_sent_by_stripe(app.settings, claim.owner, step):
        return because
    if plan.with_open_case(db, claim.owner, [name]):
        return "a payment of this customer has failed already"
    table = ahead_warning
    lately = table.c.arm_at > app.now() - timedelta(days=policy.ahead.gap_days)
    others = (table.c.step != step.value) | (table.c.subject != claim.detail["subject"])
    mine = claim.owner.of(table) & (table.c.customer == name) & lately & others
    if db.scalar(select(func.count()).select_from(table).where(mine)):
        return f"another warning for this customer was due within {policy.ahead.gap_days} days"
    return ""


def _person(db: Connection, claim: Claim, seen: RenewalRead) -> Person:
    row = db.execute(select(customer).where(claim.owner.of(customer), customer.c.id == claim.customer)).first()
    read = seen.customer
    return Person(
        (read and read.email) or (row.email if row else None),
        (read and read.name) or (row.name if row else None),
        (read and read.locales) or ((row.locale,) if row and row.locale else ()),
        (read and read.country) or (row.country if row else None),
    )


def _rendered(app: App, claim: Claim, composed: Notice) -> _Ready:
    rendered = app.renderer.render(composed)
    mailbox = address.recipient_hash(composed.to)
    key = _dedup(claim) + mailbox
    message = message_of(composed, rendered, message_id(key, address.parse(app.settings.mail_from).domain))
    more = (*suppression.headers(app.settings, composed.to), *once(app.settings.mail_provider, key))
    message = replace(message, headers=(*message.headers, *more))
    return _Ready(key, mailbox, composed.template, rendered.hash, message, composed.to)


def _dedup(claim: Claim) -> str:
    world = "live" if claim.owner.livemode else "test"
    return ":".join(("nt1", claim.owner.account, world, claim.key, plan.CHANNEL, ""))


# ---------------------------------------------------------------- the arm and the intent


def _draw(app: App, db: Connection, claim: Claim, policy: Policy, ready: _Ready) -> Arm:
    """Write down the arm, and for one who is told that the message follows now.

    Raises _Spared when the mailbox gets nothing any more, Lost when a stop stands or another worker has this.
    """
    step, now = Step(str(claim.detail["step"])), app.now()
    store.lock(db, claim.owner, [claim.customer or ""])
    outbox.intend(db, claim, live_case=False)  # a stop holds for both arms
    mailbox = suppression.mailbox_of(app.settings, ready.to)
    if because := suppression.refusal(db, app.settings, mailbox, step):
        raise _Spared(because)
    arm = _assigned(app, db, claim, policy, step)
    first = func.coalesce(ahead_warning.c.arm_at, literal(now, Instant()))
    _set(db, claim, arm=arm.value, arm_at=first, state=arm.value)
    if arm is Arm.CONTROL:
        outbox.finish(db, claim, "control: nothing is sent, to see what the message does", now)
        return arm
    row = {
        "dedup_key": ready.key,
        "customer": claim.customer,
        "step": step.value,
        "channel": plan.CHANNEL,
        "recipient_hash": ready.mailbox,
        "template": ready.template,
        "message_id": ready.message.id,
        "rendered_hash": ready.rendered_hash,
    }
    handover.begin(db, claim, row, now)
    return arm


def _assigned(app: App, db: Connection, claim: Claim, policy: Policy, step: Step) -> Arm:
    """The arm of this customer for this kind: the one that was drawn before, or a new one, which is kept for good."""
    owner, share, who = claim.owner, policy.ahead.of(step).control, claim.customer or ""
    arm = arm_of(app.settings.experiment_seed, owner.account, owner.livemode, step, who, share)
    row = {"step": step.value, "customer": who, "arm": arm.value, "share": f"{share:g}", "policy": policy.id}
    db.execute(store.insert(db, ahead_assignment).on_conflict_do_nothing(), {**owner.key, **row, "at": app.now()})
    table = ahead_assignment
    mine = owner.of(table) & (table.c.step == step.value) & (table.c.customer == who)
    return Arm(db.execute(select(table.c.arm).where(mine)).scalar_one())


# ---------------------------------------------------------------- the end


def _handed(app: App, claim: Claim, handed: Handed) -> str:
    """Book what the channel said; a message that was certainly not taken waits for the next try, for a day."""
    if handed.outcome is not Outcome.LATER:
        return _end(app, claim, handed.outcome, handed.because)
    if claim.tries > GIVE_UP / WAIT:
        return _end(app, claim, Outcome.REJECTED, f"not taken for a day: {handed.because}")
    try:
        with app.db.begin() as db:
            outbox.hold(db, claim)
            handover.mark(db, claim, _dedup(claim), "waiting", handed.because, None)
            outbox.not_sent(db, claim)
            outbox.postpone(db, claim, WAIT, handed.because, app.now())
    except Lost:
        return "another worker has this"
    return handed.because


def _end(app: App, claim: Claim, outcome: str, because: str) -> str:
    """One transaction: the message's end, the action's end and the warning's."""
    now = app.now()
    unsent = outcome in ("withdrawn", "skipped")
    try:
        with app.db.begin() as db:
            store.lock(db, claim.owner, [claim.customer or ""])
            # What was withdrawn may come true again: then the same action waits again.
            state = "cancelled" if outcome == "withdrawn" else "done"
            outbox.finish(db, claim, f"{outcome}: {because}", now, state)
            if unsent:
                _set(db, claim, state=outcome, because=because)
            else:
                handover.mark(db, claim, _dedup(claim), outcome, because, now)
                _set(db, claim, sent=outcome)
    except Lost:
        return "another worker has this"
    crash.point("A6")
    metrics.NOTICES.labels("skipped" if unsent else outcome).inc()
    log.info("warning_ended", key=claim.key, outcome=outcome, because=because)
    return outcome


def _later(app: App, claim: Claim, because: str, wait: timedelta) -> str:
    try:
        with app.db.begin() as db:
            outbox.postpone(db, claim, wait, because, app.now())
    except Lost:
        return "another worker has this"
    return because


def _note(db: Connection, claim: Claim, stands: Standing, amount: Amount) -> None:
    """What the warning is about, as read from Stripe: later changes are held against it."""
    method = stands.method.id if stands.method else None
    money = {"amount": amount.minor, "currency": amount.currency}
    _set(db, claim, renewal_at=stands.renewal.at, method=method, expires=known.expires(stands.method), **money)


def _set(db: Connection, claim: Claim, **values: object) -> None:
    table = ahead_warning
    subject = (table.c.step == claim.detail["step"]) & (table.c.subject == claim.detail["subject"])
    db.execute(update(table).where(claim.owner.of(table), subject).values(**values))
