"""A subscription as Stripe has it now, with what would pay its next renewal: read before anybody is warned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from billing.events import stripe_objects
from billing.events.reading import Reader
from billing.events.snapshots import Customer, PaymentMethod, Subscription

# Stripe takes the first of these (docs.stripe.com/billing/subscriptions/payment-methods-setting).
OWN = ("default_payment_method", "default_source")
DEFAULT = ("invoice_settings.default_payment_method", "default_source")
EXPAND = (*OWN, *(f"customer.{path}" for path in DEFAULT))


@dataclass(frozen=True, slots=True)
class RenewalRead:
    """`customer` is None where the payload only names it; a method has its card where the payload shows it."""

    subscription: Subscription
    customer: Customer | None
    own: PaymentMethod | None
    default: PaymentMethod | None

    @property
    def method(self) -> PaymentMethod | None:
        """What Stripe would charge."""
        return self.own or self.default


def renewal_read(thing: Mapping[str, Any]) -> RenewalRead:
    """Of a subscription read with `EXPAND`. Raises `Unreadable`."""
    it = Reader(dict(thing))
    owner = it.inside("customer")
    person = stripe_objects.customer(owner) if owner.node else None
    return RenewalRead(stripe_objects.subscription(it), person, method_at(it, OWN), method_at(owner, DEFAULT))


def method_at(it: Reader, paths: tuple[str, ...]) -> PaymentMethod | None:
    """The first payment method that is named, with its card where it is expanded."""
    for path in paths:
        if (id := it.ref(path)) is not None:
            shown = it.inside(path)
            return stripe_objects.payment_method(shown) if shown.node else PaymentMethod(id, None, None)
    return None
