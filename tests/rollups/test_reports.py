"""Reports from roll-ups say to the cent what the bridge says on the same facts, on both engines."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.ledger.book import book
from billing.ledger.movement import Book
from billing.ledger.policy import DEFAULT, STRIPE_LIKE, LedgerPolicy
from billing.ledger.vocabulary import LedgerEvent
from billing.report.bridge import Basis, bridge
from billing.report.currency import Currency
from billing.report.period import NotAPeriod, Period
from tests.billing.test_bridge_properties import UNTIL, history
from tests.rollups.companies import troubled
from worker import rollup_reports, rollups
from worker.db import Database
from worker.rollup_reports import Asked, CohortMonth
from worker.store import Owner

YEAR = Period(date(2025, 10, 1), date(2026, 9, 1))
FIRSTS = [date(2025, month, 1) for month in (10, 11, 12)] + [date(2026, month, 1) for month in range(1, 10)]
ZONES = ["UTC", "America/New_York", "Asia/Tokyo"]
MODEST = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Company = Callable[[int], list[LedgerEvent]]

seeds = st.integers(0, 10**9)
companies = st.sampled_from([troubled, troubled, history])
policies = st.sampled_from([DEFAULT, DEFAULT, STRIPE_LIKE])
zones = st.sampled_from(ZONES)
spans = st.tuples(st.integers(0, len(FIRSTS) - 1), st.integers(0, len(FIRSTS) - 1)).filter(
    lambda span: span[0] < span[1]
)


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    yield made
    made.close()


numbers = itertools.count()


def booked(db: Database, made: Book, zone: str) -> tuple[Owner, list[str]]:
    """Roll a book up under an account of its own; the account, and the book's currencies."""
    owner = Owner(f"acct_{next(numbers)}", False)
    with db.begin() as connection:
        rollups.update(connection, owner, {"all": made}, zone)
    return owner, sorted({each.amount.currency for each in made.movements})


@MODEST
@given(companies, seeds, policies, zones, spans)
def test_any_span_of_whole_months_is_the_bridge_on_the_facts(
    db: Database, company: Company, seed: int, policy: LedgerPolicy, zone: str, span: tuple[int, int]
) -> None:
    made = book(company(seed), policy, UNTIL)
    owner, currencies = booked(db, made, zone)
    period = Period(FIRSTS[span[0]], FIRSTS[span[1]], zone)
    for currency in currencies:
        asked = Asked(owner, currency, made.until)
        for basis in Basis:
            with db.read() as connection:
                found = rollup_reports.bridge(connection, asked, period, basis)
            assert found == bridge(made, period, Currency(currency), basis)


@MODEST
@given(companies, seeds, policies, zones)
def test_every_month_is_the_bridge_on_the_facts(
    db: Database, company: Company, seed: int, policy: LedgerPolicy, zone: str
) -> None:
    made = book(company(seed), policy, UNTIL)
    owner, currencies = booked(db, made, zone)
    months = [Period(*pair, zone) for pair in itertools.pairwise(FIRSTS)]
    for currency in currencies:
        with db.read() as connection:
            found = rollup_reports.monthly(
                connection, Asked(owner, currency, made.until), Period(FIRSTS[0], FIRSTS[-1], zone)
            )
        assert found == [bridge(made, month, Currency(currency)) for month in months]


def level(made: Book, customer: str, currency: str, month: Period) -> int:
    return sum(
        each.amount.minor
        for each in made.movements
        if each.customer == customer and each.amount.currency == currency and each.effective_at < month.closes
    )


def triangle(made: Book, currency: str, zone: str) -> list[CohortMonth]:
    """The triangle by its definition: each customer's level at the end of each month."""
    months = [Period(*pair, zone) for pair in itertools.pairwise(FIRSTS)]
    cohort: dict[str, Period] = {}
    for each in made.movements:
        cohort.setdefault(each.customer, next(month for month in months if month.holds(each.effective_at)))
    cells = []
    for first, month in itertools.combinations_with_replacement(months, 2):
        mine = [customer for customer, began in cohort.items() if began == first]
        pairs = [(level(made, each, currency, first), level(made, each, currency, month)) for each in mine]
        base = [(then, now) for then, now in pairs if then]
        cells.append(
            CohortMonth(
                first.start.year * 100 + first.start.month,
                month.start.year * 100 + month.start.month,
                sum(now for _, now in pairs),
                sum(now > 0 for _, now in pairs),
                sum(then for then, _ in base),
                len(base),
                sum(now for _, now in base),
                sum(min(then, now) for then, now in base),
                sum(now > 0 for _, now in base),
            )
        )
    return cells


@MODEST
@given(companies, seeds, zones)
def test_the_cohort_triangle_is_what_its_definition_gives(db: Database, company: Company, seed: int, zone: str) -> None:
    made = book(company(seed), DEFAULT, UNTIL)
    owner, currencies = booked(db, made, zone)
    for currency in currencies:
        with db.read() as connection:
            found = rollup_reports.cohorts(
                connection, Asked(owner, currency, made.until), Period(FIRSTS[0], FIRSTS[-1], zone)
            )
        assert found == triangle(made, currency, zone)


def test_a_span_that_is_not_of_whole_months_is_refused(db: Database) -> None:
    asked = Asked(Owner("acct", False), "usd", UNTIL)
    for period in (Period(date(2026, 1, 2), date(2026, 3, 1)), Period(date(2026, 1, 1), date(2026, 3, 2))):
        for report in (rollup_reports.bridge, rollup_reports.monthly, rollup_reports.cohorts):
            with db.read() as connection, pytest.raises(NotAPeriod):
                report(connection, asked, period)


def test_an_account_without_rows_has_an_empty_bridge(db: Database) -> None:
    asked = Asked(Owner("acct", False), "usd", UNTIL)
    with db.read() as connection:
        assert rollup_reports.bridge(connection, asked, YEAR).end == 0
        assert {each.end for each in rollup_reports.monthly(connection, asked, YEAR)} == {0}
