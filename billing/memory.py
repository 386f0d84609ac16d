"""Which events are kept as facts: the memory that cases and books are rebuilt from.

A fact is the event itself without anything personal, so that the raw body can be erased after its retention while
every later reading of the facts, by a better rule, stays possible. What changes neither a case nor the books is not
kept: a renewal that succeeds leaves two or three facts.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from billing.case import RecoveryCase
from billing.events.occurrences import (
    ChargeDisputed,
    ChargeSucceeded,
    CustomerSeen,
    Event,
    InvoiceFailed,
    InvoicePaid,
    InvoicePaymentPaid,
    InvoiceRead,
    InvoiceSeen,
    InvoiceUncollectible,
    InvoiceVoided,
    Noted,
    PaymentIntentSeen,
    RetryRefused,
)
from billing.events.snapshots import Customer, Invoice

# A case looks this far back when it is opened. Its first failure may be told last, so this is not about how long before
# it something can matter but about how far apart events can arrive: Stripe lists them for 30 days, newest first.
LOOK_BACK = timedelta(days=30)
DISPUTE_LOOK_BACK = timedelta(days=120)  # how long the networks let a dispute run


def kept(event: Event) -> Event | None:
    """The event as it is kept, None when it is not worth keeping."""
    match event.what:
        case InvoiceFailed() | InvoicePaid() | InvoiceVoided() | InvoiceUncollectible() as what:
            return replace(event, what=replace(what, invoice=_impersonal(what.invoice)))
        case InvoiceSeen(invoice):
            unpaid = invoice.status == "open" and (
                invoice.attempt_count > 0 or invoice.next_payment_attempt is not None
            )
            if not unpaid and invoice.status not in ("paid", "void", "uncollectible"):
                return None
            return replace(event, what=InvoiceSeen(_impersonal(invoice)))
        case PaymentIntentSeen(intent):
            return event if intent.decline or intent.status == "processing" else None
        case InvoiceRead(invoice) as what:
            return (
                None
                if invoice.status == "open"
                else replace(event, what=replace(what, invoice=_impersonal(invoice), method=None, declined=()))
            )
        case CustomerSeen(customer, default_changed=True):
            default = Customer(customer.id, default_payment_method=customer.default_payment_method)
            return replace(event, what=CustomerSeen(default, True))
        case ChargeSucceeded() | CustomerSeen() | Noted() | RetryRefused():
            return None
        case _:
            return event


def _impersonal(invoice: Invoice) -> Invoice:
    return replace(invoice, customer_email=None, customer_name=None, hosted_invoice_url=None)


def subscription_of(event: Event) -> str | None:
    """The subscription an event is about, if it names one."""
    what = event.what
    invoice = getattr(what, "invoice", None)
    if isinstance(invoice, Invoice):
        return invoice.subscription
    subscription = getattr(what, "subscription", None)
    return subscription if isinstance(subscription, str) else getattr(subscription, "id", None)


def invoice_of(event: Event) -> str | None:
    """The invoice an event is about, if it names one."""
    what = event.what
    invoice = getattr(what, "invoice", None)
    if isinstance(invoice, Invoice):
        return invoice.id
    if isinstance(what, InvoicePaymentPaid) or isinstance(invoice, str):
        return invoice
    inner = getattr(what, "charge", None) or getattr(what, "intent", None)
    return getattr(inner, "invoice", None)


# Kinds of facts that name a customer and no invoice, and yet may concern one.
OF_CUSTOMERS = frozenset({"ChargeDisputed", "PaymentMethodSeen", "CustomerSeen", "ChargeFailed", "PaymentIntentSeen"})


def may_concern(event: Event, case: RecoveryCase) -> bool:
    """Whether something learnt earlier is worth telling a case that is being opened."""
    if invoice := invoice_of(event):
        return invoice == case.invoice
    if subscription := subscription_of(event):
        return subscription == case.subscription
    back = DISPUTE_LOOK_BACK if isinstance(event.what, ChargeDisputed) else LOOK_BACK
    return event.customer is not None and event.customer == case.customer and event.at >= case.failed_at - back
