"""CSV, JSON and plain text: exact figures, ISO dates, and nothing from outside that could become something else."""

from __future__ import annotations

import csv as reading
import io
import json as parsing
from dataclasses import replace
from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.ledger.sources import RecoveredBy
from billing.money import Amount
from billing.report.period import Period
from billing.report.table import Cell, Column, Kind, Table
from tests.reports.tables import HOSTILE, NOTHING, ROW, table, texts
from worker.reports import cells, csv, json, terminal


def as_csv(made: Table) -> list[list[str]]:
    out = io.StringIO(newline="")
    csv.write([made], out)
    return list(reading.reader(io.StringIO(out.getvalue(), newline="")))


def test_csv_has_the_columns_in_their_order_and_the_minor_units_behind() -> None:
    head, row, empty = as_csv(table())
    own = ["name", "mrr", "nrr", "customers", "month", "seen", "in_base", "mrr_minor", "mrr_unit"]
    assert head == [*own, *csv.ABOUT]
    assert row[:9] == [
        "Ann",
        "-1234.50",
        "1.033333",
        "1200",
        "2026-03-01",
        "2026-03-04T12:30:00Z",
        "true",
        "-123450",
        "usd/mo",
    ]
    assert empty[:9] == [""] * 9
    assert row[9:] == empty[9:] == ["", "", "", "", "default", ""]


def test_csv_says_in_every_row_what_the_figures_are() -> None:
    labels = (
        ("period", str(Period.month("2026-02", "Europe/Berlin"))),
        ("time zone", "Europe/Berlin"),
        ("unit", "USD a month"),
        ("policy", "default"),
        ("as known at", "2026-03-02T00:00:00+00:00"),
    )
    euro = (*labels[:2], ("unit", "EUR a month"), *labels[3:])
    out = io.StringIO(newline="")
    csv.write([replace(table(ROW), labels=labels), replace(table(ROW), labels=euro)], out)
    rows = list(reading.DictReader(io.StringIO(out.getvalue(), newline="")))
    assert [row["report_currency"] for row in rows] == ["USD", "EUR"]
    assert {(row["report_from"], row["report_until"]) for row in rows} == {("2026-02-01", "2026-03-01")}
    assert {row["report_zone"] for row in rows} == {"Europe/Berlin"}
    assert {(row["report_policy"], row["report_as_known"]) for row in rows} == {("default", labels[-1][1])}


def test_points_are_no_percent_and_codes_are_words_for_people_only() -> None:
    columns = (
        Column("gap", "Gap", Kind.POINTS),
        Column("source", "Source", Kind.CODE),
        Column("currency", "Currency", Kind.CURRENCY),
    )
    made = Table("t", "T", columns, ((Fraction(385, 10_000), "our_retry", "eur+usd"),))
    assert terminal.plain(made).splitlines()[4].split("  ") == ["3.85 points", "our retry", "EUR+USD"]
    assert as_csv(made)[1][:3] == ["0.038500", "our_retry", "eur+usd"]
    out = io.StringIO()
    json.write([made], out)
    (row,) = parsing.loads(out.getvalue())[0]["rows"]
    assert row == {"gap": {"ratio": "0.038500", "points": "3.85"}, "source": "our_retry", "currency": "eur+usd"}


@pytest.mark.parametrize("source", RecoveredBy)
def test_every_source_of_a_recovery_has_its_words(source: RecoveredBy) -> None:
    assert "_" not in cells.shown(source, Kind.CODE)


