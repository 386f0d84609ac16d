"""What one event teaches the ledger. The event itself is what is kept (`billing/memory.py`); this is how it is read.

Nothing about a person is in it. Facts are appended, never changed; `interpret` reads them all together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from billing.actions import KEY_PREFIX
from billing.events import occurrences as seen
from billing.events.occurrences import Event, What
from billing.history import BACKFILL, rebuilt
from billing.ledger.sources import STAFF_PREFIX


class Origin(StrEnum):
    """Whose request made Stripe do it."""

    OURS = "ours"
    AUTOMATIC = "automatic"  # nobody's: Stripe's own schedule
    STAFF = "staff"  # the company's: its tools mark their requests with STAFF_PREFIX
    REQUEST = "request"  # somebody else's: the company, or the customer through a Stripe page
    UNKNOWN = "unknown"  # it was before anybody listened, and no object keeps who asked


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
    return (Fact(source, whom, event.at, kind, event.what, _origin(event), recorded_at),)


def _origin(event: Event) -> Origin:
    if event.caused_by and event.caused_by.startswith(KEY_PREFIX):
        return Origin.OURS
    if event.type.startswith("reprieve."):
        return Origin.OURS
    if event.caused_by and event.caused_by.startswith(STAFF_PREFIX):
        return Origin.STAFF
    if rebuilt(event.id) and (event.caused_by or not event.id.startswith(BACKFILL)):
        return Origin.UNKNOWN  # somebody, of whom nothing was kept; a file says nothing of requests
    return Origin.REQUEST if event.asked_by else Origin.AUTOMATIC


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
