"""What operators wrote in the place of the shipped texts, and which of it is in force; both are only added to."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text, UniqueConstraint

from worker.columns import Big, Instant, Json
from worker.schema import metadata, required

template_version = Table(
    "template_version",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    required("language", Text),
    required("name", Text),  # of a table in config/messages: reminder, reminder.funds, reason.funds, words
    required("version", Integer),  # 1, 2 ... of this name and language
    required("parts", Json),
    required("author", Text),
    required("created_at", Instant),
    UniqueConstraint("language", "name", "version"),
    sqlite_strict=True,
)

template_activation = Table(
    "template_activation",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    required("language", Text),
    required("name", Text),
    required("version", Integer),  # from now on; 0 is the shipped text
    required("by", Text),
    required("activated_at", Instant),
    Index("ix_template_activation_language", "language", "name"),
    sqlite_strict=True,
)
