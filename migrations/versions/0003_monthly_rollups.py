"""Monthly roll-ups of the books.

Why: reports over years read a customer's months instead of every movement, and do not grow with history.
Locks: none; both tables are new.
Deploy: before the new code; `reprieve ledger rebuild` fills them from the facts, in the background if it must.
Undo: drops both tables; nothing is lost, because they are made from the facts.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from worker.columns import Flag, Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

AMOUNTS = (
    "cohort_base",
    "opening",
    "closing",
    "expansion",
    "downgrade",
    "restructuring",
    "voluntary_churn",
    "gross_involuntary_churn",
    "recovered_involuntary_churn",
    "new_business",
    "reactivation",
    "late_recovery",
    "recovered_live",
    "sum_new",
    "sum_expansion",
    "sum_reactivation",
    "sum_downgrade",
    "sum_restructuring",
    "sum_voluntary",
    "sum_involuntary",
    "sum_paired",
    "sum_returned",
)
BY_MONTH = (
    *AMOUNTS[:13],
    "cohort",
    "at_risk_opening",
    "at_risk",
    "at_risk_cases_opening",
    "at_risk_cases",
)
BY_CUSTOMER = (
    *AMOUNTS[13:],
    "customer",
    "cohort",
    "closing",
    "standing",
    "at_risk",
    "at_risk_cases",
    "at_risk_since",
)


def upgrade() -> None:
    op.create_table(
        "ledger_month",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("until", sa.Integer(), nullable=False),
        sa.Column("cohort", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False) for name in AMOUNTS),
        sa.Column("standing", sa.Integer(), nullable=False),
        sa.Column("at_risk_opening", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at_risk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at_risk_cases_opening", sa.Integer(), nullable=False),
        sa.Column("at_risk_cases", sa.Integer(), nullable=False),
        sa.Column("at_risk_since", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("account", "livemode", "currency", "month", "customer", name=op.f("pk_ledger_month")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("ledger_month", schema=None) as batch_op:
        batch_op.create_index("ix_ledger_month_customer", ["account", "livemode", "customer"], unique=False)
        batch_op.create_index(
            "ix_ledger_month_until",
            ["account", "livemode", "currency", "until", "month"],
            unique=False,
            postgresql_include=list(BY_CUSTOMER),
        )
        batch_op.create_index(  # SQLite keeps the table itself in this order, and so the index empty
            "ix_ledger_month_month",
            ["account", "livemode", "currency", "month"],
            unique=False,
            postgresql_include=list(BY_MONTH),
            sqlite_where=sa.text("month = 0"),
        )
        batch_op.create_index(
            "ix_ledger_month_at_risk",
            ["account", "livemode", "currency", "until"],
            unique=False,
            postgresql_where=sa.text("at_risk_cases > 0"),
            sqlite_where=sa.text("at_risk_cases > 0"),
        )

    op.create_table(
        "ledger_recovery",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.Column("until", sa.Integer(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("lost_month", sa.Integer(), nullable=False),
        sa.Column("lost_subscription", sa.Text(), nullable=False),
        sa.Column("loss", sa.Text(), nullable=False),
        sa.Column("paired", sa.Integer(), nullable=False),
        sa.Column("minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("level", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint(
            "account", "livemode", "customer", "currency", "number", "since", name=op.f("pk_ledger_recovery")
        ),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("ledger_recovery", schema=None) as batch_op:
        batch_op.create_index("ix_ledger_recovery_month", ["account", "livemode", "currency", "month"], unique=False)


def downgrade() -> None:
    op.drop_table("ledger_recovery")
    op.drop_table("ledger_month")
