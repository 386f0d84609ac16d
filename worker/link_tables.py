"""The customer's way back: links to the recovery page, and what customers wrote to the team there."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Text, UniqueConstraint

from worker.columns import Instant
from worker.schema import required, rows

recovery_link = rows(
    "recovery_link",
    required("token_hash", Text),  # SHA-256: who reads this table can open nothing
    required("customer", Text),
    required("message", Text),  # key of the action that carried the link; one link for each message
    required("created_at", Instant),
    required("expires_at", Instant),
    Column("revoked_at", Instant),
    required("used", Integer),  # acts: a look at the page changes nothing
    Column("used_at", Instant),
    UniqueConstraint("token_hash"),
    Index("ix_recovery_link_customer", "account", "livemode", "customer"),
)

customer_word = rows(
    "customer_word",
    required("customer", Text),
    required("key", Text),  # of the link and the words: the same form sent twice is one message
    required("words", Text),
    required("at", Instant),
    UniqueConstraint("account", "livemode", "key"),
    Index("ix_customer_word_customer", "account", "livemode", "customer"),
)
