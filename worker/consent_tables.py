"""Who agreed to be written to by SMS: one row for each agreement, which is never taken out again."""

from __future__ import annotations

from sqlalchemy import Column, Index, Text

from worker.columns import Instant
from worker.schema import one_of, required, rows, where

consent = rows(
    "consent",
    required("customer", Text),
    required("channel", Text),
    Column("number", Text),  # E.164, readable because it has to be sent to; erased when the consent is withdrawn
    required("number_hash", Text),  # worker.consent.number_of: finds the number again when it says STOP
    required("granted_at", Instant),
    required("source", Text),  # where the customer agreed, as the operator says
    required("granted_by", Text),
    required("recorded_at", Instant),
    Column("withdrawn_at", Instant),
    Column("withdrawn_by", Text),
    one_of("channel", "sms", "chat"),
    Index("one_consent", "account", "livemode", "customer", "channel", unique=True, **where("withdrawn_at is null")),
    Index("ix_consent_customer", "account", "livemode", "customer"),
    Index("ix_consent_number_hash", "number_hash"),
)
