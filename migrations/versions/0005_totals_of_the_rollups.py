"""Sums of the monthly roll-ups by month and cohort, and rows that are found faster.

Why: monthly bridges and cohorts read hundreds of sums instead of millions of rows.
Locks: the roll-ups are dropped and made as new, empty tables; the bookkeeper's list is locked while everyone is put
on it, about a second for a hundred thousand customers. Reports fold the facts until all are rolled up again.
Deploy: before the new code; whoever keeps the books next fills the tables from the facts by itself.
Undo: the tables of before, empty, and everyone on the list once more.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.columns import Flag, Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LINES = (
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
)
SUMS = (
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
RISK = ("at_risk_opening", "at_risk", "at_risk_cases_opening", "at_risk_cases")
SUMMED = (
    "opening",
    "closing",
    *LINES,
    *RISK,
    "rows",
    "retained",
    "kept",
    "logos_opening",
    "logos_closing",
    "logos_lost",
    "at_risk_base",
    "base",
    "base_logos",
    "cohort_retained",
    "cohort_kept",
    "cohort_logos",
)


def upgrade() -> None:
    op.drop_table("ledger_recovery")
    op.drop_table("ledger_month")
    _months()
    _recoveries()
    _totals()
    _list_everyone()


def downgrade() -> None:
    for table in ("ledger_rollup", "ledger_total", "ledger_recovery", "ledger_month"):
        op.drop_table(table)
    import_module("migrations.versions.0003_monthly_rollups").upgrade()
    _put_on_the_list()


def _months() -> None:
    op.create_table(
        "ledger_month",
        *_owner(),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        *_required(sa.Integer(), "month", "until", "cohort"),
        *_required(BIG, "cohort_base", "opening", "closing", *LINES, *SUMS),
        *_required(sa.Integer(), "standing"),
        *_required(BIG, "at_risk_opening", "at_risk"),
        *_required(sa.Integer(), "at_risk_cases_opening", "at_risk_cases"),
        sa.Column("at_risk_since", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("account", "livemode", "customer", "currency", "month", name=op.f("pk_ledger_month")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("ledger_month", schema=None) as batch_op:
        batch_op.create_index(
            "ix_ledger_month_until",
            ["account", "livemode", "currency", "until", "month"],
            unique=False,
            postgresql_include=[
                "customer",
                "cohort",
                "closing",
                "standing",
                "at_risk",
                "at_risk_cases",
                "at_risk_since",
                *SUMS,
            ],
        )
        batch_op.create_index(
            "ix_ledger_month_at_risk",
            ["account", "livemode", "currency", "until", "month", "at_risk_since"],
            unique=False,
            postgresql_where=sa.text("at_risk_cases > 0"),
            sqlite_where=sa.text("at_risk_cases > 0"),
        )


def _recoveries() -> None:
    op.create_table(
        "ledger_recovery",
        *_owner(),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        *_required(sa.Integer(), "number", "since", "until", "month", "lost_month"),
        sa.Column("lost_subscription", sa.Text(), nullable=False),
        *_required(BIG, "late", "restored"),
        *_required(sa.Integer(), "after"),
        *_required(BIG, "level"),
        sa.PrimaryKeyConstraint(
            "account", "livemode", "customer", "currency", "number", "since", name=op.f("pk_ledger_recovery")
        ),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("ledger_recovery", schema=None) as batch_op:
        batch_op.create_index(
            "ix_ledger_recovery_until",
            ["account", "livemode", "currency", "until", "month"],
            unique=False,
            postgresql_include=["since", "customer", "lost_subscription", "lost_month", "restored", "after", "level"],
        )
        batch_op.create_index(
            "ix_ledger_recovery_late",
            ["account", "livemode", "currency", "month", "lost_month", "customer", "late"],
            unique=False,
            postgresql_where=sa.text("late > 0"),
            sqlite_where=sa.text("late > 0"),
        )


def _totals() -> None:
    op.create_table(
        "ledger_total",
        *_owner(),
        sa.Column("currency", sa.Text(), nullable=False),
        *_required(sa.Integer(), "month", "cohort"),
        *_required(BIG, *SUMMED),
        sa.PrimaryKeyConstraint("account", "livemode", "currency", "month", "cohort", name=op.f("pk_ledger_total")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ledger_rollup",
        *_owner(),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("listed_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("account", "livemode", name=op.f("pk_ledger_rollup")),
        sqlite_strict=True,
    )


def _owner() -> list[sa.Column[Any]]:
    return [sa.Column("account", sa.Text(), nullable=False), sa.Column("livemode", Flag(), nullable=False)]


def _required(kind: Any, *names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def _list_everyone() -> None:
    """Have all customers rolled up again, and until then nobody rely on the roll-ups."""
    _put_on_the_list()
    op.execute(
        "INSERT INTO ledger_rollup (account, livemode, zone, listed_at)"
        " SELECT account, livemode, '', (SELECT max(recorded_at) FROM fact)"
        " FROM fact WHERE customer IS NOT NULL GROUP BY account, livemode"
    )


def _put_on_the_list() -> None:
    """By the time of the newest fact, which no clock of ours is before."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL statement_timeout = 0")
    op.execute(
        "INSERT INTO to_book (account, livemode, customer, due_at)"
        " SELECT account, livemode, customer, (SELECT max(recorded_at) FROM fact)"
        " FROM fact WHERE customer IS NOT NULL GROUP BY account, livemode, customer"
        " ON CONFLICT (account, livemode, customer) DO UPDATE SET due_at = excluded.due_at"
        " WHERE to_book.due_at > excluded.due_at"
    )
