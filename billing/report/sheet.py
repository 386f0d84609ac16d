"""The policy sheet: every switch, the rates, the zone and the date, so that a figure can be made again years later."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction

from billing.ledger.policy import DEFAULT, PRESETS, LedgerPolicy
from billing.report.bands import ARTICLE_001, Bands
from billing.report.movements import decimal
from billing.report.period import Period
from billing.report.scope import Scope
from billing.report.table import Cell, Column, Kind, Table

COLUMNS = (
    Column("group", "Group", Kind.TEXT),
    Column("name", "Name", Kind.TEXT),
    Column("value", "Value", Kind.TEXT),
    Column("default", "Default", Kind.TEXT),
    Column("meaning", "Meaning", Kind.TEXT),
)

MEANING = {
    "name": "the preset that the switches below come from",
    "coupon_forever": "whether a coupon without an end lowers MRR",
    "coupon_repeating": "whether a coupon for some months lowers MRR while it runs",
    "coupon_once": "whether a coupon for one invoice lowers MRR",
    "unpaid_is_loss": "whether Stripe's status unpaid ends the MRR at once",
    "deadline_is_loss": "whether our own recovery deadline ends it too",
    "max_past_due_days": "days after the first failure until MRR that is charged to a card is lost",
    "max_overdue_days": "days after the due date until MRR that is billed by sent invoice is lost",
    "post_loss_recovery_days": "days after a loss within which a payment still counts as its recovery",
    "first_payment_gate": "whether a trial counts from its first payment, not from its end",
    "void_pause_stops": "whether collection paused with void or mark_uncollectible ends MRR with the paid period",
    "metered": "whether usage counts: excluded, as_invoiced (last invoice) or included (mean of the last three)",
    "zone": "whose calendar day makes a cancellation and a new subscription one change",
}


def policy_sheet(scope: Scope, period: Period, version: str = "", bands: Bands = ARTICLE_001) -> Table:
    """One row per switch, rate and condition; `version` is the program's."""
    currency = scope.currency(period)
    rows: list[tuple[Cell, ...]] = [
        ("report", "version", version or None, None, "of this program"),
        ("report", "period", str(period), None, "first day, and the day after the last"),
        ("report", "time zone", scope.zone, "UTC", "where days, months and quarters begin"),
        (
            "report",
            "as known at",
            scope.as_known.isoformat(),
            None,
            "what the books learnt later is not in the figures",
        ),
        ("report", "reporting currency", scope.code.upper(), None, "of every amount"),
        ("report", "currency basis", currency.basis, None, "native: nothing was converted"),
        (
            "report",
            "policy differs from its preset",
            _differs(scope.policy),
            None,
            "yes: some switch was changed by hand",
        ),
    ]
    rows += [
        ("policy", name, _text(getattr(scope.policy, name)), _text(getattr(DEFAULT, name)), MEANING[name])
        for name in (each.name for each in fields(LedgerPolicy))
    ]
    for when, day, rates in (
        ("opening rate", currency.opens, currency.opening),
        ("closing rate", currency.closes, currency.closing),
    ):
        for code, rate in sorted((rates or {}).items()):
            rows.append((when, f"{code.upper()} on {day}", decimal(rate), None, f"{scope.code.upper()} for one of it"))
    rows += [("band", name, f"from {_whole(low)} a year", None, f"of {bands.name}") for name, low in bands.edges]
    return Table("policy", "Policy sheet", COLUMNS, tuple(rows), scope.labels(period))


def _whole(value: Fraction) -> str:
    """`25,000` or `100,000.01`."""
    return f"{float(value):,.2f}".removesuffix(".00")


def _differs(policy: LedgerPolicy) -> str:
    return "no" if PRESETS.get(policy.name) == policy else "yes"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "no limit" if value is None else str(value)
