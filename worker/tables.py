"""The tables, for both engines. Rows are made into values in `worker/store.py`; constraints do the guarding.

Every table is keyed by (account, livemode): several accounts live in one installation, and test events never touch
live data. The triggers (append-only, terminal stays terminal) are in `migrations/guards_0001.py`.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import Integer

from worker import ahead_tables as _of_ahead  # noqa: F401  # they belong to the same metadata
from worker import assist_tables as _of_the_queue  # noqa: F401
from worker import channel_tables as _of_channels  # noqa: F401
from worker import consent_tables as _of_consent  # noqa: F401
from worker import link_tables as _of_links  # noqa: F401
from worker import token_tables as _of_tokens  # noqa: F401
from worker.card_tables import card_budget as card_budget
from worker.card_tables import declined_charge as declined_charge
from worker.card_tables import refusal as refusal
from worker.columns import Big, Flag, Instant, Json
from worker.ending_tables import ending as ending
from worker.ending_tables import entitlement_told as entitlement_told
from worker.model_tables import retry_model as retry_model
from worker.rollup_tables import STANDING as STANDING
from worker.rollup_tables import ledger_month as ledger_month
from worker.rollup_tables import ledger_recovery as ledger_recovery
from worker.rollup_tables import ledger_rollup as ledger_rollup
from worker.rollup_tables import ledger_total as ledger_total
from worker.schema import metadata, objects, one_of, required, rows, where
from worker.templates import tables as _of_templates  # noqa: F401  # they belong to the same metadata

# ---------------------------------------------------------------- what Stripe told us

inbox = rows(
    "inbox",
    required("event_id", Text),
    required("type", Text),
    Column("api_version", Text),
    Column("created_at", Instant),  # by Stripe
    required("received_at", Instant),
    Column("body", LargeBinary),  # the raw bytes that were signed; emptied when the retention ends
    Column("fetched", LargeBinary),  # for a thin event: the object it names, read with our own version
    required("state", Text),
    required("tries", Integer),
    required("due_at", Instant),
    Column("because", Text),
    Column("finished_at", Instant),
    UniqueConstraint("account", "livemode", "event_id"),
    one_of("state", "received", "fetching", "done", "ignored", "quarantined"),
    Index("ix_inbox_received", "due_at", "id", **where("state = 'received'")),
    Index("ix_inbox_quarantined", "id", **where("state = 'quarantined'")),
)

customer = objects(
    "customer",
    "id",
    Column("email", Text),
    Column("name", Text),
    Column("locale", Text),
    Column("country", Text),
    required("seen_at", Instant),
)

# ---------------------------------------------------------------- what we decided

recovery_case = objects(
    "recovery_case",
    "invoice",
    Column("customer", Text),
    Column("subscription", Text),
    required("state", Text),
    required("because", Text),
    required("policy", Text),
    Column("arm", Text),
    required("amount", Big),
    required("currency", Text),
    Column("mrr", Big),
    required("decline_class", Text),
    required("failed_at", Instant),
    required("deadline", Instant),
    Column("closed_at", Instant),
    Column("recovered_by", Text),
    required("evidence", Json),  # the rest of billing.case.RecoveryCase
    required("updated_at", Instant),
    Index("ix_recovery_case_customer", "account", "livemode", "customer"),
    Index("ix_recovery_case_state", "account", "livemode", "state", "failed_at"),
)

action = rows(
    "action",
    required("key", Text),
    required("kind", Text),
    Column("invoice", Text),
    Column("customer", Text),
    required("detail", Json),
    required("due_at", Instant),
    required("because", Text),
    required("state", Text),
    required("token", Integer),  # grows with every claim: a write by an old owner changes nothing
    Column("lease_until", Instant),  # by the database's clock
    required("tries", Integer),
    Column("outcome", Text),
    required("created_at", Instant),
    Column("finished_at", Instant),
    UniqueConstraint("account", "livemode", "key"),
    one_of("state", "waiting", "claimed", "sending", "done", "cancelled", "stuck"),
    Index("ix_action_due", "due_at", **where("state in ('waiting', 'claimed', 'sending')")),
    Index("ix_action_invoice", "account", "livemode", "invoice"),
    Index(
        "one_live_retry",
        "account",
        "livemode",
        "invoice",
        unique=True,
        **where("kind = 'retry' and state in ('waiting', 'claimed', 'sending', 'stuck')"),
    ),
)

attempt = rows(
    "attempt",
    required("invoice", Text),
    required("n", Integer),
    required("action_key", Text),
    required("state", Text),
    Column("answer", Text),
    required("token", Integer),
    required("idem_key", Text),
    required("request", Json),  # the body as sent, so that a repeat is the same request
    required("amount", Big),
    required("currency", Text),
    required("first_sent_at", Instant),  # by the database's clock: the age of the key
    required("at", Instant),  # by the application's clock: what a person reads
    Column("charge", Text),
    Column("brand", Text),
    Column("fingerprint", Text),
    Column("card", Text),  # of card_budget: what was about to be charged
    Column("decline", Json),
    Column("because", Text),
    Column("finished_at", Instant),
    UniqueConstraint("account", "livemode", "invoice", "n"),
    UniqueConstraint("idem_key"),
    one_of("state", "sending", "processing", "unknown", "succeeded", "failed", "cancelled"),
    Index(
        "one_live",
        "account",
        "livemode",
        "invoice",
        unique=True,
        **where("state in ('sending', 'processing', 'unknown')"),
    ),
    Index("one_success", "account", "livemode", "invoice", unique=True, **where("state = 'succeeded'")),
    Index("ix_attempt_card", "account", "livemode", "card", **where("state in ('sending', 'processing', 'unknown')")),
)

notice = rows(
    "notice",
    required("dedup_key", Text),
    required("invoice", Text),
    Column("customer", Text),
    required("step", Text),
    required("channel", Text),
    required("recipient_hash", Text),
    required("template", Text),
    required("message_id", Text),
    required("rendered_hash", Text),
    required("state", Text),
    required("token", Integer),
    required("at", Instant),
    Column("because", Text),
    Column("finished_at", Instant),
    UniqueConstraint("account", "livemode", "dedup_key"),
    one_of("state", "handing_over", "waiting", "accepted", "rejected", "unknown"),
    Index("ix_notice_invoice", "account", "livemode", "invoice"),
    Index("ix_notice_customer", "account", "livemode", "customer", "at"),
    Index("ix_notice_at", "account", "livemode", "at"),
    Index("ix_notice_recipient_hash", "recipient_hash"),
)

policy = Table(
    "policy",
    metadata,
    Column("id", Text, primary_key=True),  # name@version
    required("body", Json),
    required("first_used_at", Instant),
    sqlite_strict=True,
)

kill_switch = objects(
    "kill_switch",
    "scope",  # 'all', or the id of an account
    required("stopped", Flag),
    required("by", Text),
    required("because", Text),
    required("at", Instant),
)

audit = rows(
    "audit",
    required("at", Instant),
    required("actor", Text),
    required("what", Text),
    required("object", Text),
    required("because", Text),
)

# ---------------------------------------------------------------- the books

fact = rows(
    "fact",
    required("source", Text),  # id of the event
    Column("customer", Text),
    Column("subscription", Text),
    Column("invoice", Text),
    required("kind", Text),
    required("at", Instant),
    required("recorded_at", Instant),
    required("body", Json),  # the event without anything personal: what cases and books are rebuilt from
    UniqueConstraint("account", "livemode", "source"),
    Index("ix_fact_customer", "account", "livemode", "customer"),
    Index("ix_fact_invoice", "account", "livemode", "invoice"),
    Index("ix_fact_subscription", "account", "livemode", "subscription", "at"),
)

to_book = objects(
    "to_book",
    "customer",
    required("due_at", Instant),  # when the books of this customer must be folded again
    Index("ix_to_book_due_at", "due_at"),
)

entry = rows(
    "entry",
    required("key", Text),
    required("customer", Text),
    Column("subscription", Text),
    Column("invoice", Text),
    Column("case", Text),  # of the books: one failure of one subscription
    required("because", Text),
    required("effective_at", Instant),
    required("recorded_at", Instant),
    required("posted_period", Text),  # 2026-03: the month in whose books it stands
    Column("reverses", Text),  # the key of the entry that this one takes back
    UniqueConstraint("account", "livemode", "key"),
    Index("ix_entry_customer", "account", "livemode", "customer"),
    Index("ix_entry_invoice", "account", "livemode", "invoice"),
)

posting = Table(
    "posting",
    metadata,
    Column("entry", Big, ForeignKey("entry.id"), primary_key=True),
    Column("line", Integer, primary_key=True),
    required("name", Text),  # the account of the books: good, at_risk, recovered_involuntary_churn ...
    required("minor", Big),
    required("unit", Text),  # usd/mo or usd
    sqlite_strict=True,
)

# ---------------------------------------------------------------- what stands beside the books

period_close = objects(
    "period_close",
    "month",  # 2026-03; closing it closes every month before it
    required("closed_at", Instant),
    required("by", Text),
    required("zone", Text),  # in which the month begins and ends
    required("policy", Text),  # name of the ledger policy
    required("last_fact", Big),  # every fact up to this row was known, and none after it
    required("last_identity", Big),
    required("closing", Json),  # minor units by unit, as posted: never to change again
)

identity = rows(
    "identity",
    required("customer", Text),
    required("same_as", Text),  # the customer under whose id the account is booked; its own id: alone again
    required("by", Text),
    required("recorded_at", Instant),
    Index("ix_identity_customer", "account", "livemode", "customer"),
)

# ---------------------------------------------------------------- history in, and what webhooks missed

backfill_cursor = objects(
    "backfill_cursor",
    "resource",  # a stage of the back-fill, or `events` of the reconciliation
    Column("after", Text),  # the last object whose page is committed; the next page comes after it
    required("objects", Big),  # so many of them so far
    Column("horizon", Instant),  # what happened before it is rebuilt from objects, the rest is told by events
    required("started_at", Instant),
    Column("done_at", Instant),
)

billed = objects(
    "billed",
    "invoice",  # what it billed for its subscription; kept while a back-fill is under way
    required("subscription", Text),
    required("body", Json),
    Index("ix_billed_subscription", "account", "livemode", "subscription"),
)

schedule = objects(
    "schedule",
    "name",
    required("due_at", Instant),  # whoever moves it on does the work: any number of workers, one does it
    Column("because", Text),  # what came of it last
    Column("done_at", Instant),
)
