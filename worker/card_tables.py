"""The tables of the rolling card budget: one row to lock for each card, and every declined charge that is known of it.

A card is named by its fingerprint (`card:...`), the same for one number wherever it is stored in a Stripe account;
where none is known, by its payment method (`method:...`) or by whose it is (`customer:...`, `invoice:...`).
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Text
from sqlalchemy.types import Integer

from worker.columns import Big, Instant, Json
from worker.schema import objects, required, rows

card_budget = objects(
    "card_budget",
    "card",  # locked while a charge of the card is decided on
    Column("brand", Text),  # or the type of a bank debit
    Column("country", Text),  # of the issuer
    Column("approved_at", Instant),  # the last charge that we know to have gone through
    Column("updated_at", Instant),  # new details of the same number
    required("seen_at", Instant),
)

declined_charge = objects(
    "declined_charge",
    "charge",  # Stripe's id; of an attempt of ours without one, its idempotency key
    required("card", Text),
    Column("customer", Text),
    Column("invoice", Text),
    Column("intent", Text),  # the payment intent: it links the charge to its invoice, which may be told later
    required("amount", Big),
    required("currency", Text),
    required("at", Instant),
    required("decline", Json),
    Column("unknown", Text),  # codes that no table knows, with commas
    Index("ix_declined_charge_card", "account", "livemode", "card", "at"),
    Index("ix_declined_charge_invoice", "account", "livemode", "invoice"),
)

refusal = rows(
    "refusal",  # a planned retry that a network rule forbade
    required("invoice", Text),
    required("action_key", Text),
    required("card", Text),
    required("rule", Text),
    required("effect", Text),
    required("because", Text),
    required("at", Instant),
    Column("until", Instant),  # None: never with this payment method
    Column("used", Integer),  # of the rule's budget
    Column("most", Integer),
    Column("fee", Big),  # at stake, minor units of fee_currency
    Column("fee_currency", Text),
    Index("ix_refusal_invoice", "account", "livemode", "invoice"),
)
