"""Our own figures, as questions to the published ones: the whole company, and the customers of each source's bands.

A band's customers are compared inside the band as its source draws it, so one customer may be small for one source and
mid-market for another. Only twelve-month figures are asked, except monthly logo churn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction

from billing.report.bands import STAGES, yearly
from billing.report.benchmark import Benchmark, Standing
from billing.report.bridge import Bridge
from billing.report.performance import failures_of, performance
from billing.report.period import Period
from billing.report.retention import ratio
from billing.report.rows import Row
from billing.report.scope import Scope
from billing.report.segments import Customer, by_motion, by_pricing, customers

# What a source calls the pricing that we read from the items. Ways of selling are compared when an operator calls them
# by a source's own name: "self serve" alone tells neither product-led from low-touch.
PRICING: Mapping[str, frozenset[str]] = {
    "Usage-based": frozenset({"usage"}),
    "Usage-based or hybrid": frozenset({"usage", "hybrid"}),
    "Seat-based": frozenset({"seat"}),
    "Flat subscription": frozenset({"flat"}),
}


def standings(scope: Scope, year: Period, rows: Sequence[Benchmark]) -> list[Standing]:
    """Every question that the twelve months can answer; none without an opening base."""
    base = [each for each in customers(scope, year) if each.row.start]
    if not base:
        return []
    made = scope.added([each.row for each in base], year)
    return [*_company(scope, year, made, base), *_segments(scope, year, base, rows), *_churn(scope, year, rows)]


def average_contract(scope: Scope, made: Bridge) -> Fraction:
    """What a customer of the opening base pays a year, in whole units; 0 without a base."""
    return yearly(made.start, scope.code) / made.logos_start if made.logos_start else Fraction(0)


def _company(scope: Scope, year: Period, made: Bridge, base: Sequence[Customer]) -> list[Standing]:
    largest = sorted((each.row.start for each in base), reverse=True)[:10]
    lost = made.gross_involuntary_churn - made.recovered_involuntary_churn
    asked: list[tuple[str, str, Fraction | None, Fraction | None, str | None]] = [
        ("nrr", "acv", made.nrr, average_contract(scope, made), None),
        ("nrr", "arr_stage", made.nrr, None, STAGES.of(made.start, scope.code)),
        ("nrr", "overall", made.nrr, None, None),
        ("grr", "overall", made.grr, None, None),
        ("nrr_grr_gap", "overall", made.gap, None, None),
        ("top10_share_of_arr", "overall", ratio(sum(largest), made.start), None, None),
        ("involuntary_leak_pct_of_arr", "overall", ratio(lost, made.start), None, None),
        ("involuntary_share_of_churn", "overall", ratio(lost, made.voluntary_churn + lost), None, None),
        ("involuntary_recovery_rate", "overall", _recovery_rate(scope, year), None, None),
    ]
    return [
        Standing(metric, dimension, value * 100, acv, segment)
        for metric, dimension, value, acv, segment in asked
        if value is not None
    ]


def _recovery_rate(scope: Scope, year: Period) -> Fraction | None:
    """Of the cases of the year that are closed by its end, in revenue."""
    currency = scope.currency(year)
    failures = [
        each
        for history in scope.histories.values()
        for each in failures_of(history, currency, year.closes)
        if year.holds(each.failed_at)
    ]
    cohorts = performance(failures, year.closes, scope.zone).values()
    closed = sum(each.failed - each.open for each in cohorts)
    return ratio(sum(each.recovered for each in cohorts), closed)


def _segments(scope: Scope, year: Period, base: Sequence[Customer], rows: Iterable[Benchmark]) -> list[Standing]:
    found = []
    for row in rows:
        if row.metric == "nrr" and (belongs := _members(scope, row)):
            members = [each.row for each in base if belongs(each)]
            value = scope.added(members, year).nrr
            if value is not None:
                found.append(_of_segment(row, value, members))
    return found


def _members(scope: Scope, row: Benchmark) -> Callable[[Customer], bool] | None:
    """Which customers a row speaks of; None when we cannot tell."""
    match row.dimension:
        case "acv":
            return lambda each: row.holds(yearly(each.size, scope.code))
        case "pricing" if row.segment in PRICING:
            return lambda each: by_pricing(each) in PRICING[row.segment]
        case "gtm":
            return lambda each: by_motion(each) == row.segment
        case _:
            return None


def _churn(scope: Scope, year: Period, rows: Iterable[Benchmark]) -> list[Standing]:
    """Customers lost in the last month, in each source's bands."""
    month = year.trailing(1)
    base = [each for each in customers(scope, month) if each.row.start]
    found = []
    for row in rows:
        if row.metric == "logo_churn_monthly":
            members = [each.row for each in base if row.holds(yearly(each.size, scope.code))]
            value = ratio(sum(each.logos_lost for each in members), len(members))
            if value is not None:
                found.append(_of_segment(row, value, members))
    return found


def _of_segment(row: Benchmark, value: Fraction, members: Sequence[Row]) -> Standing:
    who = f"{len(members)} customer{'' if len(members) == 1 else 's'} of this segment"
    return Standing(row.metric, row.dimension, value * 100, segment=row.segment, source=row.source, who=who)
