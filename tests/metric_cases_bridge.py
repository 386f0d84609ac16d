"""Worked cases of bridges: events in the neutral format, periods, and what each period should come to.

Part of `tests.metric_cases`; nothing is computed here, this file only asks the product's own functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from fractions import Fraction
from functools import cached_property
from typing import Any

from billing.ledger.book import book
from billing.ledger.identity import identities, renamed
from billing.ledger.movement import Book, CashKind
from billing.ledger.neutral import read_events, read_instant, read_policy
from billing.ledger.policy import DEFAULT, PRESETS, LedgerPolicy
from billing.ledger.vocabulary import LedgerEvent, known_at
from billing.report import memos, rows
from billing.report.bridge import Basis, Bridge, bridge, nrr_as_reported, percent, rows_of
from billing.report.currency import Currency
from billing.report.period import Period
from billing.report.products import ProductRow, by_product
from billing.report.retention import warns
from tests.metric_cases_answer import SHORT, Answer, Json, points

NEGATIVE = frozenset({"downgrade", "restructuring", "voluntary_churn", "gross_involuntary_churn"})
RATIOS = {
    "nrr": "nrr",
    "grr": "grr",
    "crr": "logo_retention",
    "logo_retention": "logo_retention",
    "nrr_if_all_at_risk_lost": "nrr_if_at_risk_lost",
    "nrr_if_at_risk_lost": "nrr_if_at_risk_lost",
    "nrr_without_recovery": "nrr_without_recovery",
    "nrr_without_recovered": "nrr_without_recovery",
}
NAMES = {
    **SHORT,
    "late_recovery_memo": "late_recovery",
    "ppa": "prior_period",
    "prior_period_adjustment": "prior_period",
    "recovered_still_live": "recovered_live",
}
MEMOS = {
    "scheduled_churn": "scheduled",
    "scheduled_cases": "scheduled_cases",
    "cmrr": "committed",
    "committed": "committed",
    "deferred": "deferred",
    "usage": "usage",
    "yearly": "yearly",
    "discount_effect": "discounts",
}


class Asked:
    """One period of a case: its book, its currency, and every figure that somebody may want of it."""

    def __init__(self, each: Json, events: list[LedgerEvent], flags: Json, last: datetime) -> None:
        self.period, self.currency = dates(each), currency_of(each, events, flags)
        known = known_at(events, read_instant(each["known_at"])) if each.get("known_at") else events
        self.book = book(known, policy_of(flags, self.period.zone), last)

    def bridge(self, basis: Basis = Basis.NETTED, customers: list[str] | None = None) -> Bridge:
        return bridge(self.book, self.period, self.currency, basis, customers=customers)

    @cached_property
    def memo(self) -> memos.Memo:
        return memos.memos([self.book], [(self.period, self.currency)])[0]

    def figures(self, made: Bridge, asked: Json) -> dict[str, Any]:
        return {name: self.figure(made, name) for name in asked}

    def figure(self, made: Bridge, name: str) -> Any:
        """What a bridge says under a name of the format; None for a name that nobody knows."""
        if name in RATIOS:
            return percent(getattr(made, RATIOS[name]))
        if name in MEMOS:
            return getattr(self.memo, MEMOS[name])
        match name:
            case "gap" | "gap_points":
                return points(made.gap)
            case "gap_flag":
                return warns(made.gap)
            case "nrr_as_reported":
                return percent(nrr_as_reported(rows_of(rows.histories(self.book), self.period, self.currency)))
            case "nrr_excluding_discounts" | "nrr_without_discounts":
                return percent(self.memo.nrr_without_discounts)
            case _:
                return getattr(made, NAMES.get(name, name), None)


def bridges(case: Json, defaults: Json) -> Iterator[Answer]:
    """One answer per period, then the restatement and the cases where they are asked for."""
    flags = flags_of(case, defaults)
    events = _events(case)
    periods = [dates(each) for each in case["periods"]]
    last = max([event.at for event in events] + [period.closes for period in periods])
    for each in case["periods"]:
        yield _period(each, Asked(each, events, flags, last), flags)
    if "restatement" in case:
        asked = case["restatement"]
        yield Answer("restatement", _restated(asked, events, flags), asked["expected"])
    if "expected_cases" in case:
        made = book(events, policy_of(flags, periods[0].zone if periods else "UTC"), last)
        wanted = case["expected_cases"]
        found = _cases(made, {key for each in wanted for key in each})
        yield Answer("cases", {}, {}, {"computed_cases": found}, {"computed_cases": wanted})


def _events(case: Json) -> list[LedgerEvent]:
    """Under the names of their accounts, where the case says that several customers are one."""
    told = case.get("identities") or {}
    pairs = told.items() if isinstance(told, Mapping) else told
    return renamed(read_events(case["events"]), identities((str(who), str(same_as)) for who, same_as in pairs))


def _period(each: Json, asked: Asked, flags: Json) -> Answer:
    display = str(each.get("display") or flags.get("recovery_display") or "gross_up")
    expected = dict(each.get("expected") or {})
    beside: dict[str, Any] = {}
    wanted: dict[str, Any] = {}
    if "expected_activity" in each:
        activity = asked.bridge(Basis.ACTIVITY)
        wanted["activity"] = each["expected_activity"]
        beside["activity"] = {name: _signed(asked, activity, name) for name in wanted["activity"]}
    if "expected_segments" in each:
        parts = each["expected_segments"]
        wanted["segments"] = {name: part["expected"] for name, part in parts.items()}
        beside["segments"] = {
            name: asked.figures(asked.bridge(customers=part["customers"]), part["expected"])
            for name, part in parts.items()
        }
    if "expected_products" in each:
        found = by_product(asked.book, asked.period, asked.currency)
        wanted["products"] = each["expected_products"]
        beside["products"] = {
            product: {name: getattr(found.get(product, ProductRow()), name, None) for name in figures}
            for product, figures in wanted["products"].items()
        }
    if "expected_cash_after_loss" in each:
        wanted["cash_after_loss"] = each["expected_cash_after_loss"]
        late = [cash for cash in asked.book.cash if cash.kind is CashKind.RECOVERED_AFTER_LOSS]
        beside["cash_after_loss"] = sum(cash.amount.minor for cash in late if asked.period.holds(cash.at))
    whole = asked.bridge()
    shown = whole.net() if display.startswith("net") else whole
    return Answer(
        str(each.get("name", "")),
        asked.figures(shown, expected),
        expected,
        {f"computed_{name}": value for name, value in beside.items()},
        {f"computed_{name}": value for name, value in wanted.items()},
    )


def _signed(asked: Asked, made: Bridge, name: str) -> Any:
    """A line of the activity basis, losses negative."""
    value = asked.figure(made, name)
    return -value if SHORT.get(name, name) in NEGATIVE else value


def _restated(asked: Json, events: list[LedgerEvent], flags: Json) -> dict[str, Any]:
    """What the closed period was printed with, and the next one beside it."""
    closed, following = dates(asked["closed"]), dates(asked["next"])
    policy = policy_of(flags, closed.zone)
    as_closed = book(known_at(events, read_instant(asked["closed_at"])), policy, closed.closes)
    closed_end = bridge(as_closed, closed, currency_of(asked["closed"], events, flags)).end
    made = book(events, policy, following.closes)
    after = bridge(made, following, currency_of(asked["next"], events, flags)).after_close(closed_end)
    figures = {
        "closed_end": after.closed_start,
        "prior_period_adjustment": after.prior_period,
        "next_start_restated": after.start,
        "next_end": after.end,
        "next_nrr": percent(after.nrr),
        "next_grr": percent(after.grr),
    }
    return {name: figures.get(name) for name in asked["expected"]}


def _cases(made: Book, keys: set[str]) -> list[dict[str, Any]]:
    """The cases of the ledger in the order of time, under the keys that the case names them by."""
    found = []
    for each in sorted(made.cases, key=lambda case: (case.opened_at, case.customer, case.subscription)):
        figures = {
            "cust": each.customer,
            "sub": each.subscription,
            "opened": str(each.opened_at.date()),
            "closed": str(each.closed_at.date()) if each.closed_at else None,
            "outcome": str(each.outcome),
            "mrr": each.opened.minor,
            "recovered": each.recovered,
            "source": each.source,
        }
        found.append({name: figures.get(name) for name in figures if name in keys})
    return found


def dates(each: Json) -> Period:
    return Period(date.fromisoformat(each["start"]), date.fromisoformat(each["end"]), each.get("tz") or "UTC")


def flags_of(case: Json, defaults: Json) -> dict[str, Any]:
    """The case's own flags over the file's; a preset that the case names takes the place of the file's."""
    own = case.get("policy") or {}
    own = {"preset": own} if isinstance(own, str) else dict(own)
    named = own.pop("preset", None) or own.pop("name", None)
    return {**defaults, **own} if named is None else {"preset": named, **_of_report(defaults), **own}


