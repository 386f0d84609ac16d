"""The worked cases of the metrics definitions, when the shared folder is beside the project."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from billing.ledger import mrr
from billing.ledger.book import book
from billing.ledger.movement import CashKind
from billing.ledger.neutral import read_discounts, read_events, read_instant, read_items, read_policy
from billing.ledger.policy import DEFAULT
from billing.ledger.vocabulary import LedgerEvent, known_at
from billing.report.bridge import Basis, Bridge, bridge, percent
from billing.report.currency import Currency
from billing.report.period import Period
from billing.report.products import by_product

FILE = Path(__file__).parents[3] / "shared" / "metrics_cases.json"
SHARED = json.loads(FILE.read_text()) if FILE.exists() else {"cases": []}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2027, 1, 1, tzinfo=UTC)
ACTIVITY_SIGNS = {
    "new": ("new_business", 1),
    "expansion": ("expansion", 1),
    "reactivation": ("reactivation", 1),
    "downgrade": ("downgrade", -1),
    "restructuring": ("restructuring", -1),
    "voluntary_churn": ("voluntary_churn", -1),
    "involuntary_churn": ("gross_involuntary_churn", -1),
    "recovered": ("recovered_involuntary_churn", 1),
    "recovered_late": ("recovered_late", 1),
}


def cases(kind: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in SHARED["cases"] if case["kind"] == kind]


def computed(made: Bridge, name: str) -> object:
    match name:
        case "nrr" | "grr":
            return percent(getattr(made, name))
        case "nrr_if_all_at_risk_lost":
            return percent(made.nrr_if_at_risk_lost)
        case "late_recovery_memo":
            return made.late_recovery
        case _:
            return getattr(made, name)


def rates(value: Mapping[str, str] | None) -> dict[str, Fraction] | None:
    return None if value is None else {code.lower(): Fraction(rate) for code, rate in value.items()}


def restated(events: list[LedgerEvent], asked: dict[str, Any]) -> dict[str, object]:
    closed, following = (
        Period(date.fromisoformat(asked[name]["start"]), date.fromisoformat(asked[name]["end"]))
        for name in ("closed", "next")
    )
    as_closed = book(known_at(events, read_instant(asked["closed_at"])), DEFAULT, LATER)
    closed_end = bridge(as_closed, closed, Currency("usd")).end
    after = bridge(book(events, DEFAULT, LATER), following, Currency("usd")).after_close(closed_end)
    return {
        "closed_end": after.closed_start,
        "prior_period_adjustment": after.prior_period,
        "next_start_restated": after.start,
        "next_end": after.end,
        "next_nrr": percent(after.nrr),
    }


@pytest.mark.parametrize("case", cases("normalize"))
def test_a_price_is_worth_what_the_case_says(case: dict[str, Any]) -> None:
    policy = read_policy(case.get("policy", {}), DEFAULT)
    for row in case["rows"]:
        level = mrr.level(read_items(row["items"]), read_discounts(row.get("discounts", ())), policy, NOW)
        assert (row["name"], level.total) == (row["name"], row["expected_mrr"])
        if "expected_alloc" in row:
            assert {priced.item.id: priced.minor for priced in level.items} == row["expected_alloc"]


@pytest.mark.parametrize("case", cases("bridge"))
def test_a_story_gives_the_bridge_of_the_case(case: dict[str, Any]) -> None:
    policy = read_policy(case.get("policy", {}), DEFAULT)
    events = read_events(case["events"])
    for each in case["periods"]:
        known = known_at(events, read_instant(each["known_at"])) if "known_at" in each else events
        made = book(known, policy, LATER)
        period = Period(date.fromisoformat(each["start"]), date.fromisoformat(each["end"]), each.get("tz", "UTC"))
        currency = Currency("usd", rates(each.get("fx_open")), rates(each.get("fx_close")))
        netted = bridge(made, period, currency)
        assert {name: computed(netted, name) for name in each["expected"]} == each["expected"], each["name"]
        activity = bridge(made, period, currency, Basis.ACTIVITY)
        signed = {name: sign * getattr(activity, line) for name, (line, sign) in ACTIVITY_SIGNS.items()}
        asked = each.get("expected_activity", {})
        assert {name: signed[name] for name in asked} == asked, each["name"]
        for segment in each.get("expected_segments", {}).values():
            part = bridge(made, period, currency, customers=segment["customers"])
            assert {name: computed(part, name) for name in segment["expected"]} == segment["expected"]
        rows = by_product(made, period, currency)
        for product, expected in each.get("expected_products", {}).items():
            assert {name: getattr(rows[product], name) for name in expected} == expected, product
        if "expected_cash_after_loss" in each:
            late = [cash for cash in made.cash if cash.kind is CashKind.RECOVERED_AFTER_LOSS and period.holds(cash.at)]
            assert sum(cash.amount.minor for cash in late) == each["expected_cash_after_loss"]
    if "restatement" in case:
        assert restated(events, case["restatement"]) == case["restatement"]["expected"]
    if "expected_cases" in case:
        made = book(events, policy, LATER)
        ended = [
            {
                "sub": each.subscription,
                "opened": str(each.opened_at.date()),
                "outcome": str(each.outcome),
                "closed": str(each.closed_at.date()) if each.closed_at else None,
            }
            for each in made.cases
        ]
        assert ended == case["expected_cases"]
