"""The retry models: every fitted version with its checks, and which one is in use.

Why: the model learns from a merchant's own closed cases; one that fails its checks is kept and not used.
Locks: none; the table is new.
Deploy: before the new code.
Undo: drops the table; retries are then timed by the ladders, as before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations import guards_0007
from worker.columns import Flag, Instant, Json

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CANDIDATE = sa.text("state = 'candidate'")


def upgrade() -> None:
    op.create_table(
        "retry_model",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=True),
        sa.Column("checks", Json(), nullable=True),
        sa.Column("parameters", Json(), nullable=True),
        sa.CheckConstraint("state in ('candidate', 'active', 'refused')", name=op.f("ck_retry_model_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retry_model")),
        sqlite_strict=True,
    )
    op.create_index(
        "one_candidate",
        "retry_model",
        ["account", "livemode", "version"],
        unique=True,
        postgresql_where=CANDIDATE,
        sqlite_where=CANDIDATE,
    )
    for statement in guards_0007.create(op.get_context().dialect.name):
        op.execute(statement)


def downgrade() -> None:
    for statement in guards_0007.drop(op.get_context().dialect.name):
        op.execute(statement)
    op.drop_table("retry_model")
