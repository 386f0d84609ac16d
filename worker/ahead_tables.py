"""What is known of renewals to come and of what will pay them, and the warnings about them.

Of a payment method only ids, brand, last four digits and expiry: what a warning says. The arm of a customer is only
ever added, in the transaction before anything is sent.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Text, UniqueConstraint

from worker.columns import Big, Flag, Instant
from worker.schema import objects, one_of, required, rows, where

ahead_renewal = objects(
    "ahead_renewal",
    "subscription",
    Column("customer", Text),
    Column("period_end", Instant),
    Column("renews_at", Instant),  # None: nothing will be charged by itself
    required("months", Integer),
    Column("amount", Big),
    Column("currency", Text),
    Column("mrr", Big),
    required("trial", Flag),
    Column("own_method", Text),  # before the customer's default
    required("told_at", Instant),  # by Stripe's clock: older news changes nothing
    Index("ix_ahead_renewal_renews_at", "account", "livemode", "renews_at", "subscription"),
    Index("ix_ahead_renewal_customer", "account", "livemode", "customer"),
)

ahead_default = objects(
    "ahead_default",
    "customer",
    Column("method", Text),  # None: the customer has no default
    required("told_at", Instant),
)

ahead_method = objects(
    "ahead_method",
    "method",
    Column("customer", Text),  # None: detached
    Column("kind", Text),
    Column("brand", Text),
    Column("last4", Text),
    Column("exp_month", Integer),
    Column("exp_year", Integer),
    required("told_at", Instant),
    Index("ix_ahead_method_customer", "account", "livemode", "customer"),
)

ahead_assignment = rows(
    "ahead_assignment",  # only added to
    required("step", Text),
    required("customer", Text),
    required("arm", Text),
    required("share", Text),  # of the control group, as the policy said then
    required("policy", Text),
    required("at", Instant),
    UniqueConstraint("account", "livemode", "step", "customer"),
    one_of("arm", "told", "control"),
)

ahead_warning = rows(
    "ahead_warning",
    required("step", Text),
    required("subject", Text),  # billing.ahead.rules.Due.subject: one warning for it
    required("customer", Text),
    required("subscription", Text),
    Column("method", Text),
    Column("expires", Text),  # 2026-04, of the method as it was
    required("renewal_at", Instant),
    Column("amount", Big),
    Column("currency", Text),
    Column("mrr", Big),
    required("state", Text),
    required("because", Text),
    Column("arm", Text),  # None until it is due and nothing speaks against it
    Column("arm_at", Instant),
    Column("sent", Text),  # what became of the message: accepted, rejected, unknown
    Column("mended_at", Instant),  # when the customer, or the network's updater, gave another way to pay
    Column("mended_by", Text),
    Column("outcome", Text),
    required("planned_at", Instant),
    Column("ended_at", Instant),
    UniqueConstraint("account", "livemode", "step", "subject"),
    one_of("state", "planned", "told", "control", "withdrawn", "skipped"),
    Index("ix_ahead_warning_customer", "account", "livemode", "customer"),
    Index(
        "ix_ahead_warning_open",
        "account",
        "livemode",
        "renewal_at",
        "id",
        **where("arm is not null and ended_at is null"),
    ),
)
