"""What a customer wrote on the recovery page, handed to the team's mailbox at most once, then forgotten here."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from datetime import timedelta
from html import escape

from sqlalchemy import Row, select, update

from billing.notices import address
from billing.notices.compose import INVISIBLE, JOINERS
from config.settings import Settings
from worker import outbox
from worker.app import App
from worker.channels import Message, Outcome
from worker.link_tables import customer_word
from worker.outbox import Claim, Lost
from worker.tables import action

LONGEST = 1_000  # characters
WAIT = timedelta(minutes=5)
GIVE_UP = 12 * 24  # tries: a day
_CARD_NUMBER = re.compile(r"\d(?:[ -]?\d){12,18}")


def team_of(settings: Settings) -> address.Address | None:
    """Where customers' words go: the support mailbox, else the first reader of the digest."""
    found = settings.support_email or next(iter(settings.digest_to), None)
    return address.parse(found) if found else None


def tidy(words: str) -> str:
    """The words without anything invisible but line ends, and without what looks like the number of a card."""
    lines = words.replace("\r\n", "\n").replace("\r", "\n")
    kept = "".join(c for c in lines if c == "\n" or c in JOINERS or unicodedata.category(c) not in INVISIBLE)
    return _CARD_NUMBER.sub("[number removed]", re.sub(r"\n{3,}", "\n\n", kept).strip())


def perform(app: App, claim: Claim) -> str:
    """Send the words that this action names; returns what became of them."""
    to, channel = team_of(app.settings), app.channels.get("email")
    with app.db.read() as db:
        row = db.execute(select(customer_word).where(customer_word.c.id == int(claim.detail["word"]))).first()
    if claim.sending:
        return _finish(app, claim, "unknown: the process ended while the message was handed over")
    if row is None or to is None or channel is None:
        return _finish(app, claim, "there is nobody to send it to")
    message = _message(claim, row, to, address.parse(app.settings.mail_from).domain)
    with app.db.begin() as db:
        outbox.intend(db, claim, live_case=False)
    app.db.outside_transaction("handing a message over")
    handed = channel.send(message)
    if handed.outcome is Outcome.LATER and claim.tries < GIVE_UP:
        with app.db.begin() as db:
            outbox.hold(db, claim)
            db.execute(update(action).where(outbox.mine(claim)).values(state="claimed"))
            outbox.postpone(db, claim, WAIT, handed.because, app.now())
        return handed.because
    return _finish(app, claim, f"{handed.outcome}: {handed.because}", forget=handed.outcome is Outcome.ACCEPTED)


def _finish(app: App, claim: Claim, outcome: str, forget: bool = False) -> str:
    """End the action; what the team has in its mailbox is not kept a second time, what it has not is."""
    try:
        with app.db.begin() as db:
            outbox.finish(db, claim, outcome, app.now(), "done" if forget else "stuck")
            if forget:
                word = customer_word.c.id == int(claim.detail["word"])
                db.execute(update(customer_word).where(word).values(words=""))
    except Lost:
        return "another worker has this"
    return outcome


def _message(claim: Claim, row: Row[tuple[object, ...]], to: address.Address, domain: str) -> Message:
    """Plain text from a stranger: escaped, and nothing of it in a header."""
    world = "" if claim.owner.livemode else " (test mode)"
    head = f"Customer {row.customer}{world} wrote on the recovery page at {row.at:%Y-%m-%d %H:%M} UTC:"
    foot = "To answer, look the customer up in Stripe: this message does not carry the address."
    return Message(
        id=f"<{hashlib.sha256(claim.key.encode()).hexdigest()[:32]}@{domain}>",
        to=str(to),
        to_name=None,
        subject=f"A customer wrote: {row.customer}{world}",
        text=f"{head}\n\n{row.words}\n\n{foot}\n",
        html=f'<p>{escape(head)}</p><p style="white-space:pre-wrap">{escape(row.words)}</p><p>{escape(foot)}</p>',
        headers=(("X-Reprieve-Step", "talk"),),
    )
