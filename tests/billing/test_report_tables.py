"""Every report adds up to the bridge, for any history: three currencies, a time zone of its own, daily rates."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.ledger.book import book
from billing.ledger.policy import DEFAULT, STRIPE_LIKE
from billing.money import Amount
from billing.report import cohorts, concentration, cube, movements, reconciliation, recovery, segments, sheet
from billing.report.bands import ARTICLE_002
from billing.report.bridge import Basis, Bridge
from billing.report.currency import Rates
from billing.report.period import Period
from billing.report.rows import Row
from billing.report.scope import Scope
from billing.report.segments import CUTS
from billing.report.statement import bridge_table
from billing.report.table import Kind
from billing.report.trend import trend
from tests.billing.report_story import lines
from tests.billing.test_bridge_properties import UNTIL, history

ZONE = "Europe/Berlin"
MONTHS = [Period.month(f"2026-{month:02}", ZONE) for month in range(1, 8)]
DAYS = [date(2025, 9, 1) + timedelta(days=number) for number in range(340)]
RATES = Rates.of(
    "usd",
    [(day, "eur", Fraction(1000 + day.toordinal() % 97, 1000)) for day in DAYS]
    + [(day, "jpy", Fraction(60 + day.toordinal() % 13, 10_000)) for day in DAYS],
)
LINES = (
    "expansion downgrade restructuring voluntary_churn gross_involuntary_churn recovered_involuntary_churn "
    "new_business reactivation fx"
).split()
CUBE = (
    "month, customer_id, account_id, cohort_month, acv_band_open, product_mix, gtm_motion, currency, fx_rate_open, "
    "mrr_open, expansion, downgrade, restructuring, voluntary_churn, gross_involuntary_churn, "
    "recovered_involuntary_churn, new_business, reactivation, late_recovery, fx, mrr_close, at_risk_close, in_base, "
    "min_open_close"
)
LOG = (
    "movement_id, effective_at, recorded_at, posted_period, customer_id, subscription_id, item_id, product_id, "
    "price_id, type, reason, quantity_before, quantity_after, unit_mrr_before, unit_mrr_after, amount_native, "
    "currency, amount_reporting, fx_rate, case_id, pair_id, loss_movement_id, evidence, confidence, "
    "source_event_ids, policy_version"
)
stories = st.integers(0, 10**9)
months = st.sampled_from(MONTHS)
few = settings(max_examples=8, deadline=None)


def told(seed: int, rates: Rates | None = RATES) -> Scope:
    return Scope.of(book(history(seed), DEFAULT, UNTIL), "usd", ZONE, rates)


def equation(row: dict[str, Any], start: str, end: str) -> int:
    """Opening and lines less closing."""
    losses = row["downgrade"] + row["restructuring"] + row["voluntary_churn"] + row["gross_involuntary_churn"]
    gains = row["expansion"] + row["recovered_involuntary_churn"] + row["new_business"] + row["reactivation"]
    return int(row[start] + gains - losses + row["fx"] - row[end])


def figures(made: Bridge) -> dict[str, int]:
    return {name: getattr(made, name) for name in LINES}


@few
@given(stories, months)
def test_every_row_of_the_cube_is_a_bridge_and_every_column_sums_to_the_bridge(seed: int, month: Period) -> None:
    scope = told(seed)
    made, rows = scope.bridge(month), lines(cube.cube(scope, [month]))
    assert all(equation(row, "mrr_open", "mrr_close") == 0 for row in rows)
    assert {name: sum(row[name] for row in rows) for name in LINES} == figures(made)
    assert sum(row["mrr_open"] for row in rows) == made.start
    assert sum(row["mrr_close"] for row in rows) == made.end
    assert sum(row["late_recovery"] for row in rows) == made.late_recovery
    assert sum(row["at_risk_close"] for row in rows) == made.at_risk
    assert sum(row["min_open_close"] for row in rows) == made.kept
    base = [row for row in rows if row["in_base"]]
    assert len(base) == made.logos_start
    assert sum(row["mrr_close"] - row["fx"] for row in base) == made.retained


def test_cube_and_log_have_exactly_the_columns_that_investors_are_promised() -> None:
    scope = told(1)
    assert [column.name for column in cube.cube(scope, MONTHS[:1]).columns] == CUBE.split(", ")
    assert [column.name for column in movements.movement_log(scope, MONTHS[0]).columns] == LOG.split(", ")


@few
@given(stories, months)
def test_the_log_sums_to_the_bridge_of_the_activity_basis(seed: int, month: Period) -> None:
    scope, sums = told(seed), Counter[str]()
    made = scope.bridge(month, Basis.ACTIVITY)
    for row in lines(movements.movement_log(scope, month, history(seed))):
        sums[row["type"]] += row["amount_reporting"]
    assert sums["expansion"] == made.expansion
    assert -sums["downgrade"] == made.downgrade
    assert -sums["restructuring"] == made.restructuring
    assert -sums["voluntary_churn"] == made.voluntary_churn
    assert -sums["involuntary_churn"] == made.gross_involuntary_churn
    assert sums["recovered"] == made.recovered_involuntary_churn + made.recovered_late
    assert sums["new"] == made.new_business
    assert made.start + sum(sums.values()) + made.fx == made.end


@few
@given(stories, months, st.sampled_from([*CUTS, "mine"]), st.sampled_from(list(Basis)))
def test_segments_add_up_to_the_whole_line_by_line(seed: int, month: Period, name: str, basis: Basis) -> None:
    scope = told(seed)
    cut = None if name in CUTS else lambda each: each.row.customer[-1]
    *parts, whole = lines(segments.segments(scope, month, name, cut, basis))
    made = scope.bridge(month, basis)
    assert whole["segment"] == "all"
    for column in ("customers", "start", "end", "at_risk", "at_risk_cases", "logos_start", "logos_lost", *LINES):
        assert sum(row[column] for row in parts) == whole[column], column
    assert {column: whole[column] for column in LINES} == figures(made)
    assert (whole["nrr"], whole["grr"], whole["gap"]) == (made.nrr, made.grr, made.gap)


@few
@given(stories, months)
def test_products_bands_and_concentration_start_and_end_with_the_company(seed: int, month: Period) -> None:
    scope = told(seed)
    made = scope.bridge(month)
    products = lines(segments.by_product(scope, month))
    assert sum(row["transfer_in"] - row["transfer_out"] for row in products) == 0
    for rows in (products, lines(segments.migration(scope, month, ARTICLE_002))):
        assert sum(row["start"] for row in rows) == made.start
        assert sum(row["end"] for row in rows) == made.end - made.fx
    largest, rest, whole = lines(concentration.concentration(scope, month, largest=2))
    assert largest["start"] + rest["start"] == whole["start"] == made.start
    assert largest["retained"] + rest["retained"] == whole["retained"] == made.retained
    assert (whole["nrr"], whole["grr"]) == (made.nrr, made.grr)


@few
@given(stories)
def test_revenue_at_risk_rolls_forward_to_what_the_bridge_discloses(seed: int) -> None:
    scope = told(seed)
    for month, row in zip(MONTHS, lines(recovery.at_risk(scope, MONTHS)), strict=True):
        made = scope.bridge(month)
        decided = row["recovered"] + row["lost"] + row["voluntary"] + row["forgiven"]
        assert row["start"] + row["opened"] + row["remeasured"] - decided == row["end"] == made.at_risk
        assert row["open_cases"] == made.at_risk_cases
    native = lines(recovery.at_risk(told(seed, None), MONTHS))
    assert [row["end"] for row in native[:-1]] == [row["start"] for row in native[1:]]


@few
@given(stories)
def test_every_failure_is_in_one_month_and_has_one_outcome(seed: int) -> None:
    scope, year = told(seed), Period.of("2025-12-01..2026-08-01", ZONE)
    rows = lines(recovery.by_failure_month(scope, year))
    for row in rows:
        ended = row["recovered"] + row["lost"] + row["voluntary"] + row["forgiven"] + row["lost_to_downgrade"]
        assert row["failed"] == ended + row["open"]
        assert row["cases"] == sum(row[name] for name in row if name.startswith("cases_"))
        assert 0 <= row["returned"] <= row["lost"]
    assert sum(row["cases"] for row in rows) <= len(scope.book.cases)


@few
@given(stories)
def test_sources_and_durability_speak_of_the_same_recoveries(seed: int) -> None:
    scope, year = told(seed), Period.of("2025-12-01..2026-08-01", ZONE)
    sources = lines(recovery.by_source(scope, year))
    marks = lines(recovery.durability(scope, year))
    whole = marks[-1]
    assert sum(row["recovered"] for row in sources) == whole["recovered"]
    assert sum(row["live"] for row in sources) == whole["live"]
    for row in marks:
        assert row["recoveries"] + row["too_young"] == whole["recoveries"]
        assert 0 <= row["live"] <= row["recovered"]


@few
@given(stories)
def test_a_cohort_triangle_counts_everybody_once(seed: int) -> None:
    scope = told(seed)
    until, count = Period.of("2026-Q2", ZONE), 3
    rows = lines(cohorts.cohorts(scope, until, count))
    made = scope.bridge(until)
    joined = {row["cohort"]: row["joined"] for row in rows}
    everybody = [each for each in scope.histories.values() if each.movements]
    assert sum(joined.values()) == sum(each.movements[0].effective_at < until.closes for each in everybody)
    last = {row["cohort"]: row for row in rows}  # rows are in the order of age
    brief = {
        each.customer
        for period in until.back(count)
        for each in scope.rows(period)
        if _came_and_left(each, scope, period)
    }
    back = sum(row.end - row.fx for row in scope.rows(until) if row.customer in brief)
    assert sum(row["mrr"] for row in last.values()) + back == made.end - made.fx
    assert sum(row["logos"] for row in last.values()) <= sum(joined.values())
    assert all(row["nrr"] == row["grr"] == 1 for row in rows if row["age"] == 0 and row["nrr"] is not None)
    assert all(row["grr"] <= min(1, row["nrr"]) for row in rows if row["nrr"] is not None)
    triangle = cohorts.triangle(scope, until, cohorts.Measure.NRR, count)
    assert [row[2] for row in triangle.rows] == [row["nrr"] for row in rows if row["age"] == 0]
    assert all(len([cell for cell in row[2:] if cell is not None]) <= count for row in triangle.rows)


def _came_and_left(row: Row, scope: Scope, cohort: Period) -> bool:
    first = scope.histories[row.customer].movements[:1]
    return bool(first) and cohort.holds(first[0].effective_at) and row.end == 0


def test_a_trend_is_the_bridges_of_its_months_and_of_twelve_months() -> None:
    scope = told(5)
    rows = lines(trend(scope, MONTHS[5], 6))
    for month, row in zip(MONTHS[:6], rows, strict=True):
        made = scope.bridge(month)
        assert (row["nrr"], row["grr"], row["gap"]) == (made.nrr, made.grr, made.gap)
        assert row["logo_retention"] == made.logo_retention
        assert row["nrr_ttm"] is None  # the books begin in November: no base twelve months before
    later = Scope.of(book(history(5), DEFAULT, UNTIL + timedelta(days=150)), "usd", ZONE, None)
    december = Period.month("2026-12", ZONE)
    year, last = later.bridge(december.trailing(12)), lines(trend(later, december, 1))[0]
    assert (last["nrr_ttm"], last["grr_ttm"], last["logo_retention_ttm"]) == (year.nrr, year.grr, year.logo_retention)
    assert year.nrr is not None


@few
@given(stories)
def test_the_causes_explain_the_whole_difference_to_another_policy(seed: int) -> None:
    events, at = history(seed), MONTHS[3].closes
    table = reconciliation.reconciliation(events, at)
    by_code: dict[str, list[dict[str, Any]]] = {}
    for row in lines(table):
        by_code.setdefault(row["currency"], []).append(row)
    for code, (ours, *causes, theirs) in by_code.items():
        assert (ours["line"], theirs["line"]) == (DEFAULT.name, STRIPE_LIKE.name)
        assert ours["amount"] + sum(row["amount"] for row in causes) == theirs["amount"]
        native = Scope.of(book(events, STRIPE_LIKE, UNTIL), code, ZONE, policy=STRIPE_LIKE)
        assert theirs["amount"] == native.bridge(MONTHS[3]).end


@pytest.mark.parametrize("display", ["gross", "net"])
def test_a_bridge_table_shows_each_period_in_one_row(display: str) -> None:
    scope = told(3)
    table = bridge_table(scope, MONTHS[:3], display=display)
    rows = lines(table)
    assert [row["period_start"] for row in rows] == [month.start for month in MONTHS[:3]]
    assert [row["start"] for row in rows[1:]] == [row["end"] for row in rows[:-1]]
    assert all(equation({"reactivation": 0} | row, "start", "end") == 0 for row in rows)
    assert "retained" in rows[0]
    assert "recovered_late" not in rows[0]
    if display == "net":
        assert all(row["recovered_involuntary_churn"] == 0 for row in rows)
    labels = dict(table.labels)
    assert {"unit", "basis", "currency basis", "policy", "as known at", "display", "time zone"} <= labels.keys()


def test_a_closed_month_is_shown_with_what_became_known_later() -> None:
    scope = told(3)
    table = bridge_table(scope, MONTHS[1:2], made=lambda period: scope.bridge(period).after_close(123_456))
    row = lines(table)[0]
    assert (row["closed_start"], row["prior_period"]) == (123_456, row["start"] - 123_456)


def test_every_cell_is_of_its_columns_kind() -> None:
    events = history(7, customers=12)
    scope = Scope.of(book(events, DEFAULT, UNTIL), "usd", ZONE, RATES)
    year = Period.of("2026-01-01..2026-08-01", ZONE)
    tables = [
        bridge_table(scope, MONTHS),
        trend(scope, MONTHS[5], 6),
        cohorts.cohorts(scope, MONTHS[5], 6),
        *(cohorts.triangle(scope, MONTHS[5], measure, 6) for measure in cohorts.Measure),
        *(segments.segments(scope, MONTHS[3], name) for name in CUTS),
        segments.arr_stage(scope, MONTHS[3]),
        segments.by_product(scope, MONTHS[3]),
        segments.migration(scope, MONTHS[3]),
        concentration.concentration(scope, MONTHS[3]),
        recovery.by_failure_month(scope, year),
        recovery.by_source(scope, year),
        recovery.durability(scope, year),
        recovery.at_risk(scope, MONTHS),
        movements.movement_log(scope, year, events),
        cube.cube(scope, MONTHS),
        reconciliation.reconciliation(events, year.closes),
        reconciliation.by_subscription(events, year.closes),
        sheet.policy_sheet(scope, year, "1.0"),
    ]
    for table in tables:
        assert table.rows, table.name
        assert table.labels, table.name
        for row in table.rows:
            for column, cell in zip(table.columns, row, strict=True):
                assert cell is None or isinstance(cell, KINDS[column.kind]), (table.name, column.name, cell)
    assert len({table.name for table in tables}) == len(tables)


KINDS: dict[Kind, Any] = {
    Kind.TEXT: str,
    Kind.MONEY: Amount,
    Kind.RATIO: Fraction,
    Kind.POINTS: Fraction,
    Kind.CODE: str,
    Kind.CURRENCY: str,
    Kind.COUNT: int,
    Kind.DATE: date,
    Kind.INSTANT: date,
    Kind.FLAG: bool,
}
