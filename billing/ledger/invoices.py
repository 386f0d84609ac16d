"""What became of each invoice, over all facts of a customer: the interpreter looks here before it names an event.

Stripe tells one change in several events that may differ by a second or arrive in any order; the story of an invoice
is the same whichever came first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from billing.events import occurrences as seen
from billing.events.occurrences import Answer
from billing.events.snapshots import Invoice
from billing.ledger.facts import Fact, Origin


@dataclass(slots=True)
class Story:
    """One invoice. Instants are the first of their kind; amounts in minor units of its currency."""

    id: str
    subscription: str | None = None
    billing_reason: str | None = None
    failed_at: datetime | None = None
    paid_at: datetime | None = None
    paid_fact: Fact | None = None
    paid: int = 0
    out_of_band: bool = False
    given_up_at: datetime | None = None  # voided or written off
    given_up_by: Fact | None = None
    our_success: Fact | None = None
    payments: set[str] = field(default_factory=set)  # charges and payment intents that paid it


@dataclass(frozen=True, slots=True)
class Hints:
    """What may explain a payment: instants at which a card was replaced by the networks, or a message was taken."""

    card_updates: tuple[datetime, ...]
    messages: dict[str, datetime]  # by invoice, the first accepted one


def stories(facts: Iterable[Fact]) -> dict[str, Story]:
    """By invoice id; facts come in the order of their time."""
    told: dict[str, Story] = {}
    for fact in facts:
        match fact.what:
            case seen.InvoiceFailed(invoice=invoice):
                story = _about(told, invoice)
                story.failed_at = story.failed_at or fact.at
            case seen.InvoicePaid(invoice=invoice):
                _paid(_about(told, invoice), invoice, fact)
            case seen.InvoiceVoided(invoice=invoice) | seen.InvoiceUncollectible(invoice=invoice):
                story = _about(told, invoice)
                if story.given_up_at is None:
                    story.given_up_at, story.given_up_by = fact.at, fact
            case seen.InvoiceRead(invoice=invoice):
                story = _about(told, invoice)
                if invoice.status == "paid":
                    _paid(story, invoice, fact)
            case seen.InvoicePaymentPaid() as paid:
                story = told.setdefault(paid.invoice, Story(paid.invoice))
                story.out_of_band |= paid.outside_stripe
                story.payments |= {each for each in (paid.payment_intent, paid.charge) if each}
            case seen.AttemptAnswered(answer=Answer.PAID) as answered:
                story = told.setdefault(answered.invoice, Story(answered.invoice))
                story.our_success = story.our_success or fact
                story.payments |= {answered.charge} if answered.charge else set()
            case _:
                pass
    for story in told.values():
        if story.paid_at is None and story.our_success is not None:  # Stripe answered us and its event never came
            story.paid_at, story.paid_fact = story.our_success.at, story.our_success
    return told


def source_of(story: Story, hints: Hints) -> str | None:
    """Who brought the money, by a fixed priority; None while it is unpaid."""
    if story.paid_at is None or story.paid_fact is None:
        return None
    failed_at = story.failed_at or story.paid_at
    if story.our_success or story.paid_fact.origin is Origin.OURS:
        return "our_retry"
    if story.out_of_band:
        return "outside_stripe"
    if story.paid_fact.origin is Origin.AUTOMATIC:
        updated = any(failed_at <= at <= story.paid_at for at in hints.card_updates)
        return "card_updater" if updated else "stripe_retry"
    told_at = hints.messages.get(story.id)
    return "our_message" if told_at and told_at <= story.paid_at else "customer"


def hints_in(facts: Iterable[Fact]) -> Hints:
    updates: list[datetime] = []
    messages: dict[str, datetime] = {}
    for fact in facts:
        match fact.what:
            case seen.PaymentMethodSeen(change="automatically_updated"):
                updates.append(fact.at)
            case seen.NoticeEnded(invoice=invoice, outcome="accepted"):
                messages.setdefault(invoice, fact.at)
            case _:
                pass
    return Hints(tuple(updates), messages)


def _about(told: dict[str, Story], invoice: Invoice) -> Story:
    story = told.setdefault(invoice.id, Story(invoice.id))
    story.subscription = story.subscription or invoice.subscription
    story.billing_reason = story.billing_reason or invoice.billing_reason
    story.out_of_band |= invoice.paid_out_of_band
    story.payments |= {each for each in (invoice.payment_intent, invoice.charge) if each}
    return story


def _paid(story: Story, invoice: Invoice, fact: Fact) -> None:
    if story.paid_at is None:
        story.paid_at, story.paid_fact = fact.at, fact
        story.paid = invoice.paid.minor or invoice.due.minor
