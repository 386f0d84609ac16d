"""The roll-ups: made from the books, and made anew at will. Part of `worker.tables`."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, Text
from sqlalchemy.types import Integer

from billing.report.rollup_total import SUMMED
from worker.columns import Big, Flag, Instant
from worker.schema import metadata, required, where

_MONTHLY = (
    "opening closing expansion downgrade restructuring voluntary_churn gross_involuntary_churn"
    " recovered_involuntary_churn new_business reactivation late_recovery recovered_live"
    " sum_new sum_expansion sum_reactivation sum_downgrade sum_restructuring sum_voluntary sum_involuntary"
    " sum_paired sum_returned"
).split()

# What a bridge reads of a customer, so that PostgreSQL takes it from the index alone however the rows lie.
STANDING = (
    "customer cohort closing standing at_risk at_risk_cases at_risk_since sum_new sum_expansion sum_reactivation"
    " sum_downgrade sum_restructuring sum_voluntary sum_involuntary sum_paired sum_returned"
).split()

ledger_month = Table(
    "ledger_month",  # the columns are those of billing.report.rollup.Month
    metadata,
    Column("account", Text, primary_key=True),
    Column("livemode", Flag, primary_key=True),
    Column("customer", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("month", Integer, primary_key=True, autoincrement=False),  # 202603
    required("until", Integer),  # the month of the next row: this one stands before it
    required("cohort", Integer),
    required("cohort_base", Big),
    *(required(name, Big) for name in _MONTHLY),
    required("standing", Integer),
    required("at_risk_opening", Big),
    required("at_risk", Big),
    required("at_risk_cases_opening", Integer),
    required("at_risk_cases", Integer),
    Column("at_risk_since", Instant),
    # With every month that a row can end in, those that stood at a given time are found without passing over others.
    Index("ix_ledger_month_until", *("account", "livemode", "currency", "until", "month"), postgresql_include=STANDING),
    Index(
        "ix_ledger_month_at_risk",
        *("account", "livemode", "currency", "until", "month", "at_risk_since"),
        **where("at_risk_cases > 0"),
    ),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

ledger_recovery = Table(
    "ledger_recovery",  # those of billing.report.rollup_recovery.Restored; read by worker.rollup_reports.recovered
    metadata,
    Column("account", Text, primary_key=True),
    Column("livemode", Flag, primary_key=True),
    Column("customer", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("since", Integer, primary_key=True, autoincrement=False),
    required("until", Integer),
    required("month", Integer),
    required("lost_month", Integer),
    required("lost_subscription", Text),
    required("late", Big),
    required("restored", Big),
    required("after", Integer),
    required("level", Big),
    Index(
        "ix_ledger_recovery_until",
        *("account", "livemode", "currency", "until", "month"),
        postgresql_include=["since", "customer", "lost_subscription", "lost_month", "restored", "after", "level"],
    ),
    Index(
        "ix_ledger_recovery_late",
        *("account", "livemode", "currency", "month", "lost_month", "customer", "late"),
        **where("late > 0"),
    ),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

ledger_total = Table(
    "ledger_total",  # sums over rows of ledger_month; cohort 0 stands for all of them
    metadata,
    Column("account", Text, primary_key=True),
    Column("livemode", Flag, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("month", Integer, primary_key=True, autoincrement=False),
    Column("cohort", Integer, primary_key=True, autoincrement=False),
    *(required(name, Big) for name in SUMMED),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

ledger_rollup = Table(
    "ledger_rollup",  # what the roll-ups of an account can be trusted for
    metadata,
    Column("account", Text, primary_key=True),
    Column("livemode", Flag, primary_key=True),
    required("zone", Text),  # in which their months begin; empty until the first customer is rolled up anew
    Column("listed_at", Instant),  # by then everyone was on the bookkeeper's list; NULL: rows of two zones are mixed
    sqlite_strict=True,
)
