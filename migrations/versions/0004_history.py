"""How far the back-fill has come, what invoices billed, and what is done on schedule.

Why: a back-fill that is killed goes on where it stood, and of many workers one does the daily comparison.
Locks: none; the tables are new.
Deploy: before the new code.
Undo: drops the tables; a back-fill under way begins anew and changes nothing that it has stored.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from worker.columns import Flag, Instant, Json

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "backfill_cursor",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("objects", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("horizon", Instant(), nullable=True),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("done_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("account", "livemode", "resource", name=op.f("pk_backfill_cursor")),
        sqlite_strict=True,
    )
    op.create_table(
        "billed",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("invoice", sa.Text(), nullable=False),
        sa.Column("subscription", sa.Text(), nullable=False),
        sa.Column("body", Json(), nullable=False),
        sa.PrimaryKeyConstraint("account", "livemode", "invoice", name=op.f("pk_billed")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("billed", schema=None) as batch_op:
        batch_op.create_index("ix_billed_subscription", ["account", "livemode", "subscription"], unique=False)

    op.create_table(
        "schedule",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("because", sa.Text(), nullable=True),
        sa.Column("done_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("account", "livemode", "name", name=op.f("pk_schedule")),
        sqlite_strict=True,
    )


def downgrade() -> None:
    op.drop_table("schedule")
    with op.batch_alter_table("billed", schema=None) as batch_op:
        batch_op.drop_index("ix_billed_subscription")

    op.drop_table("billed")
    op.drop_table("backfill_cursor")
