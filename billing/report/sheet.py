"""The policy sheet: every switch, the rates, the zone and the date, so that a figure can be made again years later."""

from __future__ import annotations

from dataclasses import fields

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
)


def policy_sheet(scope: Scope, period: Period, version: str = "", bands: Bands = ARTICLE_001) -> Table:
    """One row per switch, rate and condition; `version` is the program's."""
    currency = scope.currency(period)
    rows: list[tuple[Cell, ...]] = [
        ("report", "version", version or None, None),
        ("report", "period", str(period), None),
        ("report", "time zone", scope.zone, "UTC"),
        ("report", "as known at", scope.as_known.isoformat(), None),
        ("report", "reporting currency", scope.code.upper(), None),
        ("report", "currency basis", currency.basis, None),
        ("report", "policy differs from its preset", _differs(scope.policy), None),
    ]
    rows += [
        ("policy", each.name, _text(getattr(scope.policy, each.name)), _text(getattr(DEFAULT, each.name)))
        for each in fields(LedgerPolicy)
    ]
    for when, day, rates in (
        ("opening rate", currency.opens, currency.opening),
        ("closing rate", currency.closes, currency.closing),
    ):
        for code, rate in sorted((rates or {}).items()):
            rows.append((when, f"{code.upper()} on {day}", decimal(rate), None))
    rows += [("band", name, f"from {decimal(low, 2)} a year", None) for name, low in bands.edges]
    return Table("policy", "Policy sheet", COLUMNS, tuple(rows), scope.labels(period))


def _differs(policy: LedgerPolicy) -> str:
    return "no" if PRESETS.get(policy.name) == policy else "yes"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "no limit" if value is None else str(value)
