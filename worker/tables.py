"""The tables, for both engines. Rows are made into values in `worker/store.py`; constraints do the guarding.

Every table is keyed by (account, livemode): several accounts live in one installation, and test events never touch
live data. The triggers (append-only, terminal stays terminal) are in `migrations/guards_0001.py`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.sql.schema import SchemaItem
from sqlalchemy.types import Integer

from worker.columns import Big, Flag, Instant, Json

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _rows(name: str, *parts: SchemaItem) -> Table:
    """A table of rows numbered by us, each belonging to one account and mode."""
    key = Column("id", Big, primary_key=True, autoincrement=True)
    owner = (Column("account", Text, nullable=False), Column("livemode", Flag, nullable=False))
    return Table(name, metadata, key, *owner, *parts, sqlite_strict=True)


def _objects(name: str, key: str, *parts: SchemaItem) -> Table:
    """A table of what Stripe names, keyed by account, mode and Stripe's id."""
    owner = (Column("account", Text, primary_key=True), Column("livemode", Flag, primary_key=True))
    return Table(name, metadata, *owner, Column(key, Text, primary_key=True), *parts, sqlite_strict=True)


def _required(name: str, kind: Any) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _one_of(column: str, *values: str) -> CheckConstraint:
    quoted = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} in ({quoted})", name=column)


def _where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


# ---------------------------------------------------------------- what Stripe told us

inbox = _rows(
    "inbox",
    _required("event_id", Text),
    _required("type", Text),
    Column("api_version", Text),
    Column("created_at", Instant),  # by Stripe
    _required("received_at", Instant),
    Column("body", LargeBinary),  # the raw bytes that were signed; emptied when the retention ends
    Column("fetched", LargeBinary),  # for a thin event: the object it names, read with our own version
    _required("state", Text),
    _required("tries", Integer),
    _required("due_at", Instant),
    Column("because", Text),
    Column("finished_at", Instant),
    UniqueConstraint("account", "livemode", "event_id"),
    _one_of("state", "received", "fetching", "done", "ignored", "quarantined"),
    Index("ix_inbox_received", "due_at", "id", **_where("state = 'received'")),
    Index("ix_inbox_quarantined", "id", **_where("state = 'quarantined'")),
)

customer = _objects(
    "customer",
    "id",
    Column("email", Text),
    Column("name", Text),
    Column("locale", Text),
    Column("country", Text),
    _required("seen_at", Instant),
)

# ---------------------------------------------------------------- what we decided

recovery_case = _objects(
    "recovery_case",
    "invoice",
    Column("customer", Text),
    Column("subscription", Text),
    _required("state", Text),
    _required("because", Text),
    _required("policy", Text),
    Column("arm", Text),
    _required("amount", Big),
    _required("currency", Text),
    Column("mrr", Big),
    _required("decline_class", Text),
    _required("failed_at", Instant),
    _required("deadline", Instant),
    Column("closed_at", Instant),
    Column("recovered_by", Text),
    _required("evidence", Json),  # the rest of billing.case.RecoveryCase
    _required("updated_at", Instant),
    Index("ix_recovery_case_customer", "account", "livemode", "customer"),
    Index("ix_recovery_case_state", "account", "livemode", "state", "failed_at"),
)

action = _rows(
    "action",
    _required("key", Text),
    _required("kind", Text),
    Column("invoice", Text),
    Column("customer", Text),
    _required("detail", Json),
    _required("due_at", Instant),
    _required("because", Text),
    _required("state", Text),
    _required("token", Integer),  # grows with every claim: a write by an old owner changes nothing
    Column("lease_until", Instant),  # by the database's clock
    _required("tries", Integer),
    Column("outcome", Text),
    _required("created_at", Instant),
    Column("finished_at", Instant),
    UniqueConstraint("account", "livemode", "key"),
    _one_of("state", "waiting", "claimed", "sending", "done", "cancelled", "stuck"),
    Index("ix_action_due", "due_at", **_where("state in ('waiting', 'claimed', 'sending')")),
    Index("ix_action_invoice", "account", "livemode", "invoice"),
    Index(
        "one_live_retry",
        "account",
        "livemode",
        "invoice",
        unique=True,
        **_where("kind = 'retry' and state in ('waiting', 'claimed', 'sending', 'stuck')"),
    ),
)

