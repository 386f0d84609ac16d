"""Parquet read back: types, exact money, labels in the metadata."""

from __future__ import annotations

import io
import sys
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow.parquet as pq
import pytest

from billing.money import Amount
from billing.report.table import Column, Kind, Table
from tests.reports.tables import NOON, table
from worker.reports import parquet, pictures
from worker.reports.extras import MissingExtra
from worker.reports.pictures import Bar, Waterfall


def read_back(made: Table) -> Any:
    out = io.BytesIO()
    parquet.write(made, out)
    return pq.read_table(io.BytesIO(out.getvalue()))


def test_every_cell_comes_back_with_its_type() -> None:
    first, nothing = read_back(table()).to_pylist()
    assert first.pop("nrr") == pytest.approx(31 / 30)
    assert first == {
        "name": "Ann",
        "mrr": Decimal("-1234.500"),
        "mrr_minor": -123_450,
        "mrr_unit": "usd/mo",
        "customers": 1200,
        "month": date(2026, 3, 1),
        "seen": NOON,
        "in_base": True,
    }
    assert set(nothing.values()) == {None}


def test_points_and_codes_are_numbers_and_codes_for_programs() -> None:
    columns = (
        Column("gap", "Gap", Kind.POINTS),
        Column("source", "Source", Kind.CODE),
        Column("currency", "Currency", Kind.CURRENCY),
    )
    read = read_back(Table("t", "T", columns, ((Fraction(1, 4), "our_retry", "usd"), (None, None, None))))
    assert [str(field.type) for field in read.schema] == ["double", "string", "string"]
    assert [list(row.values()) for row in read.to_pylist()] == [[0.25, "our_retry", "usd"], [None, None, None]]


@pytest.mark.parametrize("amount", [Amount(0, "usd"), Amount(7, "jpy"), Amount(-1, "kwd"), Amount(10**15, "usd")])
def test_money_is_exact_in_every_currency(amount: Amount) -> None:
    column = (Column("mrr", "MRR", Kind.MONEY),)
    (row,) = read_back(Table("one", "One", column, ((amount,),))).to_pylist()
    assert (row["mrr_minor"], row["mrr_unit"]) == (amount.minor, amount.unit)
    assert f"{row['mrr'].normalize():f}" == f"{Decimal(str(amount).split()[0]).normalize():f}"


def test_labels_and_notes_are_in_the_metadata() -> None:
    metadata = read_back(table()).schema.metadata
    assert metadata[b"reprieve.policy"] == b"default"
    assert metadata[b"reprieve.notes"] == b"One note."


def test_without_the_library_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'reprieve\[parquet\]'"):
        parquet.write(table(), io.BytesIO())
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"reprieve\[pictures\]"):
        pictures.write(Waterfall("t", (), [Bar("a", 1, "1")], "USD"), io.BytesIO(), "png")
