"""`reprieve report nrr`: the figures of a played world, by hand, and what happens when they do not agree."""

from __future__ import annotations

import io
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from billing.report.period import NotAPeriod
from sandbox import until
from tests.screens.conftest import Played
from tests.world import DAY, SELF, START, settings_for, world
from worker import explain, report
from worker import tables as t
from worker.app import App, build
from worker.broker import NoBell
from worker.store import Owner


def printed(app: App, month: str, **how: Any) -> str:
    out = io.StringIO()
    report.nrr(app, month, out, **how)
    return out.getvalue()


def as_json(app: App, month: str, **how: Any) -> Any:
    return json.loads(printed(app, month, as_json=True, **how))


@pytest.fixture
def copy(played: Played, tmp_path: Path) -> Any:
    """The same database, for a test that spoils it."""
    with played.world.app.db.begin():  # nobody writes while the file is copied
        for name in ("reprieve.db", "reprieve.db-wal"):
            source = Path(played.url.removeprefix("sqlite:///")).with_name(name)
            if source.exists():
                shutil.copy(source, tmp_path / name)
    settings = settings_for(f"sqlite:///{tmp_path / 'reprieve.db'}", played.world.sb, tmp_path / "mailbox")
    app = build(settings, NoBell(), now=played.world.sb.clock)
    yield app
    app.close()


@pytest.mark.parametrize(
    ("month", "figures"),
    [
        ("2026-01", {"start": 0, "new_business": 14_000, "end": 14_000, "at_risk": 0}),
        # Ann's 20.00 failed on the 1st and came on the 8th; Bob's 30.00 failed and is at risk.
        (
            "2026-02",
            {
                "start": 14_000,
                "gross_involuntary_churn": 2_000,
                "recovered_involuntary_churn": 2_000,
                "end": 14_000,
                "at_risk": 3_000,
            },
        ),
        # Bob is 30 days past due on the 3rd; Cat's card has expired on the 1st.
        (
            "2026-03",
            {
                "start": 14_000,
                "gross_involuntary_churn": 3_000,
                "recovered_involuntary_churn": 0,
                "end": 11_000,
                "at_risk": 4_000,
            },
        ),
    ],
)
def test_the_bridge_of_each_month_has_the_figures_of_the_story(
    played: Played, month: str, figures: dict[str, int]
) -> None:
    (account,) = as_json(played.world.app, month)
    (bridge,) = account["bridges"]
    assert (account["account"], account["livemode"], bridge["unit"]) == ("self", False, "usd/mo")
    assert {name: bridge["minor"][name] for name in figures} == figures


def test_recovered_involuntary_churn_is_a_line_of_its_own(played: Played) -> None:
    lines = printed(played.world.app, "2026-02").splitlines()
    (line,) = [line for line in lines if line.startswith("+ recovered involuntary churn")]
    assert line.split() == ["+", "recovered", "involuntary", "churn", "20.00"]


def test_net_takes_the_recovered_off_the_loss(played: Played) -> None:
    (account,) = as_json(played.world.app, "2026-02", net=True)
    minor = account["bridges"][0]["minor"]
    assert (minor["gross_involuntary_churn"], minor["recovered_involuntary_churn"]) == (0, 0)


def test_without_a_month_the_present_one_is_reported(played: Played) -> None:
    (account,) = as_json(played.world.app, "")
    assert account["bridges"][0]["period"]["start"] == "2026-03-01"


@pytest.mark.parametrize("month", ["2026-13", "March", "2026", "2026-03-01"])
def test_a_month_that_is_none_is_refused(played: Played, month: str) -> None:
    with pytest.raises(NotAPeriod, match="YYYY-MM"):
        printed(played.world.app, month)


def test_a_currency_or_an_account_without_facts_is_refused(played: Played) -> None:
    with pytest.raises(LookupError, match="EUR"):
        printed(played.world.app, "2026-02", currency="eur")
    with pytest.raises(LookupError, match="acct_nobody"):
        printed(played.world.app, "2026-02", account="acct_nobody")


def test_an_empty_database_says_so(played: Played, sqlite_url: str, tmp_path: Path) -> None:
    app = build(settings_for(sqlite_url, played.world.sb, tmp_path), NoBell())
    for ask in (printed, as_json):
        with pytest.raises(LookupError, match="nothing is booked yet; run `reprieve backfill` or wait"):
            ask(app, "2026-03")
    app.close()


def test_postings_that_do_not_agree_are_an_error_with_both_numbers(copy: App) -> None:
    printed(copy, "2026-02")
    with copy.db.begin() as db:
        row = dict(db.execute(select(t.entry).limit(1)).one()._mapping)
        number = db.execute(insert(t.entry).returning(t.entry.c.id), {**row, "id": None, "key": "wrong"}).scalar_one()
        posting = {"entry": number, "line": 0, "name": "good", "minor": 7, "unit": "usd/mo"}
        db.execute(insert(t.posting), [posting])
    with pytest.raises(report.BooksDisagree, match=r"140\.07 USD/mo.*140\.00 USD/mo"):
        printed(copy, "2026-02")


def test_accounts_are_reported_apart(copy: App) -> None:
    with copy.db.begin() as db:
        facts = [dict(row._mapping) for row in db.execute(select(t.fact))]
        mine = next(row["customer"] for row in facts if row["customer"])
        db.execute(
            insert(t.fact),
            [{**row, "id": None, "account": "acct_2"} for row in facts if row["customer"] == mine],
        )
        db.execute(
            insert(t.to_book),
            [{"account": "acct_2", "livemode": False, "customer": mine, "due_at": datetime(2026, 1, 1, tzinfo=UTC)}],
        )
    assert report.owners(copy, None) == [Owner("acct_2", False), SELF]
    (only,) = as_json(copy, "2026-02", account="acct_2")
    assert only["bridges"][0]["minor"]["end"] < 14_000
    assert printed(copy, "2026-02").count("NRR bridge") == 2


def test_both_engines_report_and_explain_the_same(database_url: str, tmp_path: Path) -> None:
    with world(database_url, tmp_path) as w:
        sub = w.sb.subscribe(amount=2000, behaviour=until(START + 33 * DAY))
        w.pass_time(START + 37 * DAY, step=DAY)
        (account,) = as_json(w.app, "2026-02")
        minor = account["bridges"][0]["minor"]
        assert (minor["start"], minor["recovered_involuntary_churn"], minor["end"]) == (2000, 2000, 2000)
        (story,) = explain.stories(w.app, w.sb.latest_invoice(sub.subscription)["id"])
        assert story.case is not None
        assert story.case["state"] == "recovered"
        assert [row["answer"] for row in story.rows["attempts"]] == ["paid"]
