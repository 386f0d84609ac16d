"""Which payment method to ask, where Stripe by itself would ask one that the customer has just replaced.

Stripe takes the invoice's own method, then the subscription's, then the customer's default. The portal changes only the
last of these, so a subscription with a method of its own would be charged on the old card again.
"""

from __future__ import annotations

from billing.case import RecoveryCase
from billing.events.occurrences import InvoiceRead


def method_to_name(case: RecoveryCase, seen: InvoiceRead) -> str | None:
    """The customer's new default when another method stands before it, None where Stripe's own order is right."""
    chosen = seen.customer_method
    if not case.card_changed or chosen is None or chosen != case.fresh_method:
        return None
    return None if seen.own_method in (None, chosen) else chosen
