"""What comes back from mailboxes, who gets nothing any more, and the outbox of our merchant's own systems.

Why: a mailbox that bounced, complained or unsubscribed is left alone; events are delivered at least once, and seen.
Locks: none; all tables are new.
Deploy: before the new code.
Undo: drops the tables: who unsubscribed would be written to again, so export `suppression` first.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from worker.columns import Flag, Instant, Json

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "suppression",
        sa.Column("id", big, autoincrement=True, nullable=False),
        sa.Column("mailbox", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("lifted_at", Instant(), nullable=True),
        sa.Column("lifted_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "reason in ('bounce', 'complaint', 'unsubscribed', 'operator')", name=op.f("ck_suppression_reason")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suppression")),
        sqlite_strict=True,
    )
    op.create_index(
        "one_suppression",
        "suppression",
        ["mailbox", "reason"],
        unique=True,
        postgresql_where=sa.text("lifted_at is null"),
        sqlite_where=sa.text("lifted_at is null"),
    )

    op.create_table(
        "contact_report",
        sa.Column("id", big, autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("mailbox", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("invoice", sa.Text(), nullable=True),
        sa.Column("because", sa.Text(), nullable=True),
        sa.Column("at", Instant(), nullable=False),
        sa.UniqueConstraint(
            "account",
            "livemode",
            "source",
            "report",
            "invoice",
            name=op.f("uq_contact_report_account_livemode_source_report_invoice"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_report")),
        sa.CheckConstraint(
            "kind in ('hard', 'soft', 'complaint', 'unsubscribed')", name=op.f("ck_contact_report_kind")
        ),
        sqlite_strict=True,
    )
    op.create_index("ix_contact_report_invoice", "contact_report", ["account", "livemode", "invoice"], unique=False)

    op.create_table(
        "outgoing_event",
        sa.Column("id", big, autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("body", Json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outgoing_event")),
        sa.UniqueConstraint(
            "account", "livemode", "event_id", name=op.f("uq_outgoing_event_account_livemode_event_id")
        ),
        sqlite_strict=True,
    )

    op.create_table(
        "outgoing_delivery",
        sa.Column("id", big, autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("lease_until", Instant(), nullable=True),
        sa.Column("because", sa.Text(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outgoing_delivery")),
        sa.CheckConstraint("state in ('waiting', 'delivered', 'stuck')", name=op.f("ck_outgoing_delivery_state")),
        sa.UniqueConstraint(
            "account",
            "livemode",
            "event_id",
            "endpoint",
            name=op.f("uq_outgoing_delivery_account_livemode_event_id_endpoint"),
        ),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_outgoing_delivery_due",
        "outgoing_delivery",
        ["endpoint", "due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting'"),
        sqlite_where=sa.text("state = 'waiting'"),
    )


def downgrade() -> None:
    for table in ("outgoing_delivery", "outgoing_event", "contact_report", "suppression"):
        op.drop_table(table)
