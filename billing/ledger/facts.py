"""What we learned from one event, kept for ever: the ledger's only memory.

Raw payloads are erased after a while; a fact holds everything that a later reading of them could need, and nothing
about a person (no name, address or link). Facts are appended, never changed; `interpret` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from billing.actions import KEY_PREFIX
from billing.events import occurrences as seen
from billing.events.occurrences import Card, Event, Invoice, What
from billing.ledger import codec


class Origin(StrEnum):
    """Whose request made Stripe do it."""

    OURS = "ours"
    AUTOMATIC = "automatic"  # nobody's: Stripe's own schedule
    REQUEST = "request"  # somebody else's: the company, or the customer through a Stripe page


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing we know. `source` is unique: delivered again, an event yields facts with the same sources."""

    source: str
    customer: str
    at: datetime
    kind: str  # the name of what happened
    what: What
    origin: Origin
    recorded_at: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "v": 1,
            "source": self.source,
            "customer": self.customer,
            "at": codec.encode(self.at),
            "kind": self.kind,
            "what": codec.encode(self.what),
            "origin": self.origin.value,
            **({"recorded_at": codec.encode(self.recorded_at)} if self.recorded_at else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Fact:
        """Raises KeyError for a kind or column that this version does not know, TypeError for a damaged `what`."""
        recorded_at = value.get("recorded_at")
        return cls(
            source=value["source"],
            customer=value["customer"],
            at=datetime.fromisoformat(value["at"]),
            kind=value["kind"],
            what=codec.decode(KINDS[value["kind"]], value["what"]),
            origin=Origin(value["origin"]),
            recorded_at=datetime.fromisoformat(recorded_at) if recorded_at else None,
        )


KINDS: dict[str, type[What]] = {
    kind.__name__: kind
    for kind in (
        seen.SubscriptionSeen,
        seen.InvoiceFailed,
        seen.InvoicePaid,
        seen.InvoiceVoided,
        seen.InvoiceUncollectible,
        seen.InvoicePaymentPaid,
        seen.InvoiceRead,
        seen.DiscountSeen,
        seen.ChargeRefunded,
        seen.ChargeDisputed,
        seen.PaymentMethodSeen,
        seen.AttemptAnswered,
        seen.DeadlinePassed,
        seen.NoticeEnded,
    )
}


def facts_of(event: Event, recorded_at: datetime | None = None, customer: str | None = None) -> tuple[Fact, ...]:
    """What an event teaches the ledger; nothing when it says nothing lasting or concerns nobody we know.

    `customer` is whom the store knows the invoice or charge to belong to, for the events that do not say it
    themselves (`invoice_payment.paid`, disputes, our own).
    """
    kind = type(event.what).__name__
    whom = event.customer or _customer(event.what) or customer
    if kind not in KINDS or whom is None:
        return ()
    source = f"{event.snapshot_id or event.id}:{kind}"  # a thin event and its snapshot twin are one
    return (Fact(source, whom, event.at, kind, _anonymous(event.what), _origin(event), recorded_at),)


def _origin(event: Event) -> Origin:
    if event.caused_by and event.caused_by.startswith(KEY_PREFIX):
        return Origin.OURS
    if event.type.startswith("reprieve."):
        return Origin.OURS
    return Origin.REQUEST if event.caused_by else Origin.AUTOMATIC


def _customer(what: What) -> str | None:
    match what:
        case seen.SubscriptionSeen(subscription=thing):
            return thing.customer
        case seen.InvoiceFailed(invoice=thing) | seen.InvoicePaid(invoice=thing) | seen.InvoiceRead(invoice=thing):
            return thing.customer
        case seen.InvoiceVoided(invoice=thing) | seen.InvoiceUncollectible(invoice=thing):
            return thing.customer
        case seen.ChargeRefunded() | seen.ChargeDisputed() | seen.DiscountSeen():
            return what.customer
        case seen.PaymentMethodSeen(method=thing):
            return thing.customer
        case _:
            return None


def _anonymous(what: What) -> What:
    """Without what names or reaches a person, so that erasing a customer never has to touch the ledger."""
    match what:
        case seen.InvoiceFailed() | seen.InvoicePaid() | seen.InvoiceVoided() | seen.InvoiceUncollectible():
            return replace(what, invoice=_plain_invoice(what.invoice))
        case seen.InvoiceRead():
            return replace(what, invoice=_plain_invoice(what.invoice), card=_plain_card(what.card))
        case seen.AttemptAnswered():
            return replace(what, card=_plain_card(what.card))
        case seen.PaymentMethodSeen():
            return replace(what, method=replace(what.method, card=_plain_card(what.method.card)))
        case _:
            return what


def _plain_invoice(invoice: Invoice) -> Invoice:
    return replace(invoice, hosted_invoice_url=None, customer_email=None, customer_name=None)


def _plain_card(card: Card | None) -> Card | None:
    return card and Card(brand=card.brand, country=card.country, funding=card.funding)