def test_the_whole_of_a_segment_is_no_currency() -> None:
    assert [cells.shown(text, Kind.CURRENCY) for text in ("all", "not known", "usd")] == ["all", "not known", "USD"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_of_a_csv_begins_like_a_formula(text: str) -> None:
    (_, (cell, *_)) = as_csv(texts(text))
    assert not cell.startswith(csv.FORMULA)
    assert cell.removeprefix("'") == text


def test_a_negative_amount_is_a_number_and_not_neutralised() -> None:
    assert csv.neutral(Amount(-5, "usd")) == "-0.05"


@given(st.text())
def test_whatever_a_text_is_csv_gives_it_back_and_never_as_a_formula(text: str) -> None:
    assert not csv.neutral(text).startswith(csv.FORMULA)
    assert csv.neutral(text) in (text, f"'{text}")


def test_json_has_minor_units_decimals_and_no_floats() -> None:
    out = io.StringIO()
    json.write([table()], out)
    (made,) = parsing.loads(out.getvalue(), parse_float=lambda text: pytest.fail(f"a float: {text}"))
    assert made["rows"][0] == {
        "name": "Ann",
        "mrr": {"minor": -123450, "decimal": "-1234.50", "unit": "usd/mo"},
        "nrr": {"ratio": "1.033333", "percent": "103.33"},
        "customers": 1200,
        "month": "2026-03-01",
        "seen": "2026-03-04T12:30:00Z",
        "in_base": True,
    }
    assert set(made["rows"][1].values()) == {None}
    assert (made["labels"], made["notes"]) == ({"policy": "default"}, ["One note."])


@pytest.mark.parametrize(
    ("cell", "exact", "shown"),
    [
        (Amount(-50, "usd"), "-0.50", "-0.50"),
        (Amount(-123_456_789, "usd"), "-1234567.89", "-1,234,567.89"),
        (Amount(1_234_567, "jpy"), "1234567", "1,234,567"),
        (Amount(-1_234_567, "kwd"), "-1234.567", "-1,234.567"),
        (Fraction(-1, 3), "-0.333333", "-33.33 %"),
        (Fraction(1, 2_000_000), "0.000001", "0.00 %"),
        (Fraction(-1, 30_000_000), "0.000000", "0.00 %"),
        (Fraction(1_999_999, 2_000_000), "1.000000", "100.00 %"),
        (date(2026, 3, 1), "2026-03-01", "2026-03-01"),
        (True, "true", "yes"),
        (None, "", "-"),
        (12_345, "12345", "12,345"),
    ],
)
def test_a_cell_is_written_exactly_for_programs_and_readably_for_people(cell: Cell, exact: str, shown: str) -> None:
    assert cells.exact(cell) == exact
    assert cells.shown(cell, Kind.COUNT) == shown


@given(st.integers(-(10**15), 10**15), st.sampled_from(["usd", "jpy", "kwd"]))
def test_every_amount_reads_the_same_with_and_without_thousands(minor: int, unit: str) -> None:
    amount = Amount(minor, unit)
    assert cells.shown(amount, Kind.MONEY).replace(",", "") == cells.exact(amount)


def test_plain_text_is_aligned_and_carries_labels_and_notes() -> None:
    lines = terminal.plain(table()).splitlines()
    assert lines[2].split() == ["Name", "MRR", "(USD)", "NRR", "Customers", "Month", "Seen", "In", "base"]
    assert lines[4].split() == ["Ann", "-1,234.50", "103.33", "%", "1,200", "2026-03-01", "2026-03-04", "12:30", "yes"]
    assert lines[-3:] == ["policy  default", "", "One note."]
    assert len({line.index("2026-03-01") for line in lines if "2026-03-01" in line}) == 1


def test_control_characters_never_reach_a_screen() -> None:
    for styled in (False, True):
        out = io.StringIO()
        terminal.write([texts("\x1b]0;owned\x07\u202egnp.exe\n[bold]x[/bold]")], out, styled=styled)
        assert not set("\x07\u202e") & set(out.getvalue())
        assert "\x1b]0" not in out.getvalue()
        assert "[bold]x[/bold]" in out.getvalue()


def test_a_pipe_gets_plain_text_and_a_terminal_gets_style() -> None:
    plain, styled = io.StringIO(), io.StringIO()
    terminal.write([table()], plain, styled=False)
    terminal.write([table()], styled, styled=True)
    assert "\x1b[" not in plain.getvalue()
    assert "\x1b[1m" in styled.getvalue()


def test_few_rows_of_many_columns_are_laid_on_their_side() -> None:
    columns = tuple(Column(f"c{n}", f"Line {n}", Kind.COUNT) for n in range(terminal.WIDE + 1))
    wide = Table("wide", "Wide", columns, (tuple(range(terminal.WIDE + 1)),))
    out = io.StringIO()
    terminal.write([wide], out, styled=False)
    assert ["Line", "7", "7"] in [line.split() for line in out.getvalue().splitlines()]


def test_a_table_without_rows_says_so() -> None:
    empty = Table("empty", "Empty", table().columns, ())
    assert "(no rows)" in terminal.plain(empty)
    assert len(as_csv(empty)) == 1
    assert NOTHING != ROW
