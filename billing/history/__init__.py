"""History that nobody listened to: Stripe's objects as they are now, turned into what must have happened before.

Events tell the last thirty days; what lies before is rebuilt from what objects still say of it: when a subscription
began and ended, what each invoice billed for it (its lines, and the prorations that date a change), when an invoice
was finalised, how often it was tried and when it was paid. Nothing here is as sure as an event: every id begins with
`backfill:`, by which the ledger knows it. What no object keeps (a pause that is over, an unpaid spell that was paid,
a coupon that was removed) cannot be had back. A better source of the past would replace this file: `reprieve import`.
"""

from __future__ import annotations

from billing.history.billed import Billed, Change, billed_by, in_full, prices_in, terms_of
from billing.history.historian import BACKFILL, Historian, fingerprint, rebuilt
from billing.history.life import life

__all__ = [
    "BACKFILL",
    "Billed",
    "Change",
    "Historian",
    "billed_by",
    "fingerprint",
    "in_full",
    "life",
    "prices_in",
    "rebuilt",
    "terms_of",
]
