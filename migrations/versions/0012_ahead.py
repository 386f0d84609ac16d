"""What is known of renewals to come and of what pays them, and the warnings about them with their arms.

Why: a customer is warned before a payment fails, and a control group shows whether that helps.
Locks: none; all tables are new.
Deploy: before the new code.
Undo: drops the tables: the experiment is lost, and who was warned may be warned again. Export `ahead_assignment` first.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations import guards_0012
from worker.columns import Flag, Instant

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ahead_assignment",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("share", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.CheckConstraint("arm in ('told', 'control')", name=op.f("ck_ahead_assignment_arm")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ahead_assignment")),
        sa.UniqueConstraint(
            "account", "livemode", "step", "customer", name=op.f("uq_ahead_assignment_account_livemode_step_customer")
        ),
        sqlite_strict=True,
    )
    op.create_table(
        "ahead_default",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=True),
        sa.Column("told_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("account", "livemode", "customer", name=op.f("pk_ahead_default")),
        sqlite_strict=True,
    )
    op.create_table(
        "ahead_method",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("brand", sa.Text(), nullable=True),
        sa.Column("last4", sa.Text(), nullable=True),
        sa.Column("exp_month", sa.Integer(), nullable=True),
        sa.Column("exp_year", sa.Integer(), nullable=True),
        sa.Column("told_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("account", "livemode", "method", name=op.f("pk_ahead_method")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("ahead_method", schema=None) as batch_op:
        batch_op.create_index("ix_ahead_method_customer", ["account", "livemode", "customer"], unique=False)

    op.create_table(
        "ahead_renewal",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("subscription", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("period_end", Instant(), nullable=True),
        sa.Column("renews_at", Instant(), nullable=True),
        sa.Column("months", sa.Integer(), nullable=False),
        sa.Column("amount", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("mrr", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("trial", Flag(), nullable=False),
        sa.Column("own_method", sa.Text(), nullable=True),
        sa.Column("told_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("account", "livemode", "subscription", name=op.f("pk_ahead_renewal")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("ahead_renewal", schema=None) as batch_op:
        batch_op.create_index("ix_ahead_renewal_customer", ["account", "livemode", "customer"], unique=False)
        batch_op.create_index(
            "ix_ahead_renewal_renews_at", ["account", "livemode", "renews_at", "subscription"], unique=False
        )

    op.create_table(
        "ahead_warning",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("subscription", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=True),
        sa.Column("expires", sa.Text(), nullable=True),
        sa.Column("renewal_at", Instant(), nullable=False),
        sa.Column("amount", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("mrr", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=True),
        sa.Column("arm_at", Instant(), nullable=True),
        sa.Column("sent", sa.Text(), nullable=True),
        sa.Column("mended_at", Instant(), nullable=True),
        sa.Column("mended_by", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("planned_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "state in ('planned', 'told', 'control', 'withdrawn', 'skipped')", name=op.f("ck_ahead_warning_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ahead_warning")),
        sa.UniqueConstraint(
            "account", "livemode", "step", "subject", name=op.f("uq_ahead_warning_account_livemode_step_subject")
        ),
        sqlite_strict=True,
    )
    with op.batch_alter_table("ahead_warning", schema=None) as batch_op:
        batch_op.create_index("ix_ahead_warning_customer", ["account", "livemode", "customer"], unique=False)
        batch_op.create_index(
            "ix_ahead_warning_open",
            ["account", "livemode", "renewal_at", "id"],
            unique=False,
            postgresql_where=sa.text("arm is not null and ended_at is null"),
            sqlite_where=sa.text("arm is not null and ended_at is null"),
        )
    for statement in guards_0012.create(op.get_context().dialect.name):
        op.execute(statement)


def downgrade() -> None:
    for statement in guards_0012.drop(op.get_context().dialect.name):
        op.execute(statement)
    for table in ("ahead_warning", "ahead_renewal", "ahead_method", "ahead_default", "ahead_assignment"):
        op.drop_table(table)