def _of_report(defaults: Json) -> dict[str, Any]:
    """The flags of the file that are no switches of the ledger: how things are shown."""
    return {name: value for name, value in defaults.items() if not hasattr(DEFAULT, name)}


def policy_of(flags: Json, zone: str = "UTC") -> LedgerPolicy:
    """The flags over a named preset or our default; days are those of the zone in which the period is."""
    named = flags.get("preset")
    if named is not None and named not in PRESETS:
        raise ValueError(f"no policy {named!r}: there are {', '.join(PRESETS)}")
    policy = read_policy(flags, PRESETS[named] if named else DEFAULT)
    return policy if "zone" in flags else replace(policy, zone=zone)


def currency_of(each: Json, events: list[LedgerEvent], flags: Json) -> Currency:
    """The reporting currency with the period's rates; without rates a company of one currency reports in its own."""
    code = str(each.get("reporting_currency") or flags.get("reporting_currency") or "usd").lower()
    opening, closing = _rates(each.get("fx_open")), _rates(each.get("fx_close"))
    sold = {event.currency for event in events if event.items}
    if opening is None and len(sold) == 1:
        return Currency(sold.pop())
    return Currency(code, opening, closing)


def _rates(value: Mapping[str, Any] | None) -> dict[str, Fraction] | None:
    return None if value is None else {code.lower(): Fraction(str(rate)) for code, rate in value.items()}


def at_of(row: Json) -> datetime:
    """When a row of prices is asked about."""
    return read_instant(row["at"]) if row.get("at") else datetime(2026, 1, 1, tzinfo=UTC)
