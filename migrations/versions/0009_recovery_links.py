"""Links to the recovery page, and what customers wrote to the team there.

Why: a message carries a link of ours that expires and can be revoked; the table holds only its hash.
Locks: none; both tables are new.
Deploy: before the new code.
Undo: drops both tables; links that were sent answer as unknown, and the next messages carry Stripe's own page.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from worker.columns import Flag, Instant

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "recovery_link",
        sa.Column("id", big, autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("used_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_link")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_recovery_link_token_hash")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("recovery_link", schema=None) as batch_op:
        batch_op.create_index("ix_recovery_link_customer", ["account", "livemode", "customer"], unique=False)
    op.create_table(
        "customer_word",
        sa.Column("id", big, autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer_word")),
        sa.UniqueConstraint("account", "livemode", "key", name=op.f("uq_customer_word_account_livemode_key")),
        sqlite_strict=True,
    )


def downgrade() -> None:
    op.drop_table("customer_word")
    op.drop_table("recovery_link")
