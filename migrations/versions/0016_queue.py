"""The queue of cases that need a person.

Why: some cases are mended by people; what they need, who has it, until when and what was written is kept.
Locks: an index is added to `customer_word`, a small table; the others are new. The open cases are put on the list to
be looked at, which reads `recovery_case` once.
Deploy: before the new code.
Undo: drops the tables with every note that people wrote: export `task_note` first.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from migrations import guards_0016
from worker.columns import Flag, Instant

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

OPEN = "state in ('open', 'taken')"
LIVE = ("open", "recovering", "needs_customer", "held", "paused")


def upgrade() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

    def rows(name: str, *columns: sa.schema.SchemaItem) -> None:
        op.create_table(
            name,
            sa.Column("id", big, autoincrement=True, nullable=False),
            sa.Column("account", sa.Text(), nullable=False),
            sa.Column("livemode", Flag(), nullable=False),
            *columns,
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
            sqlite_strict=True,
        )

    rows(
        "task",
        sa.Column("invoice", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("assigned_to", sa.Text(), nullable=True),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("due_by", sa.Text(), nullable=True),
        sa.Column("amount", big, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("mrr", big, nullable=True),
        sa.Column("opened_at", Instant(), nullable=False),
        sa.Column("closed_at", Instant(), nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.Column("because", sa.Text(), nullable=True),
        sa.CheckConstraint("state in ('open', 'taken', 'done')", name=op.f("ck_task_state")),
    )
    _index("one_open_task", "task", ["account", "livemode", "invoice"], OPEN, unique=True)
    _index("ix_task_listed", "task", ["account", "livemode", "priority", "due_at", "id"], OPEN)
    _index("ix_task_due", "task", ["account", "livemode", "due_at"], OPEN)
    _index("ix_task_assigned", "task", ["account", "livemode", "assigned_to", "priority", "due_at", "id"], OPEN)
    _index("ix_task_invoice", "task", ["account", "livemode", "invoice"])
    rows(
        "task_reason",
        sa.Column("task", big, nullable=False),
        sa.Column("invoice", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("by_person", Flag(), nullable=False),
        sa.UniqueConstraint("task", "reason", name=op.f("uq_task_reason_task_reason")),
    )
    _index("ix_task_reason_open", "task_reason", ["account", "livemode", "reason", "task"], "ended_at is null")
    _index("ix_task_reason_invoice", "task_reason", ["account", "livemode", "invoice"])
    rows(
        "task_note",
        sa.Column("invoice", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.UniqueConstraint("account", "livemode", "key", name=op.f("uq_task_note_account_livemode_key")),
    )
    _index("ix_task_note_invoice", "task_note", ["account", "livemode", "invoice"])
    rows(
        "api_reply",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.UniqueConstraint("account", "livemode", "key", name=op.f("uq_api_reply_account_livemode_key")),
    )
    _index("ix_api_reply_at", "api_reply", ["at"])
    op.create_table(
        "to_review",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("invoice", sa.Text(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("account", "livemode", "invoice", name=op.f("pk_to_review")),
        sqlite_strict=True,
    )
    _index("ix_to_review_due_at", "to_review", ["due_at"])
    _index("ix_customer_word_customer", "customer_word", ["account", "livemode", "customer"])
    for statement in guards_0016.create(op.get_context().dialect.name):
        op.execute(statement)
    _look_at_every_open_case()


def _index(name: str, table: str, columns: list[str], condition: str = "", unique: bool = False) -> None:
    where = {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)} if condition else {}
    op.create_index(name, table, columns, unique=unique, **where)


def _look_at_every_open_case() -> None:
    case, review = (
        sa.table(
            name,
            sa.column("account", sa.Text()),
            sa.column("livemode", Flag()),
            sa.column("invoice", sa.Text()),
            sa.column("state", sa.Text()),
            sa.column("due_at", Instant()),
        )
        for name in ("recovery_case", "to_review")
    )
    now = sa.literal(datetime.now(UTC), Instant())
    live = sa.select(case.c.account, case.c.livemode, case.c.invoice, now).where(case.c.state.in_(LIVE))
    op.execute(review.insert().from_select(["account", "livemode", "invoice", "due_at"], live))


def downgrade() -> None:
    for statement in guards_0016.drop(op.get_context().dialect.name):
        op.execute(statement)
    op.drop_index("ix_customer_word_customer", "customer_word")
    for table in ("to_review", "api_reply", "task_note", "task_reason", "task"):
        op.drop_table(table)
