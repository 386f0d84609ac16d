"""What became of each invoice, over all facts of a customer: the interpreter looks here before it names an event.

Stripe tells one change in several events that may differ by a second or arrive in any order; the story of an invoice
is the same whichever came first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from billing.events import occurrences as seen
from billing.events.occurrences import Answer
from billing.events.snapshots import Invoice
from billing.ledger.facts import Fact, Origin
from billing.ledger.sources import RecoveredBy


@dataclass(frozen=True, slots=True)
class Usage:
    """What one finalised invoice charged, in minor units by subscription item; which of them are metered, it may
    not say itself."""

    invoice: str
    at: datetime
    charged: tuple[tuple[str, int], ...]


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
    usage: Usage | None = None
    usage_fact: Fact | None = None


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
        _use(told, fact)
    for story in told.values():
        if story.paid_at is None and story.our_success is not None:  # Stripe answered us and its event never came
            story.paid_at, story.paid_fact = story.our_success.at, story.our_success
    return told


@dataclass(frozen=True, slots=True)
class Brought:
    """Who brought the money, None when that cannot be known, and what shows it."""

    source: str | None
    evidence: str


def brought_by(story: Story, hints: Hints) -> Brought | None:
    """One source by a fixed priority, the first that has evidence; None while the invoice is unpaid.

    It names who asked for the payment that came, not why the customer could pay.
    """
    if story.paid_at is None or story.paid_fact is None:
        return None
    paid = story.paid_fact
    if paid.origin is Origin.UNKNOWN and story.our_success is None and not story.out_of_band:
        return Brought(None, "paid before anybody listened: who asked for it is not known")
    return next(Brought(source.value, shown) for source, look in SOURCES if (shown := look(story, paid, hints)))


def _our_retry(story: Story, paid: Fact, hints: Hints) -> str | None:
    if paid.origin is Origin.OURS:
        return "the payment carries the key of our attempt"
    return f"our attempt was answered paid at {story.our_success.at:%Y-%m-%d %H:%M}" if story.our_success else None


def _outside(story: Story, paid: Fact, hints: Hints) -> str | None:
    return "marked as paid outside Stripe" if story.out_of_band else None


def _staff(story: Story, paid: Fact, hints: Hints) -> str | None:
    return "asked for by the company's own tools" if paid.origin is Origin.STAFF else None


def _updater(story: Story, paid: Fact, hints: Hints) -> str | None:
    failed_at = story.failed_at or paid.at
    updates = [at for at in hints.card_updates if failed_at <= at <= (story.paid_at or paid.at)]
    if paid.origin is not Origin.AUTOMATIC or not updates:
        return None
    return f"the network replaced the card at {max(updates):%Y-%m-%d %H:%M}, then Stripe's schedule charged it"


def _stripe_retry(story: Story, paid: Fact, hints: Hints) -> str | None:
    return "nobody's request: Stripe's own schedule" if paid.origin is Origin.AUTOMATIC else None


def _message(story: Story, paid: Fact, hints: Hints) -> str | None:
    told_at = hints.messages.get(story.id)
    if told_at is None or told_at > (story.paid_at or paid.at):
        return None
    return f"paid on request after our message of {told_at:%Y-%m-%d %H:%M}"


def _customer(story: Story, paid: Fact, hints: Hints) -> str | None:
    return "paid on request, and no message of ours had been taken before"


SOURCES: tuple[tuple[RecoveredBy, Callable[[Story, Fact, Hints], str | None]], ...] = (
    (RecoveredBy.OUR_RETRY, _our_retry),
    (RecoveredBy.OUTSIDE_STRIPE, _outside),
    (RecoveredBy.STAFF, _staff),
    (RecoveredBy.CARD_UPDATER, _updater),
    (RecoveredBy.STRIPE_RETRY, _stripe_retry),
    (RecoveredBy.OUR_MESSAGE, _message),
    (RecoveredBy.CUSTOMER, _customer),
)


def hints_in(facts: Iterable[Fact]) -> Hints:
    updates: list[datetime] = []
    messages: dict[str, datetime] = {}
    for fact in facts:
        match fact.what:
            case seen.PaymentMethodSeen(change="automatically_updated"):
                updates.append(fact.at)
            case seen.NoticeEnded(invoice=invoice, outcome="accepted" | "merged"):
                messages.setdefault(invoice, fact.at)
            case _:
                pass
    return Hints(tuple(updates), messages)


def _use(told: dict[str, Story], fact: Fact) -> None:
    """An invoice that asks for money is finalised; the first fact that shows its lines is enough."""
    invoice = getattr(fact.what, "invoice", None)
    if isinstance(invoice, Invoice) and invoice.charged and invoice.status != "draft":
        story = _about(told, invoice)
        if story.usage is None:
            story.usage, story.usage_fact = Usage(invoice.id, invoice.finalized_at or fact.at, invoice.charged), fact


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
