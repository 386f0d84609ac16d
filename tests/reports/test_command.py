"""`reprieve report ...`: every report in every format from a played company, and how wrong questions are answered."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from billing.report.currency import NoRate
from billing.report.period import NotAPeriod
from worker import cli, report
from worker.app import App
from worker.reports import command, options
from worker.reports import csv as csv_of
from worker.reports.catalogue import CATALOGUE, RECONCILIATION, NotAskedWell
from worker.reports.check import NotBegun
from worker.reports.command import FORMATS, Order
from worker.reports.drawing import NoPicture
from worker.reports.rates import BadRates


@dataclass
class Screen(io.StringIO):
    """A terminal, or a pipe with bytes below it."""

    tty: bool = False
    buffer: io.BytesIO = field(default_factory=io.BytesIO)

    def __post_init__(self) -> None:
        super().__init__()

    def isatty(self) -> bool:
        return self.tty


def asked(app: App, name: str, *, tty: bool = False, **options: Any) -> str:
    out = Screen(tty)
    command.run(app, Order(name, **{"month": "2026-02", **options}), out)
    return out.getvalue()


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_command_line_names_every_report_of_the_catalogue() -> None:
    assert list(options.REPORTS) == list(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_report_is_printed_as_text_and_as_json(app: App, name: str) -> None:
    text = asked(app, name, currency="usd")
    made = json.loads(asked(app, name, currency="usd", form="json"))
    assert made
    for table in made:
        assert table["title"] in text
        assert table["labels"]["account"] == "self, test mode"
        assert "policy" in table["labels"]


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize("form", ["csv", "parquet", "xlsx"])
def test_every_report_is_written_to_a_file(app: App, tmp_path: Path, name: str, form: str) -> None:
    out = tmp_path / f"{name}.{form}"
    cut = {"recovery": "month", "reconciliation": "cause"}.get(name, "")
    assert asked(app, name, currency="usd", out=out, cut=cut) == ""
    match form:
        case "csv":
            assert rows(out.read_text()) or name == "benchmark"  # which needs a base of twelve months ago
        case "parquet":
            assert pq.read_table(out).num_rows or name == "benchmark"
        case _:
            assert "About" in openpyxl.load_workbook(out).sheetnames
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".part")] == []


@pytest.mark.parametrize("name", ["bridge", "trend", "cohorts"])
@pytest.mark.parametrize(("form", "begins"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_pictures_are_written_to_a_file_or_a_pipe(app: App, name: str, form: str, begins: bytes) -> None:
    out = Screen()
    command.run(app, Order(name, month="2026-02", currency="usd", form=form), out)
    assert out.buffer.getvalue().startswith(begins)


def test_the_bridge_closes_as_report_nrr_says(app: App) -> None:
    out = io.StringIO()
    report.nrr(app, "2026-02", out, as_json=True)
    (account,) = json.loads(out.getvalue())
    theirs = {each["unit"]: (each["minor"]["start"], each["minor"]["end"]) for each in account["bridges"]}
    ours = {
        row["end_unit"]: (int(row["start_minor"]), int(row["end_minor"]))
        for row in rows(asked(app, "bridge", form="csv"))
    }
    assert ours == theirs == {"usd/mo": (10_000, 10_000), "eur/mo": (4_000, 4_000)}


def test_every_column_of_the_cube_sums_to_the_bridge(app: App) -> None:
    (bridge,) = rows(asked(app, "bridge", currency="usd", form="csv"))
    cube = rows(asked(app, "cube", currency="usd", form="csv"))
    same = {"mrr_open": "start", "mrr_close": "end", "at_risk_close": "at_risk"}
    for name in (
        "mrr_open",
        "expansion",
        "gross_involuntary_churn",
        "recovered_involuntary_churn",
        "mrr_close",
        "at_risk_close",
    ):
        total = sum(int(row[f"{name}_minor"]) for row in cube)
        assert total == int(bridge[f"{same.get(name, name)}_minor"]), name
    assert int(bridge["recovered_involuntary_churn_minor"]) == 2_000


def test_each_currency_is_a_table_of_its_own_until_rates_are_given(app: App, tmp_path: Path) -> None:
    assert [row["start_unit"] for row in rows(asked(app, "bridge", form="csv"))] == ["eur/mo", "usd/mo"]
    rates = tmp_path / "rates.csv"
    rates.write_text("date,currency,rate\n2026-02-01,EUR,1.10\n2026-03-01,EUR,1.20\n")
    (row,) = rows(asked(app, "bridge", currency="usd", rates=rates, form="csv"))
    assert (row["start_minor"], row["fx_minor"], row["end_minor"]) == ("14400", "400", "14800")


def test_a_picture_of_two_currencies_is_refused(app: App) -> None:
    with pytest.raises(NotAskedWell, match="2 tables: choose one with --currency"):
        asked(app, "bridge", form="svg")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"form": "pdf"}, NotAskedWell, "no format 'pdf'"),
        ({"out": Path("x.docx")}, NotAskedWell, r"ending '\.docx': choose \.json, \.csv, .*\.txt, or --format"),
        ({"cut": "nonsense"}, NotAskedWell, "bridge has no --by: reconciliation, recovery, segments have it"),
        ({"measure": "nrr"}, NotAskedWell, "bridge has no --measure: cohorts have it"),
        ({"month": "2026-04"}, NotBegun, "2026-04-01 to 2026-05-01 .* has not begun yet"),
        ({"month": "2026-02", "ttm": "2026-02"}, NotAskedWell, "choose one period: --month or --ttm"),
        ({"month": "", "begin": "2026-02-01"}, NotAPeriod, "--to '' is no date"),
        ({"month": "", "begin": "2026-02-01", "end": "2026-02-01"}, NotAPeriod, "is no period"),
        ({"month": "2026-2"}, NotAPeriod, "YYYY-MM"),
        ({"month": "", "quarter": "2026-Q5"}, NotAPeriod, "YYYY-Qn"),
        ({"zone": "Mars/Olympus"}, NotAskedWell, "no time zone 'Mars/Olympus'"),
        ({"basis": "gross"}, NotAskedWell, "--basis is netted or activity"),
        ({"display": "both"}, NotAskedWell, "--display is gross or net"),
        ({"currency": "chf"}, LookupError, "no recurring revenue in CHF"),
        ({"account": "acct_nobody"}, LookupError, "acct_nobody"),
        ({"rates": Path("nowhere.csv")}, NotAskedWell, "--rates needs --currency"),
        ({"rates": Path("nowhere.csv"), "currency": "usd"}, BadRates, r"nowhere\.csv"),
    ],
)
def test_a_question_that_cannot_be_answered_says_what_is_wrong(
    app: App, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        asked(app, "bridge", **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("movements", {"back": 3}, "movements has no --back: bridge, cohorts, trend have it"),
        ("segments", {"cut": "shoe size"}, "no segments by 'shoe size': choose acv"),
        ("cohorts", {"measure": "arr"}, "no measure 'arr'"),
        ("recovery", {"cut": "moon"}, "no recovery by 'moon'"),
        ("recovery", {"form": "csv"}, "choose one with --by"),
        ("policy", {"form": "svg"}, "bridge, trend and cohorts have one"),
    ],
)
def test_a_view_that_a_report_does_not_have_is_refused(
    app: App, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((NotAskedWell, NoPicture), match=message):
        asked(app, name, currency="usd", **options)


def test_a_missing_rate_is_an_error_that_names_currency_and_date(app: App, tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text("date,currency,rate\n2026-02-01,EUR,1.10\n")
    with pytest.raises(NoRate, match="EUR to USD for 2026-03-01"):
        asked(app, "bridge", currency="usd", rates=rates)


@pytest.mark.parametrize(
    ("options", "first", "last"),
    [
        ({"month": "2026-02"}, date(2026, 2, 1), date(2026, 3, 1)),
        ({"quarter": "2026-Q1"}, date(2026, 1, 1), date(2026, 4, 1)),
        ({"ttm": "2026-02"}, date(2025, 3, 1), date(2026, 3, 1)),
        ({"begin": "2026-01-15", "end": "2026-02-20"}, date(2026, 1, 15), date(2026, 2, 20)),
        ({}, date(2026, 3, 1), date(2026, 4, 1)),
    ],
)
def test_periods_are_named_in_five_ways(app: App, options: dict[str, str], first: date, last: date) -> None:
    period = command.period_of(app, Order("bridge", **options))  # type: ignore[arg-type]
    assert (period.start, period.end) == (first, last)
    assert command.period_of(app, Order("bridge", month="2026-02", zone="Asia/Tokyo")).zone == "Asia/Tokyo"


def test_back_shows_so_many_periods(app: App) -> None:
    table = rows(asked(app, "bridge", currency="usd", back=2, form="csv"))
    assert [row["period_start"] for row in table] == ["2026-01-01", "2026-02-01"]


def test_bytes_are_not_thrown_at_a_terminal(app: App) -> None:
    with pytest.raises(NotAskedWell, match="--out"):
        asked(app, "bridge", tty=True, form="xlsx")
    assert "\x1b[" in asked(app, "bridge", tty=True)


def test_a_file_that_cannot_be_written_is_named_and_an_old_one_stays(app: App, tmp_path: Path) -> None:
    with pytest.raises(NotAskedWell, match="cannot be written"):
        asked(app, "bridge", out=tmp_path / "nowhere" / "bridge.csv")
    old = tmp_path / "bridge.svg"
    old.write_text("old")
    with pytest.raises(NotAskedWell):
        asked(app, "bridge", out=old)
    assert old.read_text() == "old"


def test_the_ending_of_the_file_says_the_format(tmp_path: Path) -> None:
    endings = {form: command.format_of(Order("bridge", out=tmp_path / f"x.{form}")) for form in FORMATS[1:]}
    assert endings == {form: form for form in FORMATS[1:]}
    assert command.format_of(Order("bridge", out=tmp_path / "x")) == "text"
    assert command.format_of(Order("bridge", out=tmp_path / "x.csv", form="json")) == "json"
    assert command.format_of(Order("bridge", out=tmp_path / "x.docx", form="json")) == "json"


@pytest.mark.parametrize("out", ["bridge.csv/x.csv", "."])
def test_a_file_is_no_folder_and_a_folder_no_file(app: App, tmp_path: Path, out: str) -> None:
    (tmp_path / "bridge.csv").write_text("old")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(NotAskedWell, match=r"cannot be written: (Not a directory|Is a directory)"):
        asked(app, "bridge", out=tmp_path / out, form="csv")
    assert [each for each in sorted(tmp_path.iterdir()) if "part" in each.name] == []
    assert set(before) <= set(tmp_path.iterdir())


# ---------------------------------------------------------------- what is in the figures


def test_the_movement_log_holds_one_currency_and_each_movement_once(app: App) -> None:
    dollars = rows(asked(app, "movements", month="", ttm="2026-02", currency="usd", form="csv"))
    both = rows(asked(app, "movements", month="", ttm="2026-02", form="csv"))
    assert {row["currency"] for row in dollars} == {"usd"}
    assert sorted({row["currency"] for row in both}) == ["eur", "usd"]
    assert len({row["movement_id"] for row in both}) == len(both)
    assert all(row["amount_reporting"] for row in both)


def test_with_rates_the_movement_log_holds_every_currency(app: App, tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text("date,currency,rate\n2026-01-01,EUR,1.10\n2026-02-01,EUR,1.20\n")
    found = rows(asked(app, "movements", month="2026-01", currency="usd", rates=rates, form="csv"))
    assert {row["currency"] for row in found} == {"eur", "usd"}


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_csv_says_what_its_figures_are(app: App, name: str) -> None:
    for cut in {"recovery": ("month", "at_risk"), "reconciliation": RECONCILIATION}.get(name, ("",)):
        for row in rows(asked(app, name, currency="usd", cut=cut, form="csv")):
            assert [row[column] for column in csv_of.ABOUT if not row[column]] == []
            assert (row["report_currency"], row["report_zone"], row["report_policy"]) == ("USD", "UTC", "default")
            assert row["report_from"] < row["report_until"] == ("2026-04-01" if cut == "invoices" else "2026-03-01")


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_period_that_runs_says_up_to_when_the_figures_are(app: App, name: str) -> None:
    said = "not ended yet: as of 2026-03-11 00:00 UTC"
    running, over = (
        json.loads(asked(app, name, month=month, currency="usd", form="json")) for month in ("", "2026-02")
    )
    assert all(said in " ".join(table["notes"]) for table in running)
    assert {table["name"] for table in over if "not ended yet" in " ".join(table["notes"])} <= {
        "reconciliation_invoices"
    }


def test_a_bridge_that_runs_says_so_in_its_workbook_and_in_the_short_report(app: App, tmp_path: Path) -> None:
    asked(app, "bridge", month="", currency="usd", out=tmp_path / "bridge.xlsx")
    about = openpyxl.load_workbook(tmp_path / "bridge.xlsx")["About"]
    assert any("not ended yet: as of 2026-03-11" in str(cell.value) for row in about for cell in row)
    out = io.StringIO()
    report.nrr(app, "", out)
    assert "not ended yet: as of 2026-03-11 00:00 UTC" in out.getvalue()
    with pytest.raises(NotBegun, match="has not begun yet"):
        report.nrr(app, "2026-04", out)


def test_months_before_the_books_begin_are_blank_and_not_nothing(app: App) -> None:
    found = {row["month"]: row for row in rows(asked(app, "trend", currency="usd", form="csv"))}
    blank, first = found["2025-12-01"], found["2026-01-01"]
    assert {value for name, value in blank.items() if value} >= {"2025-12-01"}
    assert (blank["start"], blank["end"], blank["end_minor"]) == ("", "", "")
    assert (first["start"], first["end"]) == ("0.00", "100.00")


@pytest.mark.parametrize(("period", "title"), [({}, "Age in months"), ({"quarter": "2026-Q1"}, "Age in quarters")])
def test_cohorts_say_what_their_age_is_counted_in(app: App, period: dict[str, str], title: str) -> None:
    options: dict[str, Any] = {"currency": "usd", "form": "json", **({"month": "", **period} if period else {})}
    (listed,) = json.loads(asked(app, "cohorts", measure="all", **options))
    assert [column["title"] for column in listed["columns"] if column["name"] == "age"] == [title]
    (triangle,) = json.loads(asked(app, "cohorts", measure="nrr", **options))
    assert triangle["labels"]["ages"] == title


@pytest.mark.parametrize("form", FORMATS)
def test_books_without_anything_are_one_sentence_and_nothing_is_written(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    monkeypatch.setenv("REPRIEVE_DATABASE_URL", sqlite_url)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / f"bridge.{form}"
    for more in ([], ["--currency", "usd"]):
        made = CliRunner().invoke(cli.main, ["report", "bridge", "--format", form, "--out", str(out), *more])
        sentence = "reprieve: nothing is booked yet; run `reprieve backfill` or wait for the first webhook\n"
        assert (made.exit_code, made.stdout, made.stderr) == (2, "", sentence)
    assert [each for each in tmp_path.iterdir() if each.name.endswith((form, "part"))] == []


@pytest.mark.parametrize(
    ("revision", "sentence"),
    [
        (None, "the database has no tables yet: run `reprieve migrate`"),
        ("0001", "the tables are at revision 0001, this code needs .*: run `reprieve migrate`"),
        ("9999", r"a newer Reprieve wrote this database \(revision 9999, this one knows .*\): use that version"),
    ],
)
def test_a_database_of_another_version_has_a_sentence_of_its_own(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, revision: str | None, sentence: str
) -> None:
    url = request.getfixturevalue("sqlite_url" if revision else "empty_sqlite_url")
    if revision:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db:
            db.execute("UPDATE alembic_version SET version_num = ?", (revision,))
            db.commit()
    monkeypatch.setenv("REPRIEVE_DATABASE_URL", url)
    monkeypatch.chdir(tmp_path)
    made = CliRunner().invoke(cli.main, ["report", "bridge"])
    assert (made.exit_code, made.stdout) == (2, "")
    assert re.fullmatch(f"reprieve: {sentence}\n", made.stderr)


def test_the_usage_names_the_command_that_people_type() -> None:
    command = [sys.executable, "-m", "worker.cli", "report", "bridge", "--nonsense"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stderr
    assert "Usage: reprieve report bridge" in told


def test_the_command_line_answers_a_mistake_in_one_sentence(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REPRIEVE_DATABASE_URL", make_app().settings.database_url)
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    right = run(cli.main, ["report", "bridge", "--month", "2026-02", "--currency", "usd", "--format", "csv"])
    assert (right.exit_code, rows(right.stdout)[0]["end_minor"]) == (0, "10000")
    wrong = run(cli.main, ["report", "bridge", "--month", "yesterday"])
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("reprieve: 'yesterday' is not a month")
