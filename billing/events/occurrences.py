"""What happened, in the past tense and in one shape, whatever API version Stripe spoke.

`Event` is the envelope; `Event.what` is one of the occurrences below, each holding a snapshot of the Stripe object
it is about. `stripe_payload.py` (envelopes and types) with `stripe_objects.py` (the objects in them) are the only
places that know payload shapes and make these values; `billing/decide.py` and `billing/ledger/facts.py` are the two
that read them. Internal occurrences (an attempt was answered, an invoice was read, a deadline passed) go through the
same door, so that every change of a case is a decision with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from billing.events.asked import Asked
from billing.events.snapshots import (
    Card,
    Charge,
    Customer,
    Decline,
    Discount,
    Invoice,
    Item,
    PaymentIntent,
    PaymentMethod,
    Subscription,
)
from billing.money import Amount

# ---------------------------------------------------------------- occurrences told by Stripe


@dataclass(frozen=True, slots=True)
class InvoiceFailed:
    """invoice.payment_failed, .payment_action_required, .overdue: money was asked for and did not come."""

    invoice: Invoice
    decline: Decline | None = None  # only when the payload carries it (before basil: expanded objects)
    action_required: bool = False


@dataclass(frozen=True, slots=True)
class InvoicePaid:
    """invoice.paid or invoice.payment_succeeded; also out of band and for zero amounts."""

    invoice: Invoice


@dataclass(frozen=True, slots=True)
class InvoiceVoided:
    invoice: Invoice


@dataclass(frozen=True, slots=True)
class InvoiceUncollectible:
    invoice: Invoice
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class InvoiceSeen:
    """Any other invoice event (created, finalized, updated, will_be_due ...): a snapshot, no change of its own."""

    invoice: Invoice


@dataclass(frozen=True, slots=True)
class InvoicePaymentPaid:
    """invoice_payment.paid: links an invoice to what paid it."""

    invoice: str
    payment_intent: str | None
    charge: str | None
    outside_stripe: bool  # a payment_record
    amount: Amount | None


@dataclass(frozen=True, slots=True)
class ChargeFailed:
    charge: Charge


@dataclass(frozen=True, slots=True)
class ChargeSucceeded:
    """charge.succeeded and charge.updated with paid=true."""

    charge: Charge


@dataclass(frozen=True, slots=True)
class ChargeRefunded:
    """charge.refunded: `amount` is all that was ever given back of the charge. refund.*: `amount` is this refund's."""

    charge: str
    payment_intent: str | None
    customer: str | None
    amount: Amount
    refund: str | None = None  # None: the total of the charge
    status: str | None = None  # of the refund: pending, requires_action, succeeded, failed, canceled


@dataclass(frozen=True, slots=True)
class ChargeDisputed:
    """charge.dispute.* and radar.early_fraud_warning.created. `open` is False once it ended in our favour."""

    charge: str
    payment_intent: str | None
    customer: str | None
    status: str | None
    open: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PaymentIntentSeen:
    intent: PaymentIntent


@dataclass(frozen=True, slots=True)
class PaymentMethodSeen:
    """attached, updated, automatically_updated, detached; also a legacy card or source of a customer."""

    method: PaymentMethod
    change: str  # attached, updated, automatically_updated, detached, expiring, set_up


@dataclass(frozen=True, slots=True)
class CustomerSeen:
    customer: Customer
    default_changed: bool = False  # the payload says that another payment method became the customer's default


@dataclass(frozen=True, slots=True)
class SubscriptionSeen:
    """Every customer.subscription.* event: the state after it, and what the payload says it was before."""

    subscription: Subscription
    change: str  # created, updated, deleted, paused, resumed, trial_will_end, active, past_due, unpaid ...
    previous_status: str | None = None
    previous_items: tuple[Item, ...] | None = None


@dataclass(frozen=True, slots=True)
class DiscountSeen:
    """customer.discount.*: on one subscription, or on the whole customer when `subscription` is None."""

    subscription: str | None
    customer: str | None
    discount: Discount | None  # None when the payload names the coupon without its terms (since clover)
    change: str  # created, updated, deleted, source_changed
    discount_id: str | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    """A type that we subscribe to and that changes nothing by itself yet; kept as a fact of the account."""

    object_id: str | None
    customer: str | None


# ---------------------------------------------------------------- occurrences of our own


