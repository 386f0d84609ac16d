"""The queue of cases that need a person: one open task per case, its reasons, and what people wrote to it."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.types import Integer

from worker.columns import Big, Flag, Instant
from worker.schema import objects, one_of, required, rows, where

OPEN = "state in ('open', 'taken')"

task = rows(
    "task",
    required("invoice", Text),
    Column("customer", Text),
    required("state", Text),
    required("priority", Integer),  # 1 is the most urgent
    Column("assigned_to", Text),
    required("due_at", Instant),
    Column("due_by", Text),  # who set it by hand; without that it follows the reasons
    required("amount", Big),
    required("currency", Text),
    Column("mrr", Big),
    required("opened_at", Instant),
    Column("closed_at", Instant),
    Column("closed_by", Text),
    Column("because", Text),  # why it was closed
    one_of("state", "open", "taken", "done"),
    Index("one_open_task", "account", "livemode", "invoice", unique=True, **where(OPEN)),
    Index("ix_task_listed", "account", "livemode", "priority", "due_at", "id", **where(OPEN)),
    Index("ix_task_due", "account", "livemode", "due_at", **where(OPEN)),
    Index("ix_task_assigned", "account", "livemode", "assigned_to", "priority", "due_at", "id", **where(OPEN)),
    Index("ix_task_invoice", "account", "livemode", "invoice"),
)

task_reason = rows(
    "task_reason",
    required("task", Big),
    required("invoice", Text),
    required("reason", Text),
    required("since", Instant),  # which occurrence of the reason
    required("because", Text),
    Column("ended_at", Instant),
    required("by_person", Flag),  # a person is done with this occurrence: it is not asked again
    UniqueConstraint("task", "reason"),
    Index("ix_task_reason_open", "account", "livemode", "reason", "task", **where("ended_at is null")),
    Index("ix_task_reason_invoice", "account", "livemode", "invoice"),
)

task_note = rows(  # append-only
    "task_note",
    required("invoice", Text),
    required("key", Text),  # of who wrote what on which day: the same note sent twice is one
    required("actor", Text),
    required("words", Text),
    required("at", Instant),
    UniqueConstraint("account", "livemode", "key"),
    Index("ix_task_note_invoice", "account", "livemode", "invoice"),
)

to_review = objects(
    "to_review",
    "invoice",
    required("due_at", Instant),  # when the reasons of this case must be looked at again
    Index("ix_to_review_due_at", "due_at"),
)

api_reply = rows(
    "api_reply",
    required("key", Text),  # the Idempotency-Key of the request
    required("request_hash", Text),
    required("body", LargeBinary),
    required("at", Instant),
    UniqueConstraint("account", "livemode", "key"),
    Index("ix_api_reply_at", "at"),
)
