"""How often a customer was written to is asked before every message: an index for that question.

Why: a policy may cap the messages to one address over all cases of its customer.
Locks: building the index blocks writes to `notice` on PostgreSQL for some seconds per million rows.
Deploy: before the new code.
Undo: drops the index.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.create_index("ix_notice_customer", ["account", "livemode", "customer", "at"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.drop_index("ix_notice_customer")
