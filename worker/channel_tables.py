"""What comes back from mailboxes, who gets nothing any more, and what our merchant's own systems are told.

An address stands here only as a keyed hash: the list outlives the erasure of a person (reliability.md D30).
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text, UniqueConstraint

from worker.columns import Big, Instant, Json
from worker.schema import metadata, one_of, required, rows, where

suppression = Table(
    "suppression",  # of the whole installation: a mailbox is the same for every account that writes to it
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    required("mailbox", Text),  # worker.suppression.mailbox_of
    required("reason", Text),
    required("source", Text),  # ses, postmark, dsn, one-click, or who said so
    required("at", Instant),
    Column("lifted_at", Instant),
    Column("lifted_by", Text),
    one_of("reason", "bounce", "complaint", "unsubscribed", "operator"),
    Index("one_suppression", "mailbox", "reason", unique=True, **where("lifted_at is null")),
    sqlite_strict=True,
)

contact_report = rows(
    "contact_report",  # what a provider or a mail server said about a message of ours; only added to
    required("source", Text),
    required("report", Text),  # their id of it: the same report twice is one row
    required("kind", Text),
    required("mailbox", Text),
    Column("customer", Text),
    Column("invoice", Text),
    Column("because", Text),
    required("at", Instant),
    UniqueConstraint("account", "livemode", "source", "report", "invoice"),
    one_of("kind", "hard", "soft", "complaint", "unsubscribed"),
    Index("ix_contact_report_invoice", "account", "livemode", "invoice"),
)

outgoing_event = rows(
    "outgoing_event",
    required("event_id", Text),  # made from what happened: told once, however often we learn it
    required("type", Text),
    required("at", Instant),
    required("body", Json),
    UniqueConstraint("account", "livemode", "event_id"),
)

outgoing_delivery = rows(
    "outgoing_delivery",
    required("event_id", Text),
    required("endpoint", Text),  # its name in the settings
    required("state", Text),
    required("tries", Integer),
    required("due_at", Instant),
    required("token", Integer),  # grows with every claim, as that of an action
    Column("lease_until", Instant),  # by the database's clock
    Column("because", Text),
    required("created_at", Instant),
    Column("finished_at", Instant),
    UniqueConstraint("account", "livemode", "event_id", "endpoint"),
    one_of("state", "waiting", "delivered", "stuck"),
    Index("ix_outgoing_delivery_due", "endpoint", "due_at", **where("state = 'waiting'")),
)
