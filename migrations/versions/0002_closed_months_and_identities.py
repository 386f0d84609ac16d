"""Closed months, and Stripe customers that are one account.

Why: a month that was reported is never rewritten, and revenue is counted per account, not per Stripe customer.
Locks: none; both tables are new.
Deploy: before the new code.
Undo: drops both tables; the books stay, and the next fold books every Stripe customer on its own again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations import guards_0002
from worker.columns import Flag, Instant, Json

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "period_close",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("closed_at", Instant(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("last_fact", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("last_identity", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("closing", Json(), nullable=False),
        sa.PrimaryKeyConstraint("account", "livemode", "month", name=op.f("pk_period_close")),
        sqlite_strict=True,
    )
    op.create_table(
        "identity",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("same_as", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("identity", schema=None) as batch_op:
        batch_op.create_index("ix_identity_customer", ["account", "livemode", "customer"], unique=False)

    for statement in guards_0002.create(op.get_context().dialect.name):
        op.execute(statement)


def downgrade() -> None:
    for statement in guards_0002.drop(op.get_context().dialect.name):
        op.execute(statement)

    with op.batch_alter_table("identity", schema=None) as batch_op:
        batch_op.drop_index("ix_identity_customer")

    op.drop_table("identity")
    op.drop_table("period_close")
