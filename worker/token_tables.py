"""API tokens: who may ask the `/v1` addresses, and for what. A secret is shown once and kept nowhere."""

from __future__ import annotations

from sqlalchemy import Column, Index, Text, UniqueConstraint

from worker.columns import Instant, Json
from worker.schema import required, rows, where

api_token = rows(
    "api_token",
    required("name", Text),
    required("token_hash", Text),  # SHA-256: who reads this table can ask nothing
    required("scopes", Json),
    required("created_at", Instant),
    required("created_by", Text),
    required("expires_at", Instant),
    Column("last_used_at", Instant),  # to the hour: a look is not worth a write
    Column("revoked_at", Instant),
    Column("revoked_by", Text),
    UniqueConstraint("token_hash"),
    Index("one_token_of_a_name", "account", "livemode", "name", unique=True, **where("revoked_at is null")),
)
