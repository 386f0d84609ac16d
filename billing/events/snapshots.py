"""Stripe's objects as we last saw them, in one shape whatever API version they came in; never anything unread.

`billing/events/stripe_objects.py` makes these values. What happened to the objects is in `occurrences.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from billing.money import Amount


@dataclass(frozen=True, slots=True)
class Decline:
    """The bank's no, as Stripe passes it on; every code may be missing (stripe.md 4)."""

    code: str | None = None  # the error code: card_declined, expired_card, authentication_required ...
    decline_code: str | None = None
    advice_code: str | None = None
    network_decline_code: str | None = None
    network_advice_code: str | None = None
    outcome_type: str | None = None  # issuer_declined, blocked, invalid ...
    reason: str | None = None  # outcome.reason: highest_risk_level, rule ...


@dataclass(frozen=True, slots=True)
class Card:
    """What may be kept about a card: never its number."""

    fingerprint: str | None = None
    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    country: str | None = None
    funding: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One subscription item; `unit_amount` in minor units, possibly with sub-cent decimals, None when tiered."""

    id: str
    price: str | None
    product: str | None
    unit_amount: str | None
    quantity: int
    interval: str | None  # day, week, month, year; None when the price does not recur
    interval_count: int = 1
    usage_type: str = "licensed"
    tiers_mode: str | None = None
    tiers: tuple[tuple[int | None, str | None, str | None], ...] = ()  # (up_to, unit, flat)
    transform: tuple[int, str] | None = None  # (divide_by, round up or down)
    tax_behavior: str | None = None
    tax_inclusive_pct: str | None = None  # percent of tax that the price contains; None when no rate says so
    period_end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Discount:
    """One coupon on a subscription or item; `amount_off` in minor units of `currency`."""

    coupon: str
    duration: str  # forever, repeating, once
    percent_off: str | None = None
    amount_off: int | None = None
    currency: str | None = None
    starts: datetime | None = None
    ends: datetime | None = None
    item: str | None = None
    products: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Invoice:
    id: str
    customer: str | None
    status: str | None  # draft, open, paid, uncollectible, void
    due: Amount  # amount_due
    paid: Amount  # amount_paid
    remaining: Amount  # amount_remaining
    subscription: str | None = None
    billing_reason: str | None = None
    collection_method: str | None = None
    auto_advance: bool | None = None
    attempt_count: int = 0
    next_payment_attempt: datetime | None = None
    created: datetime | None = None
    due_at: datetime | None = None
    finalized_at: datetime | None = None
    paid_at: datetime | None = None
    voided_at: datetime | None = None
    uncollectible_at: datetime | None = None
    paid_out_of_band: bool = False
    payment_intent: str | None = None
    charge: str | None = None
    number: str | None = None
    hosted_invoice_url: str | None = None
    customer_email: str | None = None
    customer_name: str | None = None
    charged: tuple[tuple[str, int], ...] = ()  # minor units by subscription item: of lines that may be usage


@dataclass(frozen=True, slots=True)
class Subscription:
    id: str
    customer: str | None
    status: str | None
    currency: str | None
    items: tuple[Item, ...] = ()
    items_complete: bool = True  # False when Stripe sent only the first page
    discounts: tuple[Discount, ...] = ()
    discounts_complete: bool = True  # False when a discount came as a bare id, or its coupon did
    collection_method: str | None = None
    created: datetime | None = None
    started_at: datetime | None = None
    trial_end: datetime | None = None
    cancel_at_period_end: bool = False
    cancel_at: datetime | None = None
    canceled_at: datetime | None = None
    ended_at: datetime | None = None
    cancel_reason: str | None = None  # cancellation_details.reason
    cancel_feedback: str | None = None
    pause_behavior: str | None = None  # pause_collection.behavior
    pause_resumes_at: datetime | None = None
    pause_reason: str | None = None  # status_details: first_payment_failure, final_payment_failure ... (endive)
    period_end: datetime | None = None
    default_payment_method: str | None = None
    latest_invoice: str | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    id: str
    customer: str | None
    amount: Amount
    paid: bool
    invoice: str | None = None
    payment_intent: str | None = None
    payment_method: str | None = None
    card: Card | None = None
    decline: Decline | None = None
    refunded: Amount | None = None
    disputed: bool = False
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class PaymentIntent:
    id: str
    customer: str | None
    status: str | None  # requires_payment_method, requires_action, processing, succeeded, canceled
    amount: Amount
    invoice: str | None = None
    latest_charge: str | None = None
    decline: Decline | None = None
    card: Card | None = None


@dataclass(frozen=True, slots=True)
class PaymentMethod:
    id: str
    customer: str | None
    kind: str | None  # card, sepa_debit, us_bank_account ...
    card: Card | None = None


@dataclass(frozen=True, slots=True)
class Customer:
    id: str
    email: str | None = None
    name: str | None = None
    locales: tuple[str, ...] = ()
    country: str | None = None
    currency: str | None = None
    default_payment_method: str | None = None
    deleted: bool = False
