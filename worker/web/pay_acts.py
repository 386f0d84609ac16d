"""What a customer can do on the recovery page. Nothing here asks for money: Stripe's own pages do, and our retries.

Every act is safe to be made twice: a page of Stripe's is opened again, a day is noted once, a message is sent once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from sqlalchemy import func, insert, select

from billing.actions import Action, Kind, talk_key
from billing.case import RecoveryCase
from billing.events.occurrences import Event, InvoiceRead, Promised
from billing.notices.compose import STRIPE_HOSTS, Links, safe_link
from billing.retry.last_look import PAYABLE
from worker import links, queue_marks, store, talk
from worker.absorb import absorb
from worker.app import App
from worker.link_tables import customer_word
from worker.links import Link
from worker.stripe_gateway import Gateway, StripeAway, StripeMissing, StripeRefused, dated
from worker.tables import audit
from worker.web.pay_view import Standing

MOST_READ = 10  # invoices that are read before the payment method is asked for
MOST_WORDS_A_DAY = 5


@dataclass(frozen=True, slots=True)
class Done:
    """Where to go, or what to say on the page."""

    said: str = ""
    url: str = ""


def act(app: App, link: Link, now_stands: Standing, form: Mapping[str, str], back: str, language: str) -> Done:
    """Do what the button says; an unknown button does nothing."""
    with app.db.begin() as db:
        links.used(db, link, app.now())
    match form.get("act"):
        case "update":
            return _update(app, link, now_stands, back, language)
        case "pay":
            return _pay(app, link, now_stands, form.get("invoice", ""))
        case "promise":
            return _promise(app, link, now_stands, form.get("day", ""))
        case "talk":
            return _talk(app, link, form.get("words", ""))
        case _:
            return Done()


# ---------------------------------------------------------------- to Stripe


def _update(app: App, link: Link, stands: Standing, back: str, language: str) -> Done:
    """To the portal, where a new payment method becomes the customer's default; not when nothing is open any more."""
    gateway = app.stripe.of(link.owner.account, link.owner.livemode)
    if gateway is None or not stands.live:
        return Done("away" if stands.live else "settled")
    try:
        seen = [_read(app, gateway, link, case) for case in stands.live[:MOST_READ]]
        if not any(read.invoice.status == "open" and not read.processing for read in seen):
            return Done("settled")
        url = gateway.portal(link.customer, back, language)
    except (StripeAway, StripeMissing, StripeRefused):
        return Done("away")
    return _to_stripe(app, url)


def _pay(app: App, link: Link, stands: Standing, invoice: str) -> Done:
    """To Stripe's page of one invoice of this customer, if it is still to be paid."""
    case = next((case for case in stands.owed if case.invoice == invoice), None)
    gateway = app.stripe.of(link.owner.account, link.owner.livemode)
    if case is None or gateway is None:
        return Done("away" if case else "settled")
    try:
        seen = _read(app, gateway, link, case)
    except (StripeAway, StripeMissing, StripeRefused):
        return Done("away")
    if seen.invoice.status not in PAYABLE or seen.processing or seen.invoice.customer != link.customer:
        return Done("settled")
    return _to_stripe(app, seen.invoice.hosted_invoice_url)


def _read(app: App, gateway: Gateway, link: Link, case: RecoveryCase) -> InvoiceRead:
    """The invoice as Stripe has it now; the case learns what it shows."""
    looked = dated(app.now())
    seen = gateway.read(case.invoice)
    event = Event(
        f"reprieve:read:page:{link.id}:{case.invoice}:{int(looked.timestamp())}",
        "reprieve.invoice_read",
        looked,
        link.owner.account,
        link.owner.livemode,
        seen,
        customer=link.customer,
    )
    with app.db.begin() as db:
        absorb(app, db, link.owner, [event])
    return seen


def _to_stripe(app: App, url: str | None) -> Done:
    safe = safe_link(url, Links(STRIPE_HOSTS, app.settings.stripe_api_base))
    return Done(url=safe) if safe else Done("away")


# ---------------------------------------------------------------- to us


def _promise(app: App, link: Link, stands: Standing, named: str) -> Done:
    """Note the day for every open invoice: until it has passed nothing is sent and nothing is tried."""
    latest, now = stands.latest_day(), app.now()
    try:
        chosen = date.fromisoformat(named)
    except ValueError:
        return Done("promise_bad")
    if latest is None or not now.astimezone(stands.zone).date() <= chosen <= latest:
        return Done("promise_bad")
    until = datetime.combine(chosen + timedelta(days=1), time(), stands.zone)
    new = [case for case in stands.live if case.promised_until != until]
    if new:
        with app.db.begin() as db:
            absorb(app, db, link.owner, [_promised(link, case, until, now) for case in new])
            words = {"actor": "customer", "what": "promise", "because": f"promised for {chosen}"}
            db.execute(insert(audit), [{**link.owner.key, **words, "object": case.invoice, "at": now} for case in new])
    return Done("promise_done")


def _promised(link: Link, case: RecoveryCase, until: datetime, now: datetime) -> Event:
    return Event(
        f"reprieve:promise:{case.invoice}:{int(now.timestamp())}",
        "reprieve.promised",
        now,
        link.owner.account,
        link.owner.livemode,
        Promised(case.invoice, until.astimezone(now.tzinfo)),
        customer=link.customer,
    )


def _talk(app: App, link: Link, words: str) -> Done:
    """Put the customer's words into the outbox, for the team."""
    text, now = talk.tidy(words), app.now()
    if not text or len(text) > talk.LONGEST or talk.team_of(app.settings) is None:
        return Done("talk_bad")
    key = hashlib.sha256(f"{link.id}:{text}".encode()).hexdigest()[:32]
    row = {**link.owner.key, "customer": link.customer, "key": key, "words": text, "at": now}
    mine = link.owner.of(customer_word) & (customer_word.c.customer == link.customer)
    with app.db.begin() as db:
        store.lock(db, link.owner, [link.customer])
        today = customer_word.c.at > now - timedelta(days=1)
        if (db.scalar(select(func.count()).select_from(customer_word).where(mine, today)) or 0) >= MOST_WORDS_A_DAY:
            return Done("busy_text")
        kept = store.insert(db, customer_word).on_conflict_do_nothing().returning(customer_word.c.id)
        number = db.scalar(kept, row)
        if number is not None:
            because = "a customer wrote to the team on the recovery page"
            asked = Action(talk_key(key), Kind.TALK, now, because, customer=link.customer, detail={"word": number})
            store.add_actions(db, link.owner, [asked], now)
            queue_marks.mark_customer(db, link.owner, link.customer, now)
    app.bell.ring("actions")
    return Done("talk_done")
