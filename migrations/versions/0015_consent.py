"""Who agreed to be written to by SMS, and who took it back; messages found by their time, to count an hour's.

Why: nobody gets an SMS without a consent whose day and source are known; too many messages in an hour stop the sending.
Locks: writes to `notice` wait while its index is built; the table is new.
Deploy: before the new code.
Undo: drops the table: nobody has agreed any more, and nobody gets an SMS.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from worker.columns import Flag, Instant

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "consent",
        sa.Column("id", big, autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("number_hash", sa.Text(), nullable=False),
        sa.Column("granted_at", Instant(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("granted_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.Column("withdrawn_at", Instant(), nullable=True),
        sa.Column("withdrawn_by", sa.Text(), nullable=True),
        sa.CheckConstraint("channel in ('sms', 'chat')", name=op.f("ck_consent_channel")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent")),
        sqlite_strict=True,
    )
    op.create_index(
        "one_consent",
        "consent",
        ["account", "livemode", "customer", "channel"],
        unique=True,
        postgresql_where=sa.text("withdrawn_at is null"),
        sqlite_where=sa.text("withdrawn_at is null"),
    )
    op.create_index("ix_consent_customer", "consent", ["account", "livemode", "customer"], unique=False)
    op.create_index("ix_consent_number_hash", "consent", ["number_hash"], unique=False)
    op.create_index("ix_notice_at", "notice", ["account", "livemode", "at"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_notice_at", table_name="notice")
    op.drop_table("consent")
