"""What was asked of Stripe at the end of a case, and what the product was last told that a customer may use.

Why: an end is made once, whatever dies in between; `entitlement.changed` is told when the answer changes.
Locks: none; both tables are new.
Deploy: before the new code.
Undo: drops the tables; let the queue of ends run empty first (no action of kind `end` is `sending`).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from worker.columns import Flag, Instant, Json

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "ending",
        sa.Column("id", big, autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("invoice", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("idem_key", sa.Text(), nullable=False),
        sa.Column("request", Json(), nullable=False),
        sa.Column("first_sent_at", Instant(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("because", sa.Text(), nullable=True),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.CheckConstraint("part in ('subscription', 'invoice')", name=op.f("ck_ending_part")),
        sa.CheckConstraint("state in ('sending', 'made', 'not_made', 'stuck')", name=op.f("ck_ending_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ending")),
        sa.UniqueConstraint(
            "account", "livemode", "invoice", "part", name=op.f("uq_ending_account_livemode_invoice_part")
        ),
        sa.UniqueConstraint("idem_key", name=op.f("uq_ending_idem_key")),
        sqlite_strict=True,
    )
    op.create_table(
        "entitlement_told",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("until", Instant(), nullable=True),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("account", "livemode", "customer", name=op.f("pk_entitlement_told")),
        sqlite_strict=True,
    )


def downgrade() -> None:
    op.drop_table("entitlement_told")
    op.drop_table("ending")
