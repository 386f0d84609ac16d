"""What reports say from the roll-ups is to the cent what they say from the facts, on both engines."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from billing.ledger.book import book
from billing.ledger.entry import entries_of
from billing.ledger.items import Item
from billing.ledger.movement import Book
from billing.ledger.policy import DEFAULT
from billing.ledger.vocabulary import Kind, LedgerEvent
from billing.report.bridge import Basis
from billing.report.cohorts import cohorts
from billing.report.concentration import concentration
from billing.report.period import Period
from billing.report.scope import Known, Scope
from billing.report.segments import arr_stage, migration, segments
from billing.report.statement import bridge_table
from billing.report.table import Table
from billing.report.trend import trend
from tests.billing.test_bridge_properties import UNTIL, history
from tests.rollups.companies import troubled
from worker import entries, rollup_rows, rollups
from worker.db import Database
from worker.rollup_rows import Stored
from worker.store import Owner

MODEST = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

FIRSTS = [date(2025, month, 1) for month in (10, 11, 12)] + [date(2026, month, 1) for month in range(1, 10)]
JULY = Period(date(2026, 7, 1), date(2026, 8, 1))

Company = Callable[[int], list[LedgerEvent]]
seeds = st.integers(0, 10**9)
companies = st.sampled_from([troubled, troubled, history])
zones = st.sampled_from(["UTC", "America/New_York", "Asia/Tokyo"])
spans = st.tuples(st.integers(0, len(FIRSTS) - 1), st.integers(0, len(FIRSTS) - 1)).filter(
    lambda span: span[0] < span[1]
)
numbers = itertools.count()


@dataclass(frozen=True)
class Twins:
    """The same company by its facts and by what is stored of it, one scope for each currency."""

    folded: list[Scope]
    stored: list[Stored]


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    yield made
    made.close()


def twins(db: Database, made: Book, zone: str) -> Twins:
    owner = Owner(f"acct_{next(numbers)}", False)
    with db.begin() as connection:
        rollups.update(connection, owner, {"all": made}, zone)
        entries.append(connection, owner, entries_of(made), UNTIL, zone, "")
    with db.read() as connection:
        months = rollup_rows.months_known(connection, owner)
    codes = sorted({each.amount.currency for each in made.movements})
    assert sorted(months) == codes
    folded = [Scope.of(made, code, zone) for code in codes]
    known = folded[0].known
    return Twins(
        folded,
        [
            Stored(
                book=Book(made.until),
                histories={},
                code=code,
                zone=zone,
                known=Known(known.since, known.codes),
                db=db,
                owner=owner,
                month=min(months.values()),
            )
            for code in codes
        ],
    )


def figures(table: Table) -> tuple[object, ...]:
    """Everything of a table but from what it was made."""
    return table.columns, table.rows


@MODEST
@given(companies, seeds, zones, spans)
def test_every_customer_has_the_same_row(
    db: Database, company: Company, seed: int, zone: str, span: tuple[int, int]
) -> None:
    made = book(company(seed), DEFAULT, UNTIL)
    assume(made.movements)
    pair = twins(db, made, zone)
    period = Period(FIRSTS[span[0]], FIRSTS[span[1]], zone)
    for folded, stored in zip(pair.folded, pair.stored, strict=True):
        for basis in Basis:
            ours = sorted(stored.parts(period, basis), key=lambda each: each.row.customer)
            assert ours == list(folded.parts(period, basis))


@MODEST
@given(companies, seeds, zones, spans)
def test_every_table_has_the_same_figures(
    db: Database, company: Company, seed: int, zone: str, span: tuple[int, int]
) -> None:
    made = book(company(seed), DEFAULT, UNTIL)
    assume(made.movements)
    pair = twins(db, made, zone)
    period = Period(FIRSTS[span[0]], FIRSTS[span[1]], zone)
    month, quarter = Period(JULY.start, JULY.end, zone), Period(date(2026, 4, 1), date(2026, 7, 1), zone)
    views: list[Callable[[Scope], Table]] = [
        lambda scope: bridge_table(scope, [period]),
        lambda scope: bridge_table(scope, [period], Basis.ACTIVITY),
        lambda scope: bridge_table(scope, month.back(9)),
        lambda scope: bridge_table(scope, quarter.back(3)),
        lambda scope: trend(scope, month, 9),
        lambda scope: cohorts(scope, month, 10),
        lambda scope: cohorts(scope, quarter, 3),
        lambda scope: segments(scope, period, "acv"),
        lambda scope: segments(scope, period, "currency"),
        lambda scope: segments(scope, period, "acv", basis=Basis.ACTIVITY),
        lambda scope: arr_stage(scope, period),
        lambda scope: migration(scope, period),
        lambda scope: concentration(scope, period, 2),
    ]
    for folded, stored in zip(pair.folded, pair.stored, strict=True):
        for view in views:
            assert figures(view(stored)) == figures(view(folded))
        assert stored.begins(period) == folded.begins(period)


def test_what_comes_back_of_an_earlier_loss_makes_up_for_losses_of_the_period(db: Database) -> None:
    """10.00 lost in June is paid in July, when 50.00 is lost: July lost 40.00 of 80.00."""
    subs = {"late": "1000", "lost": "5000", "kept": "3000"}
    at = datetime(2026, 5, 1, tzinfo=UTC)
    told = [
        LedgerEvent(Kind.SUB_START, at, "cus", sub, f"{sub}:start", currency="usd", items=(item(sub, minor),))
        for sub, minor in subs.items()
    ]
    for day, kind, sub in (
        ("06-18", Kind.PAYMENT_FAILED, "late"),
        ("06-20", Kind.MARK_UNPAID, "late"),
        ("07-08", Kind.PAYMENT_SUCCEEDED, "late"),
        ("07-14", Kind.PAYMENT_FAILED, "lost"),
        ("07-15", Kind.MARK_UNPAID, "lost"),
    ):
        at = datetime.fromisoformat(f"2026-{day}T10:00:00+00:00")
        told.append(LedgerEvent(kind, at, "cus", sub, f"{sub}:{kind}", currency="usd", invoice=f"in_{sub}"))
    pair = twins(db, book(told, DEFAULT, UNTIL), "UTC")
    (row,) = pair.stored[0].rows(JULY)
    assert [row] == list(pair.folded[0].rows(JULY))
    assert (row.start, row.gross_involuntary_churn, row.late_recovery, row.end) == (8_000, 4_000, 1_000, 4_000)


def item(name: str, minor: str) -> Item:
    return Item(f"si_{name}", name, minor, 1, "month")
