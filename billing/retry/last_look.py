"""The last question before money is asked for: does what Stripe shows right now still allow it?"""

from __future__ import annotations

from datetime import datetime

from billing.case import RecoveryCase
from billing.events.occurrences import InvoiceRead
from billing.money import Amount
from billing.policy import Policy
from billing.retry.rules import ALLOWED, Allowed, Ruling
from billing.retry.schedule import next_attempt
from billing.subscription_evidence import paused_by_choice

PAYABLE = frozenset({"open", "uncollectible"})
ENDED = frozenset({"canceled", "incomplete_expired", "unpaid"})


def stop_before_paying(
    case: RecoveryCase,
    expected: Amount,
    seen: InvoiceRead,
    policy: Policy,
    now: datetime,
    ruling: Ruling = ALLOWED,
    backup: bool = False,
) -> str | None:
    """Why the payment request must not be sent, None if it may.

    `case` already holds what `seen` says; `expected` is the amount that was owed when the attempt was planned;
    `ruling` is what the network rules say of the card and everything that is known of it; `backup`: it is another saved
    method than the one Stripe would take.
    """
    invoice = seen.invoice
    if invoice.status not in PAYABLE:
        return f"the invoice is {invoice.status} at Stripe"
    if seen.processing:
        return "a payment of this invoice is under way at Stripe"
    if seen.disputed:
        return "a charge of this invoice is disputed"
    if invoice.customer and case.customer and invoice.customer != case.customer:
        return "the invoice belongs to another customer than the case says"
    if invoice.remaining != expected:
        return f"{invoice.remaining} is owed, {expected} was expected"
    if seen.subscription and seen.subscription.status in ENDED:
        return f"the subscription is {seen.subscription.status}"
    if seen.subscription and paused_by_choice(seen.subscription):
        return "collection of the subscription is paused"
    wait = next_attempt(case, policy, now)
    if wait.until is None:
        return wait.because
    if wait.backup is not backup:
        return f"by now another payment method is planned: {wait.because}"
    if wait.until > now:
        return f"not before {wait.until:%Y-%m-%d %H:%M} UTC: {wait.because}"
    return None if isinstance(ruling, Allowed) else ruling.because
