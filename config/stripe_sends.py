"""What Stripe itself may mail to customers, as its dashboard lets one choose, and which of our messages say the same.

Settings, Billing, Subscriptions and emails; Settings, Customer emails:
https://docs.stripe.com/billing/revenue-recovery/customer-emails and https://docs.stripe.com/receipts. No API tells
these switches, so an operator has to; `worker/doctor/stripe_mail.py` looks at the traces that they leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from billing.notices.reasons import Reason
from billing.notices.sequence import Step

UNKNOWN, NONE = "unknown", "none"


@dataclass(frozen=True, slots=True)
class Kind:
    """One switch of Stripe's: the question about it, and what of ours it makes superfluous.

    With `reason`, only messages that give this reason; without one, all but those that another kind is about.
    """

    asked: str
    holds: frozenset[Step] = frozenset()
    reason: Reason | None = None


_FIRST = frozenset({Step.PAYMENT_FAILED, Step.REMINDER})

KINDS: Mapping[str, Kind] = {
    "failed_payment": Kind("mails customers when a payment fails (card or bank debit)", _FIRST),
    "action_required": Kind("mails a link when a payment has to be confirmed", _FIRST, Reason.AUTHENTICATE),
    "invoice_reminder": Kind("reminds of invoices that customers pay by themselves", _FIRST, Reason.OVERDUE),
    "card_expiring": Kind("mails customers before their card expires", frozenset({Step.CARD_EXPIRING})),
    "renewal": Kind("mails customers before a renewal", frozenset({Step.RENEWAL_COMING})),
    "receipt": Kind("mails a receipt for a payment", frozenset({Step.RECOVERED})),
    "invoice_finalized": Kind("mails finalised invoices"),  # nothing is wrong with them: none of ours says the same
}


def checked(value: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds, or `unknown` or `none` alone. Raises ValueError."""
    if wrong := [kind for kind in value if kind not in (*KINDS, UNKNOWN, NONE)]:
        raise ValueError(f"no such kind: {', '.join(wrong)}; there are {', '.join((*KINDS, NONE, UNKNOWN))}")
    if len(value) != 1 and (not value or {UNKNOWN, NONE} & set(value)):
        raise ValueError(f"one or more of {', '.join(KINDS)}; or {NONE} or {UNKNOWN} alone")
    return value
