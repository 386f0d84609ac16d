"""Who brought the money of a recovery: one vocabulary for the cases of the worker and for the books.

In the order of their priority: a recovery has one source, the first that has evidence (metrics definitions, 3.3). It
names who asked for the payment that came, not why the customer could pay.
"""

from __future__ import annotations

from enum import StrEnum

# An idempotency key that the company's own tools may use to say that a person of the company asked for a payment.
STAFF_PREFIX = "staff_"


class RecoveredBy(StrEnum):
    """The sources, the first with evidence wins."""

    OUR_RETRY = "our_retry"
    OUTSIDE_STRIPE = "outside_stripe"
    STAFF = "staff"
    CARD_UPDATER = "card_updater"
    STRIPE_RETRY = "stripe_retry"
    OUR_MESSAGE = "our_message"
    CUSTOMER = "customer"


SENTENCES: dict[RecoveredBy, str] = {
    RecoveredBy.OUR_RETRY: "The payment carries the key of our attempt, or our attempt was answered paid.",
    RecoveredBy.OUTSIDE_STRIPE: "The invoice was marked as paid outside Stripe.",
    RecoveredBy.STAFF: f"The company asked for it: the request's idempotency key begins with {STAFF_PREFIX!r}.",
    RecoveredBy.CARD_UPDATER: "The network replaced the card after the failure, then Stripe's schedule charged it.",
    RecoveredBy.STRIPE_RETRY: "Nobody's request: Stripe's own schedule.",
    RecoveredBy.OUR_MESSAGE: "Paid on request after a message of ours was taken.",
    RecoveredBy.CUSTOMER: "Paid on request, and no message of ours had been taken before.",
}
