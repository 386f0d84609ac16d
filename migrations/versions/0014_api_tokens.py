"""Tokens of the API.

Why: other systems ask what a customer may use, and people work on the queue, each with a token of their own.
Locks: none; the table is new.
Deploy: before the new code.
Undo: drops the table; every token has to be made again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from worker.columns import Flag, Instant, Json

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "api_token",
        sa.Column("id", big, autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("scopes", Json(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("last_used_at", Instant(), nullable=True),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_token_token_hash")),
        sqlite_strict=True,
    )
    op.create_index(
        "one_token_of_a_name",
        "api_token",
        ["account", "livemode", "name"],
        unique=True,
        postgresql_where=sa.text("revoked_at is null"),
        sqlite_where=sa.text("revoked_at is null"),
    )


def downgrade() -> None:
    op.drop_table("api_token")
