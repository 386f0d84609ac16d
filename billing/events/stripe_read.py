"""What we read from Stripe ourselves, with our own pinned version, as the same values the events bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from billing.events import stripe_objects
from billing.events.occurrences import InvoiceRead
from billing.events.reading import NOTHING, Reader
from billing.events.snapshots import Card, Decline, PaymentMethod

UNDER_WAY = frozenset({"processing", "requires_capture"})


def invoice_read(invoice: Mapping[str, Any], payments: Sequence[Mapping[str, Any]]) -> InvoiceRead:
    """One invoice with its payments (intent and latest charge expanded) and, when expanded, its subscription."""
    it = Reader(dict(invoice))
    subscription = it.inside("parent.subscription_details.subscription", "subscription")
    intents = [Reader(dict(payment)).inside("payment.payment_intent") for payment in payments]
    charges = [charge for charge in (_latest_charge(intent) for intent in intents) if charge.node]
    newest = max(charges, key=lambda charge: charge.count("created") or 0, default=NOTHING)
    intent = next((i for i in intents if i.inside("latest_charge").node is newest.node), NOTHING)
    if not newest.node and intents:
        intent = intents[0]
    return InvoiceRead(
        invoice=stripe_objects.invoice(it),
        subscription=stripe_objects.subscription(subscription) if subscription.node else None,
        decline=stripe_objects.decline(newest, intent.inside("last_payment_error")),
        declined_at=newest.time("created"),
        card=stripe_objects.charge_card(newest) if newest.node else None,
        processing=any(i.text("status") in UNDER_WAY for i in intents),
        disputed=any(charge.flag("disputed") for charge in charges),
        own_method=it.ref("default_payment_method", "default_source")
        or subscription.ref("default_payment_method", "default_source"),
        customer_method=it.ref("customer.invoice_settings.default_payment_method"),
        method=_to_charge(it),
        declined=tuple(stripe_objects.charge(charge) for charge in charges if charge.get("status") == "failed"),
    )


# Stripe takes the first of these (docs.stripe.com/billing/revenue-recovery/smart-retries).
ORDER = (
    "default_payment_method",
    "default_source",
    "parent.subscription_details.subscription.default_payment_method",
    "parent.subscription_details.subscription.default_source",
    "customer.invoice_settings.default_payment_method",
    "customer.default_source",
)


def _to_charge(invoice: Reader) -> PaymentMethod | None:
    """What Stripe would charge for the invoice; only its id where it was not expanded."""
    for path in ORDER:
        if (id := invoice.ref(path)) is not None:
            method = invoice.inside(path)
            return stripe_objects.payment_method(method) if method.node else PaymentMethod(id, None, None)
    return None


def _latest_charge(intent: Reader) -> Reader:
    return intent.inside("latest_charge")


def refusal(error: Mapping[str, Any]) -> tuple[Decline, Card | None, str | None]:
    """(decline, card, charge id) of the error object that a refused payment request answers with."""
    it = Reader(dict(error))
    intent = it.inside("payment_intent")
    charge = intent.inside("latest_charge")
    decline = stripe_objects.decline(charge, it) or Decline(code=it.text("code"))
    card = stripe_objects.charge_card(charge) or stripe_objects.card(it.inside("payment_method.card"))
    return decline, card, it.ref("charge", "payment_intent.latest_charge")
