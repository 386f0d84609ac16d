"""Whose messages went to a mailbox is asked for every message that comes back: an index for that question.

Why: a bounce names only the mailbox; without the index each one reads every message that was ever sent.
Locks: building the index blocks writes to `notice` on PostgreSQL for some seconds per million rows.
Deploy: before the new code.
Undo: drops the index.
"""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.create_index("ix_notice_recipient_hash", ["recipient_hash"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.drop_index("ix_notice_recipient_hash")
