"""The neutral words in which the ledger is told what happened, whatever billing system said it.

`interpret` makes them from Stripe facts, `neutral` reads them from JSON; the fold knows nothing else. Section 6 of
the metrics definitions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from billing.events.snapshots import Discount
from billing.ledger.items import Item


class Kind(StrEnum):
    """In the order in which events of one instant apply: beginnings first, terminal states last."""

    SUB_START = "sub_start"  # it exists: active (counts), or trialing (does not yet)
    TRIAL_ENDED = "trial_ended"  # it runs, but nobody has paid yet
    SUB_ITEMS = "sub_items"  # the whole item list is replaced
    SUB_DISCOUNTS = "sub_discounts"  # the whole discount list is replaced
    USAGE = "usage"  # an invoice for metered items was finalised
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL_SCHEDULED = "cancel_scheduled"
    CANCEL_UNSCHEDULED = "cancel_unscheduled"
    TRIAL_FIRST_PAYMENT_FAILED = "trial_first_payment_failed"
    PAYMENT_FAILED = "payment_failed"  # money for a recurring invoice was asked for and did not come
    CASH_RECOVERED = "cash_recovered"  # an invoice that had failed was paid; says nothing about the subscription
    CASH_REFUNDED = "cash_refunded"  # a payment of an invoice that had failed went back
    TRIAL_CONVERTED = "trial_converted"  # the first payment after the trial came
    PAYMENT_SUCCEEDED = "payment_succeeded"  # the subscription is current again
    FORGIVEN = "forgiven"  # the invoice was voided or written off while the subscription lives
    DEADLINE_PASSED = "deadline_passed"  # our own recovery window is over
    MARK_UNPAID = "mark_unpaid"
    SUB_CANCEL = "sub_cancel"  # it ended
    NOISE = "noise"  # invoices, refunds, taxes: nothing that recurs


class Cause(StrEnum):
    """Why a subscription ended."""

    CUSTOMER = "customer"  # a decision, also the end of a fixed term
    PAYMENT_FAILED = "payment_failed"  # nobody paid
    DISPUTE = "dispute"  # the customer took the money back through the bank


class Confidence(StrEnum):
    """How sure a reading is."""

    CERTAIN = "certain"  # Stripe said so
    LIKELY = "likely"  # it follows from what Stripe said
    ASSUMED = "assumed"  # nothing contradicts it


@dataclass(frozen=True, slots=True)
class LedgerEvent:
    """One thing that happened to one subscription. `at` is when it took effect, `recorded_at` when we learned it.

    `id` is stable across deliveries. Which of the optional fields are set depends on the kind.
    """

    kind: Kind
    at: datetime
    customer: str
    subscription: str
    id: str = ""
    recorded_at: datetime | None = None
    currency: str = "usd"
    items: tuple[Item, ...] = ()
    discounts: tuple[Discount, ...] = ()
    status: str = "active"  # of SUB_START: active or trialing
    cause: Cause = Cause.CUSTOMER  # of SUB_CANCEL, and of SUB_ITEMS when we moved it down for non-payment
    usage: tuple[tuple[str, int], ...] = ()  # of USAGE: what each metered item was charged, in minor units
    behavior: str | None = None  # of PAUSE: void, mark_uncollectible, keep_as_draft
    effective_at: datetime | None = None  # of PAUSE and CANCEL_SCHEDULED
    invoice: str | None = None
    amount: int = 0  # cash in minor units of `currency`
    by_invoice: bool = False  # of PAYMENT_FAILED: an invoice was sent and is overdue; no card was charged
    due_at: datetime | None = None  # of PAYMENT_FAILED by invoice
    source: str | None = None  # of PAYMENT_SUCCEEDED and CASH_RECOVERED: who brought the money
    evidence: str = ""
    confidence: Confidence = Confidence.CERTAIN


_RANK = {kind: rank for rank, kind in enumerate(Kind)}


def in_order(events: Iterable[LedgerEvent]) -> list[LedgerEvent]:
    """Each event once, by time; ties by the order of `Kind`, then by subscription and id, so that arrival is moot."""
    seen: dict[object, LedgerEvent] = {}
    for event in events:
        key: object = (event.id, event.kind, event.subscription) if event.id else event
        kept = seen.get(key)
        if kept is None or (event.recorded_at and kept.recorded_at and event.recorded_at < kept.recorded_at):
            seen[key] = event
    return sorted(seen.values(), key=lambda event: (event.at, _RANK[event.kind], event.subscription, event.id))


def known_at(events: Iterable[LedgerEvent], instant: datetime) -> list[LedgerEvent]:
    """What was recorded up to and including an instant; an event without a recording time was known at once."""
    return [event for event in events if (event.recorded_at or event.at) <= instant]