attempt = _rows(
    "attempt",
    _required("invoice", Text),
    _required("n", Integer),
    _required("action_key", Text),
    _required("state", Text),
    Column("answer", Text),
    _required("token", Integer),
    _required("idem_key", Text),
    _required("request", Json),  # the body as sent, so that a repeat is the same request
    _required("amount", Big),
    _required("currency", Text),
    _required("first_sent_at", Instant),  # by the database's clock: the age of the key
    _required("at", Instant),  # by the application's clock: what a person reads
    Column("charge", Text),
    Column("brand", Text),
    Column("fingerprint", Text),
    Column("decline", Json),
    Column("because", Text),
    Column("finished_at", Instant),
    UniqueConstraint("account", "livemode", "invoice", "n"),
    UniqueConstraint("idem_key"),
    _one_of("state", "sending", "processing", "unknown", "succeeded", "failed", "cancelled"),
    Index(
        "one_live",
        "account",
        "livemode",
        "invoice",
        unique=True,
        **_where("state in ('sending', 'processing', 'unknown')"),
    ),
    Index("one_success", "account", "livemode", "invoice", unique=True, **_where("state = 'succeeded'")),
)

notice = _rows(
    "notice",
    _required("dedup_key", Text),
    _required("invoice", Text),
    Column("customer", Text),
    _required("step", Text),
    _required("channel", Text),
    _required("recipient_hash", Text),
    _required("template", Text),
    _required("message_id", Text),
    _required("rendered_hash", Text),
    _required("state", Text),
    _required("token", Integer),
    _required("at", Instant),
    Column("because", Text),
    Column("finished_at", Instant),
    UniqueConstraint("account", "livemode", "dedup_key"),
    _one_of("state", "handing_over", "waiting", "accepted", "rejected", "unknown"),
    Index("ix_notice_invoice", "account", "livemode", "invoice"),
)

policy = Table(
    "policy",
    metadata,
    Column("id", Text, primary_key=True),  # name@version
    _required("body", Json),
    _required("first_used_at", Instant),
    sqlite_strict=True,
)

kill_switch = _objects(
    "kill_switch",
    "scope",  # 'all', or the id of an account
    _required("stopped", Flag),
    _required("by", Text),
    _required("because", Text),
    _required("at", Instant),
)

audit = _rows(
    "audit",
    _required("at", Instant),
    _required("actor", Text),
    _required("what", Text),
    _required("object", Text),
    _required("because", Text),
)

# ---------------------------------------------------------------- the books

fact = _rows(
    "fact",
    _required("source", Text),  # id of the event
    Column("customer", Text),
    Column("subscription", Text),
    Column("invoice", Text),
    _required("kind", Text),
    _required("at", Instant),
    _required("recorded_at", Instant),
    _required("body", Json),  # the event without anything personal: what cases and books are rebuilt from
    UniqueConstraint("account", "livemode", "source"),
    Index("ix_fact_customer", "account", "livemode", "customer"),
    Index("ix_fact_invoice", "account", "livemode", "invoice"),
    Index("ix_fact_subscription", "account", "livemode", "subscription", "at"),
)

to_book = _objects(
    "to_book",
    "customer",
    _required("due_at", Instant),  # when the books of this customer must be folded again
    Index("ix_to_book_due_at", "due_at"),
)

entry = _rows(
    "entry",
    _required("key", Text),
    _required("customer", Text),
    Column("subscription", Text),
    Column("invoice", Text),
    Column("case", Text),  # of the books: one failure of one subscription
    _required("because", Text),
    _required("effective_at", Instant),
    _required("recorded_at", Instant),
    _required("posted_period", Text),  # 2026-03: the month in whose books it stands
    Column("reverses", Text),  # the key of the entry that this one takes back
    UniqueConstraint("account", "livemode", "key"),
    Index("ix_entry_customer", "account", "livemode", "customer"),
    Index("ix_entry_invoice", "account", "livemode", "invoice"),
)

posting = Table(
    "posting",
    metadata,
    Column("entry", Big, ForeignKey("entry.id"), primary_key=True),
    Column("line", Integer, primary_key=True),
    _required("name", Text),  # the account of the books: good, at_risk, recovered_involuntary_churn ...
    _required("minor", Big),
    _required("unit", Text),  # usd/mo or usd
    sqlite_strict=True,
)
