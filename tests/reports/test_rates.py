"""Exchange rates from a file: what is read, and what every mistake is called."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest

from billing.report.currency import NoRate
from billing.report.period import Period
from billing.report.scope import Scope
from tests.reports.tables import book
from worker.reports import rates

FEBRUARY = Period.month("2026-02")
GOOD = "date,currency,rate\n2026-02-01,EUR,1.10\n2026-03-01,eur,1.2\n"


def file(folder: Path, text: str) -> Path:
    made = folder / "rates.csv"
    made.write_bytes(text.encode())
    return made


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD + GOOD[19:],
        "note,rate,currency,date\nx,1.10,EUR,2026-02-01\n",
    ],
)
def test_a_file_is_read_whatever_its_line_ends_and_column_order(tmp_path: Path, text: str) -> None:
    assert rates.read(file(tmp_path, text), "usd").on(date(2026, 2, 1)) == {"eur": Fraction("1.1")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column date"),
        ("date,currency\n2026-02-01,EUR\n", "line 1: no column rate"),
        ("date,currency,rate\n2026-02-30,EUR,1\n", "line 2, column date: '2026-02-30'"),
        ("date,currency,rate\n01/02/2026,EUR,1\n", "line 2, column date"),
        ("date,currency,rate\n2026-02-01,EURO,1\n", "line 2, column currency: 'EURO'"),
        ("date,currency,rate\n2026-02-01,,1\n", "line 2, column currency"),
        (GOOD + "2026-04-01,EUR,0\n", "line 4, column rate: '0'"),
        ("date,currency,rate\n2026-02-01,EUR,-1\n", "line 2, column rate"),
        ('date,currency,rate\n2026-02-01,EUR,"1,10"\n', "line 2, column rate: '1,10'"),
        ("date,currency,rate\n2026-02-01,EUR,1e3\n", "line 2, column rate"),
        ("date,currency,rate\n2026-02-01,EUR,NaN\n", "line 2, column rate"),
        ("date,currency,rate\n2026-02-01,EUR\n", "line 2, column rate"),
        ("date,currency,rate\n2026-02-01,EUR,1,1\n", "line 2: more cells than columns"),
        (GOOD + "2026-02-01,EUR,1.11\n", "line 4, column rate: EUR has another rate for 2026-02-01"),
        ("date,currency,rate\n2026-02-01,USD,1.5\n", "line 2, column rate: the report is in USD"),
        ('date,currency,rate\n"2026-02-01,EUR,1\n', "line 2"),
    ],
)
def test_a_mistake_names_file_line_and_column_and_nothing_is_used(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(rates.BadRates) as wrong:
        rates.read(file(tmp_path, text), "usd")
    assert str(wrong.value).startswith(f"{tmp_path / 'rates.csv'}, {message}")


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(rates.BadRates, match=r"nowhere\.csv cannot be read: no such file or directory$"):
        rates.read(tmp_path / "nowhere.csv", "usd")
    (tmp_path / "rates.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(rates.BadRates, match=r"rates\.csv is not a text file in UTF-8: save it as CSV"):
        rates.read(tmp_path / "rates.csv", "usd")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "2026-02-01,EUR,1.1",
            "no closing rate from EUR to USD for 2026-03-01 in {file}: the latest it has is of 2026-02-01",
        ),
        ("2026-02-01,CHF,1.1", "no opening rate from EUR to USD for 2026-02-01 in {file}: it has none for EUR"),
    ],
)
def test_a_missing_rate_names_file_currency_date_and_the_latest_it_has(tmp_path: Path, row: str, message: str) -> None:
    made = file(tmp_path, f"date,currency,rate\n{row}\n")
    with pytest.raises(NoRate) as wrong:
        Scope.of(book(), "usd", rates=rates.read(made, "usd")).bridge(FEBRUARY)
    assert wrong.value.args == (message.format(file=made),)


def test_rates_bring_other_currencies_into_the_bridge_with_a_line_of_their_own(tmp_path: Path) -> None:
    table = rates.read(file(tmp_path, GOOD), "usd")
    native, converted = Scope.of(book(), "usd"), Scope.of(book(), "usd", rates=table)
    assert converted.bridge(FEBRUARY).start == native.bridge(FEBRUARY).start + 8_800
    assert converted.bridge(FEBRUARY).fx == 800