class Answer(StrEnum):
    """How one payment request ended (reliability.md D10)."""

    PAID = "paid"  # Stripe took the money for this attempt
    DECLINED = "declined"  # the bank said no
    NEEDS_ACTION = "needs_action"  # the customer must authenticate
    PROCESSING = "processing"  # a debit is on its way; wait for an event or a read
    PAID_ELSEWHERE = "paid_elsewhere"  # the invoice was paid by something else
    NOT_PAYABLE = "not_payable"  # void, not editable, no payment method, not found
    NOT_EXECUTED = "not_executed"  # reading shows that the request never took effect
    UNKNOWN = "unknown"  # nobody can say yet


@dataclass(frozen=True, slots=True)
class AttemptAnswered:
    """Our own payment attempt `n` on an invoice ended, or is known to be under way."""

    invoice: str
    n: int
    answer: Answer
    decline: Decline | None = None
    charge: str | None = None
    card: Card | None = None


@dataclass(frozen=True, slots=True)
class InvoiceRead:
    """We read the invoice from Stripe with our own pinned version (last look, or to learn the decline)."""

    invoice: Invoice
    subscription: Subscription | None = None
    decline: Decline | None = None  # of the newest charge
    declined_at: datetime | None = None
    card: Card | None = None
    processing: bool = False  # a payment of this invoice is under way
    disputed: bool = False
    own_method: str | None = None  # what Stripe would take before the customer's default: the invoice's or plan's own
    customer_method: str | None = None  # the customer's default
    method: PaymentMethod | None = None  # what a further payment request would charge
    declined: tuple[Charge, ...] = ()  # the charges of this invoice that a bank declined


@dataclass(frozen=True, slots=True)
class RetryRefused:
    """A network rule forbade a planned payment attempt of ours; `until`: when it may be asked again, None never."""

    invoice: str
    rule: str
    until: datetime | None
    because: str


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The recovery window of one invoice is over."""

    invoice: str


@dataclass(frozen=True, slots=True)
class EndMade:
    """At the end of a case one part, `subscription` or `invoice`, was ended; `outcome` is billing.ending.End,
    `nothing` or `stuck`."""

    invoice: str
    part: str
    outcome: str


@dataclass(frozen=True, slots=True)
class NoticeEnded:
    """A message of this case reached its end: accepted, rejected, unknown or not sent."""

    invoice: str
    step: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Promised:
    """The customer says that the money will be there: `until` is the end of that day where the customer lives."""

    invoice: str
    until: datetime


What = (
    InvoiceFailed
    | InvoicePaid
    | InvoiceVoided
    | InvoiceUncollectible
    | InvoiceSeen
    | InvoicePaymentPaid
    | ChargeFailed
    | ChargeSucceeded
    | ChargeRefunded
    | ChargeDisputed
    | PaymentIntentSeen
    | PaymentMethodSeen
    | CustomerSeen
    | SubscriptionSeen
    | DiscountSeen
    | Noted
    | AttemptAnswered
    | InvoiceRead
    | RetryRefused
    | DeadlinePassed
    | EndMade
    | NoticeEnded
    | Promised
    | Asked
)


SOMEBODY = "a request"  # stands for one that nobody names


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `at` is Stripe's creation time (whole seconds for snapshots) or our own."""

    id: str
    type: str  # Stripe's name without the thin `v1.` prefix, or `reprieve.*` for our own
    at: datetime
    account: str
    livemode: bool
    what: What
    api_version: str | None = None
    caused_by: str | None = None  # idempotency key, else id, of the request that caused it; None: Stripe's own schedule
    customer: str | None = field(default=None)  # whom it concerns, for the lock and the ledger
    snapshot_id: str | None = None  # of a thin event: its snapshot twin, which tells the same thing once more

    @property
    def asked_by(self) -> str | None:
        """Key or id of the request behind it, None for Stripe's own schedule.

        Stripe counts the first attempt and its own retries, never a payment that somebody asked for (`attempt_count` of
        its API): what failed and is paid with a count of one was paid by somebody, also where no request is named.
        """
        if self.caused_by is None and isinstance(self.what, InvoicePaid) and self.what.invoice.attempt_count == 1:
            return SOMEBODY
        return self.caused_by

    def belonging_to(self, customer: str | None) -> Event:
        """The same event with the customer that we know it concerns."""
        return replace(self, customer=customer)


class Unreadable(ValueError):
    """A payload of a type we know lacks what makes it usable; the message names the field."""
