"""What operators write in the place of the shipped texts of messages, and which of it is in force.

Why: a text is changed without a release, by versions that never change and decisions that are only added to.
Locks: none; both tables are new.
Deploy: before the new code.
Undo: drops both tables; the shipped texts are in force again, and what operators wrote is gone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations import guards_0008
from worker.columns import Instant, Json

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "template_version",
        sa.Column("id", big, autoincrement=True, nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("parts", Json(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_template_version")),
        sa.UniqueConstraint("language", "name", "version", name=op.f("uq_template_version_language_name_version")),
        sqlite_strict=True,
    )
    op.create_table(
        "template_activation",
        sa.Column("id", big, autoincrement=True, nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("activated_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_template_activation")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("template_activation", schema=None) as batch_op:
        batch_op.create_index("ix_template_activation_language", ["language", "name"], unique=False)

    for statement in guards_0008.create(op.get_bind().dialect.name):
        op.execute(statement)


def downgrade() -> None:
    for statement in guards_0008.drop(op.get_bind().dialect.name):
        op.execute(statement)
    op.drop_table("template_activation")
    op.drop_table("template_version")
