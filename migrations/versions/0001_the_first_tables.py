"""The first tables.

Why: everything from the inbox to the books, keyed by account and mode, with the guards that code cannot forget.
Locks: none; every table is new.
Deploy: before the new code.
Undo: drops every table; the events can be had again from Stripe for 30 days.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations import guards_0001
from worker.columns import Flag, Instant, Json

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "action",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("invoice", sa.Text(), nullable=True),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("detail", Json(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("lease_until", Instant(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "state in ('waiting', 'claimed', 'sending', 'done', 'cancelled', 'stuck')", name=op.f("ck_action_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_action")),
        sa.UniqueConstraint("account", "livemode", "key", name=op.f("uq_action_account_livemode_key")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("action", schema=None) as batch_op:
        batch_op.create_index(
            "ix_action_due",
            ["due_at"],
            unique=False,
            postgresql_where=sa.text("state in ('waiting', 'claimed', 'sending')"),
            sqlite_where=sa.text("state in ('waiting', 'claimed', 'sending')"),
        )
        batch_op.create_index("ix_action_invoice", ["account", "livemode", "invoice"], unique=False)
        batch_op.create_index(
            "one_live_retry",
            ["account", "livemode", "invoice"],
            unique=True,
            postgresql_where=sa.text("kind = 'retry' and state in ('waiting', 'claimed', 'sending', 'stuck')"),
            sqlite_where=sa.text("kind = 'retry' and state in ('waiting', 'claimed', 'sending', 'stuck')"),
        )

    op.create_table(
        "attempt",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("invoice", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("action_key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("idem_key", sa.Text(), nullable=False),
        sa.Column("request", Json(), nullable=False),
        sa.Column("amount", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("first_sent_at", Instant(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("charge", sa.Text(), nullable=True),
        sa.Column("brand", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("decline", Json(), nullable=True),
        sa.Column("because", sa.Text(), nullable=True),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "state in ('sending', 'processing', 'unknown', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_attempt_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
        sa.UniqueConstraint("account", "livemode", "invoice", "n", name=op.f("uq_attempt_account_livemode_invoice_n")),
        sa.UniqueConstraint("idem_key", name=op.f("uq_attempt_idem_key")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.create_index(
            "one_live",
            ["account", "livemode", "invoice"],
            unique=True,
            postgresql_where=sa.text("state in ('sending', 'processing', 'unknown')"),
            sqlite_where=sa.text("state in ('sending', 'processing', 'unknown')"),
        )
        batch_op.create_index(
            "one_success",
            ["account", "livemode", "invoice"],
            unique=True,
            postgresql_where=sa.text("state = 'succeeded'"),
            sqlite_where=sa.text("state = 'succeeded'"),
        )

    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_strict=True,
    )
    op.create_table(
        "customer",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("account", "livemode", "id", name=op.f("pk_customer")),
        sqlite_strict=True,
    )
    op.create_table(
        "entry",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("subscription", sa.Text(), nullable=True),
        sa.Column("invoice", sa.Text(), nullable=True),
        sa.Column("case", sa.Text(), nullable=True),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("effective_at", Instant(), nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.Column("posted_period", sa.Text(), nullable=False),
        sa.Column("reverses", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entry")),
        sa.UniqueConstraint("account", "livemode", "key", name=op.f("uq_entry_account_livemode_key")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("entry", schema=None) as batch_op:
        batch_op.create_index("ix_entry_customer", ["account", "livemode", "customer"], unique=False)
        batch_op.create_index("ix_entry_invoice", ["account", "livemode", "invoice"], unique=False)

    op.create_table(
        "fact",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("subscription", sa.Text(), nullable=True),
        sa.Column("invoice", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.Column("body", Json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fact")),
        sa.UniqueConstraint("account", "livemode", "source", name=op.f("uq_fact_account_livemode_source")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("fact", schema=None) as batch_op:
        batch_op.create_index("ix_fact_customer", ["account", "livemode", "customer"], unique=False)
        batch_op.create_index("ix_fact_invoice", ["account", "livemode", "invoice"], unique=False)
        batch_op.create_index("ix_fact_subscription", ["account", "livemode", "subscription", "at"], unique=False)

    op.create_table(
        "inbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("api_version", sa.Text(), nullable=True),
        sa.Column("created_at", Instant(), nullable=True),
        sa.Column("received_at", Instant(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("fetched", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("because", sa.Text(), nullable=True),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "state in ('received', 'fetching', 'done', 'ignored', 'quarantined')", name=op.f("ck_inbox_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox")),
        sa.UniqueConstraint("account", "livemode", "event_id", name=op.f("uq_inbox_account_livemode_event_id")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("inbox", schema=None) as batch_op:
        batch_op.create_index(
            "ix_inbox_quarantined",
            ["id"],
            unique=False,
            postgresql_where=sa.text("state = 'quarantined'"),
            sqlite_where=sa.text("state = 'quarantined'"),
        )
        batch_op.create_index(
            "ix_inbox_received",
            ["due_at", "id"],
            unique=False,
            postgresql_where=sa.text("state = 'received'"),
            sqlite_where=sa.text("state = 'received'"),
        )

    op.create_table(
        "kill_switch",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("stopped", Flag(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("account", "livemode", "scope", name=op.f("pk_kill_switch")),
        sqlite_strict=True,
    )
    op.create_table(
        "notice",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("dedup_key", sa.Text(), nullable=False),
        sa.Column("invoice", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("recipient_hash", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("rendered_hash", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("because", sa.Text(), nullable=True),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "state in ('handing_over', 'waiting', 'accepted', 'rejected', 'unknown')", name=op.f("ck_notice_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
        sa.UniqueConstraint("account", "livemode", "dedup_key", name=op.f("uq_notice_account_livemode_dedup_key")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.create_index("ix_notice_invoice", ["account", "livemode", "invoice"], unique=False)

    op.create_table(
        "policy",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("body", Json(), nullable=False),
        sa.Column("first_used_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy")),
        sqlite_strict=True,
    )
    op.create_table(
        "recovery_case",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("invoice", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("subscription", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=True),
        sa.Column("amount", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("mrr", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("decline_class", sa.Text(), nullable=False),
        sa.Column("failed_at", Instant(), nullable=False),
        sa.Column("deadline", Instant(), nullable=False),
        sa.Column("closed_at", Instant(), nullable=True),
        sa.Column("recovered_by", sa.Text(), nullable=True),
        sa.Column("evidence", Json(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("account", "livemode", "invoice", name=op.f("pk_recovery_case")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("recovery_case", schema=None) as batch_op:
        batch_op.create_index("ix_recovery_case_customer", ["account", "livemode", "customer"], unique=False)
        batch_op.create_index("ix_recovery_case_state", ["account", "livemode", "state", "failed_at"], unique=False)

    op.create_table(
        "to_book",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("livemode", Flag(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("account", "livemode", "customer", name=op.f("pk_to_book")),
        sqlite_strict=True,
    )
    with op.batch_alter_table("to_book", schema=None) as batch_op:
        batch_op.create_index("ix_to_book_due_at", ["due_at"], unique=False)

    op.create_table(
        "posting",
        sa.Column("entry", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["entry"], ["entry.id"], name=op.f("fk_posting_entry")),
        sa.PrimaryKeyConstraint("entry", "line", name=op.f("pk_posting")),
        sqlite_strict=True,
    )
    for statement in guards_0001.create(op.get_bind().dialect.name):
        op.execute(statement)


def downgrade() -> None:
    for statement in guards_0001.drop(op.get_bind().dialect.name):
        op.execute(statement)
    for table in (
        "posting",
        "to_book",
        "recovery_case",
        "policy",
        "notice",
        "kill_switch",
        "inbox",
        "fact",
        "entry",
        "customer",
        "audit",
        "attempt",
        "action",
    ):
        op.drop_table(table)
