"""Whatever one cell of a file holds that cannot be read: its file, line and column are named, and nothing is booked."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from config.settings import Settings
from tests.history.test_importing import NOW
from tests.world import SELF
from worker import importing
from worker import tables as t
from worker.app import build
from worker.broker import NoBell

NEVER = ("", "   ", "a\x07b", "x" * 256)
WRONG: dict[str, dict[str, tuple[str, ...]]] = {
    "periods": {
        **dict.fromkeys(("customer", "subscription", "product"), NEVER),
        "amount": ("", "12;50", "-1", "NaN", "1e12", "49,00", "£49"),
        "currency": ("", "us", "dollars", "u$d", "€"),
        "interval": ("", "fortnight", "Month"),
        "quantity": ("1.5", "-1", "x", "٣", "2147483648"),
        "starts": ("", "01/02/2025", "2025-02-30", "yesterday", "1735689600"),
        "ends": ("soon", "2025-01-01", "2024-12-31"),
        "end_reason": ("boredom",),
    },
    "failures": {
        **dict.fromkeys(("customer", "subscription", "invoice"), NEVER),
        "amount": ("", "0", "-5", "1.005", "many"),
        "currency": ("", "us", "dollars"),
        "failed_at": ("", "2025-13-01", "march"),
        "outcome": ("repaid",),
        "outcome_at": ("", "2025-02-28", "later"),
    },
}
GOOD = {
    "periods": ("ann", "sub_{n}", "Team, large", "49.00", "usd", "month", "1", "2025-01-01", "2025-04-01", "customer"),
    "failures": ("ann", "sub_{n}", "inv_{n}", "49.00", "usd", "2025-03-01", "recovered", "2025-03-09"),
}


def written(kind: str, rows: list[list[str]], blank: set[int], end: str) -> tuple[str, list[int]]:
    """The text of a file and the line on which each row stands; an empty line follows each row in `blank`."""
    text, lines = io.StringIO(newline=""), []
    writer = csv.writer(text, lineterminator=end)
    writer.writerow(WRONG[kind])
    for number, row in enumerate(rows):
        lines.append(text.getvalue().count(end) + 1)
        writer.writerow(row)
        text.write(end if number in blank else "")
    return text.getvalue(), lines


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[str, int, str]:
    """(text of a file, line, column) of which exactly this cell cannot be read."""
    kind = draw(st.sampled_from(sorted(GOOD)))
    rows = [[cell.format(n=n) for cell in GOOD[kind]] for n in range(draw(st.integers(1, 6)))]
    row, column = draw(st.integers(0, len(rows) - 1)), draw(st.sampled_from(sorted(WRONG[kind])))
    rows[row][list(WRONG[kind]).index(column)] = draw(st.sampled_from(WRONG[kind][column]))
    blank = draw(st.sets(st.integers(0, len(rows) - 1)))
    text, lines = written(kind, rows, blank, draw(st.sampled_from(["\n", "\r\n"])))
    return text, lines[row], column


def test_a_cell_that_cannot_be_read_is_named_and_nothing_of_its_file_is_booked(sqlite_url: str, tmp_path: Path) -> None:
    app = build(Settings(database_url=sqlite_url), NoBell(), now=lambda: NOW)
    path = tmp_path / "history.csv"

    def rows_of(*tables: Any) -> list[int]:
        with app.db.read() as db:
            return [db.scalar(select(func.count()).select_from(table)) or 0 for table in tables]

    @settings(max_examples=80)
    @given(spoiled())
    def holds(made: tuple[str, int, str]) -> None:
        text, line, column = made
        path.write_text(text, encoding="utf-8", newline="")
        with pytest.raises(importing.BadFile) as told:
            importing.run(app, SELF, path)
        assert str(told.value).startswith(f"{path}, line {line}, column {column}: ")
        assert rows_of(t.fact, t.entry, t.to_book) == [0, 0, 0]

    try:
        holds()
        for kind, good in GOOD.items():  # the same rows unspoiled are booked
            path.write_text(written(kind, [[cell.format(n=1) for cell in good]], set(), "\n")[0], encoding="utf-8")
            assert importing.run(app, SELF, path) == (1, 2)
    finally:
        app.close()
