"""The rolling budget of each card, every declined charge that uses it up, and the retries that a rule refused.

Why: networks count the declines of a card whoever caused them; a retry beyond their limits is refused before the call.
Locks: none to speak of; the tables are new, `attempt` gets one empty column and an index over the few live rows.
Deploy: before the new code.
Undo: drops tables and column; retries are then limited by the policy alone, as before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from worker.columns import Flag, Instant, Json

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

LIVE = sa.text("state in ('sending', 'processing', 'unknown')")


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "card_budget",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("card", sa.Text(), nullable=False),
        sa.Column("brand", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("approved_at", Instant(), nullable=True),
        sa.Column("updated_at", Instant(), nullable=True),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("account", "livemode", "card", name=op.f("pk_card_budget")),
        sqlite_strict=True,
    )
    op.create_table(
        "declined_charge",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("charge", sa.Text(), nullable=False),
        sa.Column("card", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("invoice", sa.Text(), nullable=True),
        sa.Column("intent", sa.Text(), nullable=True),
        sa.Column("amount", big, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("decline", Json(), nullable=False),
        sa.Column("unknown", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("account", "livemode", "charge", name=op.f("pk_declined_charge")),
        sqlite_strict=True,
    )
    op.create_index("ix_declined_charge_card", "declined_charge", ["account", "livemode", "card", "at"])
    op.create_index("ix_declined_charge_invoice", "declined_charge", ["account", "livemode", "invoice"])
    op.create_table(
        "refusal",
        sa.Column("id", big, autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("invoice", sa.Text(), nullable=False),
        sa.Column("action_key", sa.Text(), nullable=False),
        sa.Column("card", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("until", Instant(), nullable=True),
        sa.Column("used", sa.Integer(), nullable=True),
        sa.Column("most", sa.Integer(), nullable=True),
        sa.Column("fee", big, nullable=True),
        sa.Column("fee_currency", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refusal")),
        sqlite_strict=True,
    )
    op.create_index("ix_refusal_invoice", "refusal", ["account", "livemode", "invoice"])
    # Not in batch mode: that would make the table anew in SQLite, and its guards would be lost.
    op.add_column("attempt", sa.Column("card", sa.Text(), nullable=True))
    op.create_index(
        "ix_attempt_card", "attempt", ["account", "livemode", "card"], postgresql_where=LIVE, sqlite_where=LIVE
    )


def downgrade() -> None:
    op.drop_index("ix_attempt_card", "attempt")
    op.drop_column("attempt", "card")
    op.drop_table("refusal")
    op.drop_table("declined_charge")
    op.drop_table("card_budget")
