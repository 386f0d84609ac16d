"""Where a report's figures come from, and what it says beside them: roll-ups or facts, closed months, since when."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from billing.report.bridge import NotBalanced
from billing.report.currency import NoRate
from billing.report.period import Period
from tests.ledger.conftest import SELF, Teller, teller
from tests.reports.test_command import Screen, asked, rows
from worker import closed, closing, digest, report, rollups
from worker import tables as t
from worker.app import App
from worker.reports import source, weeks
from worker.reports.catalogue import CATALOGUE
from worker.reports.check import BooksDisagree
from worker.reports.command import Order, period_of
from worker.reports.stream import Stream

__all__ = ["Screen", "teller"]

VIEWS: list[tuple[str, dict[str, Any]]] = [
    *((name, {"currency": "usd"}) for name in CATALOGUE),
    ("bridge", {"back": 2, "basis": "activity"}),
    ("bridge", {"month": "", "ttm": "2026-02", "display": "net"}),
    ("cohorts", {"measure": "all"}),
    ("cohorts", {"measure": "all", "month": "", "quarter": "2026-Q1"}),
    *(("segments", {"cut": cut}) for cut in ("gtm", "pricing", "currency", "country", "product", "arr_stage")),
    ("segments", {"cut": "migration", "month": "", "ttm": "2026-02"}),
    ("recovery", {"month": "", "quarter": "2026-Q1"}),
    ("movements", {"month": "", "quarter": "2026-Q1"}),
    ("cube", {"month": "", "quarter": "2026-Q1", "currency": ""}),
]


@pytest.fixture
def stored(app: App) -> App:
    """The played company, of which everybody is rolled up."""
    with app.db.read() as db:
        assert rollups.ready(db, SELF, "UTC")
    return app


@pytest.mark.parametrize(("name", "options"), VIEWS)
def test_a_report_says_the_same_from_the_roll_ups_and_from_the_facts(
    stored: App, name: str, options: dict[str, Any]
) -> None:
    ours, theirs = (
        json.loads(asked(stored, name, form="json", from_facts=switch, **options)) for switch in (False, True)
    )
    assert ours
    for one, other in zip(ours, theirs, strict=True):
        assert (one["columns"], one["rows"]) == (other["columns"], other["rows"])


@pytest.mark.parametrize(
    ("options", "origin"),
    [
        ({}, "the monthly roll-ups"),
        ({"from_facts": True}, "the facts"),
        ({"month": "", "begin": "2026-01-15", "end": "2026-02-20"}, "the facts"),
        ({"zone": "Asia/Tokyo"}, "the facts"),
    ],
)
def test_every_print_says_what_it_was_made_from(stored: App, options: dict[str, Any], origin: str) -> None:
    (table,) = json.loads(asked(stored, "bridge", currency="usd", form="json", **options))
    assert table["labels"]["made from"].startswith(origin)


def test_rates_fold_the_facts_and_say_which_rates_were_carried(stored: App, tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text("date,currency,rate\n2026-01-30,EUR,1.10\n2026-03-01,EUR,1.20\n2026-01-01,GBP,1.3\n")
    (table,) = json.loads(asked(stored, "bridge", currency="usd", rates=rates, form="json"))
    assert table["labels"]["made from"].startswith("the facts")
    assert "Rates carried over days that have none: EUR for 2026-02-01 from 2026-01-30." in table["notes"]
    with pytest.raises(NoRate, match="no opening rate from EUR to USD for 2026-02-01"):
        asked(stored, "bridge", currency="usd", rates=rates, carry=False)


def test_a_rate_is_carried_for_a_week_and_no_longer(stored: App, tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    for day, carried in (("2026-01-25", True), ("2026-01-24", False)):
        rates.write_text(f"date,currency,rate\n{day},EUR,1.10\n2026-03-01,EUR,1.20\n")
        if carried:
            asked(stored, "bridge", currency="usd", rates=rates)
            continue
        with pytest.raises(NoRate, match="no opening rate from EUR to USD for 2026-02-01"):
            asked(stored, "bridge", currency="usd", rates=rates)


@pytest.mark.parametrize("switch", [False, True])
@pytest.mark.parametrize("name", CATALOGUE)
def test_a_report_over_a_time_before_the_first_fact_says_since_when(stored: App, name: str, switch: bool) -> None:
    tables = json.loads(asked(stored, name, currency="usd", month="2025-03", form="json", from_facts=switch))
    assert tables
    for table in tables:
        assert "The books begin on 2026-01-01; figures of a time before it cannot be trusted." in table["notes"]


def test_nrr_says_since_when_and_from_what(stored: App) -> None:
    out = io.StringIO()
    report.nrr(stored, "2025-12", out, currency="usd")
    assert "Made from the monthly roll-ups" in out.getvalue()
    assert "The books begin on 2026-01-01" in out.getvalue()
    report.nrr(stored, "2026-02", again := io.StringIO(), currency="usd", from_facts=True)
    assert "Made from the facts" in again.getvalue()
    assert "The books begin" not in again.getvalue()


def test_roll_ups_that_do_not_agree_with_the_postings_print_nothing(stored: App) -> None:
    asked(stored, "concentration", currency="usd")
    with stored.db.begin() as db:
        db.execute(update(t.ledger_total).values(closing=t.ledger_total.c.closing + 1))
    with pytest.raises((BooksDisagree, NotBalanced)):
        asked(stored, "concentration", currency="usd")
    asked(stored, "concentration", currency="usd", from_facts=True)


def test_only_those_whom_a_period_concerns_are_folded(stored: App) -> None:
    def folded(month: str) -> int:
        return len(Stream(stored, SELF, stored.now(), period_of(stored, Order("movements", month=month))))

    assert folded("2026-01") == 4  # everybody came
    assert folded("2026-02") == 2  # Ann's payment came, Bob's is at risk
    assert folded("2025-06") == 0


def test_a_week_is_the_same_without_folding_everybody(stored: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(stored.now), "at", datetime(2026, 2, 9, 9, tzinfo=UTC), raising=False)
    week = digest.week_of(stored)
    year = digest.year_of(stored, week)
    ours, theirs = (source.checked(stored, SELF, [year], from_facts=switch) for switch in (False, True))
    assert (ours.months is None, theirs.months is None) == (False, True)
    for code in ("usd", "eur"):
        assert weeks.bridges(ours, code, [week]) == weeks.bridges(theirs, code, [week])


# ---------------------------------------------------------------- closed months


@pytest.fixture
def adjusted(teller: Teller) -> Teller:
    """January was closed with 100.00 and 50.00; that the 50.00 had ended in January was learnt in February."""
    teller.begins("sub_1", "01-05", 10_000)
    teller.begins("sub_2", "01-06", 5_000)
    teller.book("02-02")
    closing.close(teller.app, SELF, "2026-01", "the controller")
    teller.becomes("sub_2", "01-20", status="canceled", ended_at=datetime(2026, 1, 20, 10, tzinfo=UTC))
    teller.book("03-02")
    return teller


@pytest.mark.parametrize("switch", [False, True])
def test_every_bridge_after_a_closed_month_shows_the_prior_period_adjustment(adjusted: Teller, switch: bool) -> None:
    (bridge,) = rows(asked(adjusted.app, "bridge", form="csv", from_facts=switch))
    trend = rows(asked(adjusted.app, "trend", form="csv", from_facts=switch))[-1]
    for row in (bridge, trend):
        figures = (row["start_minor"], row["closed_start_minor"], row["prior_period_minor"], row["end_minor"])
        assert figures == ("10000", "15000", "-5000", "10000")
    out = io.StringIO()
    report.nrr(adjusted.app, "2026-02", out, as_json=True, from_facts=switch)
    ((one,),) = (account["bridges"] for account in json.loads(out.getvalue()))
    assert (one["minor"]["closed_start"], one["minor"]["prior_period"]) == (15_000, -5_000)


def test_the_month_itself_and_the_restated_view_show_none(adjusted: Teller) -> None:
    (january,) = rows(asked(adjusted.app, "bridge", month="2026-01", form="csv"))
    assert "prior_period_minor" not in january
    with adjusted.app.db.read() as db:
        (closed_month,) = closed.all_of(db, SELF)
        (restated,) = closing.restated(db, closed_month, adjusted.app.now())
    assert (restated.closed_start, restated.end) == (None, 10_000)


def test_converted_amounts_were_never_closed(adjusted: Teller, tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text("date,currency,rate\n2026-02-01,USD,0.9\n2026-03-01,USD,0.8\n")
    (row,) = rows(asked(adjusted.app, "bridge", currency="eur", rates=rates, form="csv"))
    assert "prior_period_minor" not in row


@pytest.mark.parametrize("switch", [False, True])
def test_a_week_that_opens_after_a_closed_month_says_what_it_was_closed_with(adjusted: Teller, switch: bool) -> None:
    adjusted.clock.at = datetime(2026, 2, 8, 9, tzinfo=UTC)
    app = adjusted.app
    made = source.checked(app, SELF, [digest.year_of(app, digest.week_of(app))], from_facts=switch)
    week = Period(date(2026, 2, 1), date(2026, 2, 8), "UTC")
    (bridge,) = weeks.bridges(made, "usd", [week])
    assert (bridge.start, bridge.closed_start) == (10_000, 15_000)
    assert digest.FIGURES["opening"](bridge) == "100.00 USD (closed with 150.00 USD)"
    assert digest.FIGURES["closing"](bridge) == "100.00 USD"
