"""Files of history: what they come to, and what is wrong with them by file, line and column."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from config.settings import Settings
from tests.world import SELF
from worker import books, importing, store
from worker import tables as t
from worker.app import App, build
from worker.broker import NoBell

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PERIODS = "customer,subscription,product,amount,currency,interval,quantity,starts,ends,end_reason\n"
FAILURES = "customer,subscription,invoice,amount,currency,failed_at,outcome,outcome_at\n"


@pytest.fixture
def app(database_url: str) -> Iterator[App]:
    made = build(Settings(database_url=database_url), NoBell(), now=lambda: NOW)
    made.policies.load()
    yield made
    made.close()


def written(folder: Path, text: str, name: str = "history.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def movements(app: App, customer: str) -> list[tuple[str, str, int]]:
    with app.db.read() as db:
        made = books.fold(store.facts_of(db, SELF, [customer])[customer], NOW).movements
    return [(f"{m.effective_at:%Y-%m-%d}", m.line.value, m.amount.minor) for m in made]


def facts(app: App) -> int:
    with app.db.read() as db:
        return db.scalar(select(func.count()).select_from(t.fact)) or 0


def test_periods_become_a_history_of_movements(app: App, tmp_path: Path) -> None:
    lines = [
        "ann,old_1,Team,49.00,usd,month,1,2024-01-01,2024-06-01,",
        "ann,old_1,Team,49.00,usd,month,3,2024-06-01,2025-01-01,",
        "ann,old_1,Team,490.00,usd,year,3,2025-01-01,2026-01-01,customer",
        "bob,old_2,Starter,1900,jpy,month,1,2025-03-01,,",
    ]
    assert importing.run(app, SELF, written(tmp_path, PERIODS + "\n".join(lines))) == (4, 5)
    assert movements(app, "ann") == [
        ("2024-01-01", "new", 4900),
        ("2024-06-01", "expansion", 9800),
        ("2025-01-01", "restructuring", -2450),
        ("2026-01-01", "voluntary_churn", -12250),
    ]
    assert movements(app, "bob") == [("2025-03-01", "new", 1900)]


def test_failures_become_cases_of_the_books_and_no_work(app: App, tmp_path: Path) -> None:
    importing.run(app, SELF, written(tmp_path, PERIODS + "ann,old_1,Team,49.00,usd,month,1,2025-01-01,,\n"))
    lines = [
        "ann,old_1,inv_1,49.00,usd,2025-03-01,recovered,2025-03-09T10:00:00+01:00",
        "ann,old_1,inv_2,49.00,usd,2025-05-01,,",
    ]
    importing.run(app, SELF, written(tmp_path, FAILURES + "\n".join(lines), "failures.csv"))
    assert movements(app, "ann") == [
        ("2025-01-01", "new", 4900),
        ("2025-03-09", "involuntary_churn", -4900),
        ("2025-03-09", "recovered", 4900),
        ("2025-05-31", "involuntary_churn", -4900),
    ]
    with app.db.read() as db:
        assert not db.execute(select(t.recovery_case)).all()
        assert not db.execute(select(t.action)).all()


def test_an_end_for_non_payment_is_involuntary(app: App, tmp_path: Path) -> None:
    line = "ann,old_1,Team,49.00,usd,month,1,2025-01-01,2025-04-01,payment_failed"
    importing.run(app, SELF, written(tmp_path, PERIODS + line))
    assert movements(app, "ann")[-1] == ("2025-04-01", "involuntary_churn", -4900)


def test_two_products_of_one_subscription_are_one_level(app: App, tmp_path: Path) -> None:
    lines = [
        "ann,old_1,Seats,10.00,usd,month,5,2025-01-01,,",
        "ann,old_1,Support,120.00,usd,quarter,1,2025-02-01,2025-05-01,",
    ]
    importing.run(app, SELF, written(tmp_path, PERIODS + "\n".join(lines)))
    assert [(line, minor) for _, line, minor in movements(app, "ann")] == [
        ("new", 5000),
        ("expansion", 4000),
        ("downgrade", -4000),
    ]


def test_the_same_file_twice_changes_nothing(app: App, tmp_path: Path) -> None:
    path = written(tmp_path, PERIODS + "ann,old_1,Team,49.00,usd,month,1,2025-01-01,2025-04-01,customer\n")
    assert importing.run(app, SELF, path) == (1, 2)
    with app.db.read() as db:
        entries = db.scalar(select(func.count()).select_from(t.entry))
    assert importing.run(app, SELF, path) == (1, 0)
    with app.db.read() as db:
        assert db.scalar(select(func.count()).select_from(t.entry)) == entries


GOOD = "ann,old_1,Team,49.00,usd,month,1,2025-01-01,2025-04-01,customer"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (GOOD.replace("49.00", "12;50"), "line 3, column amount: '12;50' is no amount such as 49.00"),
        (GOOD.replace("49.00", "-1"), "line 3, column amount: '-1' is no amount from 0"),
        (GOOD.replace("49.00", "NaN"), "line 3, column amount: 'NaN' is no amount from 0"),
        (GOOD.replace("usd", "dollars"), "line 3, column currency: 'dollars' is no currency such as usd"),
        (GOOD.replace("2025-01-01", "01/02/2025"), "line 3, column starts: '01/02/2025' is no date"),
        (GOOD.replace("2025-04-01", "2025-01-01"), "line 3, column ends: is not after starts"),
        (GOOD.replace("month,1", "month,1.5"), "line 3, column quantity: '1.5' is no whole number from 0"),
        (GOOD.replace("month", "fortnight"), "line 3, column interval: 'fortnight' is none of day"),
        (GOOD.replace("customer", "boredom"), "line 3, column end_reason: 'boredom' is none of nothing, customer"),
        (GOOD.replace("ann", ""), "line 3, column customer: is empty"),
        ("ann,old_1,Team", "line 3, column amount: the line ends before it"),
        (GOOD + ",more", "line 3, column 11: the line has more cells than the header has columns"),
        (GOOD.replace("ann", "eve"), "line 3, column customer: old_1 belongs to ann in line 2"),
        (GOOD, "line 3, column starts: an earlier period of Team has not ended by then"),
    ],
)
def test_a_wrong_row_names_file_line_and_column_and_nothing_is_booked(
    app: App, tmp_path: Path, line: str, complaint: str
) -> None:
    path = written(tmp_path, f"{PERIODS}{GOOD}\n{line}\n")
    with pytest.raises(importing.BadFile) as told:
        importing.run(app, SELF, path)
    assert complaint in str(told.value)
    assert str(path) in str(told.value)
    assert facts(app) == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: columns are missing"),
        ("customer,subscription\n", "line 1: columns are missing"),
        (PERIODS.replace("end_reason", "colour"), "line 1, column colour: no such column in a file of periods"),
        (f'{PERIODS}ann,"old_1', "line 2, column subscription: unexpected end of data"),
        (f'{PERIODS}ann,"old"_1', "line 2, column subscription: "),
    ],
)
def test_a_file_of_another_shape_is_refused(app: App, tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(importing.BadFile, match=complaint):
        importing.run(app, SELF, written(tmp_path, text))


def test_bytes_that_are_no_text_are_refused(app: App, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(PERIODS.encode() + GOOD.encode("utf-16"))
    with pytest.raises(importing.BadFile, match=r"line 2, column [0-9]+: not UTF-8 at byte"):
        importing.run(app, SELF, path)


def test_a_failure_must_be_told_whole(app: App, tmp_path: Path) -> None:
    path = written(tmp_path, FAILURES + "ann,old_1,inv_1,49.00,usd,2025-03-01,recovered,\n")
    with pytest.raises(importing.BadFile, match="column outcome_at: must be given with an outcome"):
        importing.run(app, SELF, path)
    before = (NOW - timedelta(days=900)).date()
    path = written(tmp_path, FAILURES + f"ann,old_1,inv_1,49.00,usd,2025-03-01,recovered,{before}\n")
    with pytest.raises(importing.BadFile, match="column outcome_at: is before failed_at"):
        importing.run(app, SELF, path)
