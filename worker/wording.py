"""What one message says, and to which address: gathered from our rows and a reading of the invoice, then written.

An e-mail goes to the address at Stripe or to a contact of the operator's file, an SMS to the number that the customer
agreed to, a chat message to the team's own rooms.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from billing.actions import Kind
from billing.case import RecoveryCase
from billing.declines import Tell, classify
from billing.events.occurrences import InvoiceRead
from billing.notices import address, sequence
from billing.notices.compose import Habits, Links, Notice, Person, Skip, clean, compose, dedup_key, message_id
from billing.notices.language import zone_of
from billing.notices.sequence import Step, Via
from worker import links, people, suppression
from worker.app import App
from worker.channels import Message
from worker.channels.once import once
from worker.consent import Refused, phone_of
from worker.outbox import Claim
from worker.rendering import message_of
from worker.standing import Go
from worker.tables import action, customer
from worker.templates import short
from worker.templates.figures import money

MOMENT = timedelta(seconds=1)  # a promised day ends where the next one begins
NOBODY = Person("nobody@localhost")  # an SMS and a chat message are written like an e-mail, and need no mailbox


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that goes into one message. `number` is of an SMS."""

    person: Person
    seen: InvoiceRead | None
    ours: str | None
    next_try: datetime | None
    number: str | None = None


def material(app: App, db: Connection, claim: Claim, go: Go, seen: InvoiceRead | None) -> Material | Skip:
    """What the message is made of; Skip when there is nobody to write to."""
    at_stripe = _person(db, claim, seen)
    person, number = at_stripe, None
    if go.due.to:
        found = people.contact(app.settings, claim.customer, go.due.to)
        if found is None:
            return Skip("this contact is not in the file of contacts any more")
        person = replace(found, country=at_stripe.country, locales=found.locales or at_stripe.locales)
    elif go.due.via is Via.SMS:
        permit = phone_of(db, app.settings, claim.owner, claim.customer)
        if isinstance(permit, Refused):
            return Skip(permit.because)
        person, number = replace(at_stripe, email=NOBODY.email), permit.to
    elif go.due.via is Via.CHAT:
        person = replace(at_stripe, email=NOBODY.email, locales=("en",))
    ours = _link(app, db, claim, go.case) if go.due.template is not Step.RECOVERED else None
    return Material(person, seen, ours, _next_try(db, claim), number)


def composed(app: App, go: Go, of: Material) -> Notice | Skip:
    case = go.case
    stripes = of.seen.invoice.hosted_invoice_url if of.seen else None
    habits = Habits(app.settings.default_language, ZoneInfo(app.settings.reporting_timezone))
    zone = zone_of(of.person.country, habits.zone)
    promised = (case.promised_until - MOMENT).astimezone(zone).date() if case.promised_until else None
    return compose(
        go.due.template,
        case,
        of.person,
        app.settings.mail_from_name,
        of.ours or stripes,
        app.now(),
        links=links.allowed(app.settings) if of.ours else Links(stand_in=app.settings.stripe_api_base),
        card=of.seen.card if of.seen else None,
        tell=_tell(app, case),
        next_try=of.next_try or case.stripe_next_attempt,
        others=go.others,
        promised_on=promised,
        habits=habits,
    )


def written(app: App, go: Go, of: Material, notice: Notice) -> tuple[Message, str, str, str] | Skip:
    """The message, the hash of its words, what stands for its recipient, and its key. Raises TemplateBroken."""
    domain = address.parse(app.settings.mail_from).domain
    step = go.due.step.partition(":")[0]
    recipient = _recipient(app, go, of, notice)
    key = dedup_key(go.case, step, go.due.via.value, recipient)
    if go.due.via is Via.CHAT:
        told = _for_team(go, notice, message_id(key, domain))
        return told, hashlib.sha256(told.text.encode()).hexdigest(), recipient, key
    rendered = app.renderer.render(notice)
    if go.due.via is Via.SMS:
        answers = app.settings.twilio_auth_token is not None or app.settings.sms_hook_secret is not None
        try:
            sms = short.message(notice, rendered, of.number or "", message_id(key, domain), answers)
        except short.TooLong as error:
            return Skip(str(error))
        return sms, rendered.hash, recipient, key
    mail = message_of(notice, rendered, message_id(key, domain))
    more = (*suppression.headers(app.settings, notice.to), *once(app.settings.mail_provider, key))
    return replace(mail, headers=(*mail.headers, *more)), rendered.hash, recipient, key


def _recipient(app: App, go: Go, of: Material, notice: Notice) -> str:
    match go.due.via:
        case Via.SMS:
            key = suppression.key_of(app.settings, "number")
            return hmac.digest(key, (of.number or "").encode(), "sha256").hex()[:32]
        case Via.CHAT:
            return "team"
        case _:
            return address.recipient_hash(notice.to)


def _for_team(go: Go, notice: Notice, id: str) -> Message:
    """For people of the company: ids and figures, nothing personal."""
    case, template = go.case, go.due.template
    owed = money(int(notice.context["amount"]), str(notice.context["currency"]), "en")
    world = "" if case.livemode else " (test mode)"
    lines = [
        f"Customer {case.customer}, invoice {clean(case.number) or case.invoice}, {owed}{world}: {case.state}.",
        f"{go.due.step.partition(':')[0]}: {sequence.SENTENCES[template]}",
        f"Failed {case.failed_at:%Y-%m-%d}, the window ends {case.deadline:%Y-%m-%d}. {case.because}",
    ]
    return Message(id, "team", None, f"{owed} open: {case.customer}{world}", "\n".join(lines), "")


def _person(db: Connection, claim: Claim, seen: InvoiceRead | None) -> Person:
    """Whom to write to: what the invoice says now, else what we last saw of the customer."""
    row = db.execute(select(customer).where(claim.owner.of(customer), customer.c.id == claim.customer)).first()
    return Person(
        (seen and seen.invoice.customer_email) or (row.email if row else None),
        (seen and seen.invoice.customer_name) or (row.name if row else None),
        (row.locale,) if row and row.locale else (),
        row.country if row else None,
    )


def _link(app: App, db: Connection, claim: Claim, case: RecoveryCase) -> str | None:
    """Our own page for this customer and message; without it the message leads to Stripe's page of the invoice."""
    return links.for_customer(db, app.settings, claim.owner, case.customer, claim.key, app.now())


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
