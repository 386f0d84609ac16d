"""Hand-made tables and a small book for the renderers' tests."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction

from billing.ledger.movement import Book, Line, Movement, Standing, Step
from billing.ledger.vocabulary import Confidence
from billing.money import Amount
from billing.report.scope import Scope
from billing.report.table import Cell, Column, Kind, Table

NOON = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\n=x", '=cmd|" /C calc"!A0', "＝1", 'ordinary, "quoted"', ""]
COLUMNS = (
    Column("name", "Name", Kind.TEXT),
    Column("mrr", "MRR", Kind.MONEY),
    Column("nrr", "NRR", Kind.RATIO),
    Column("customers", "Customers", Kind.COUNT),
    Column("month", "Month", Kind.DATE),
    Column("seen", "Seen", Kind.INSTANT),
    Column("in_base", "In base", Kind.FLAG),
)
ROW: tuple[Cell, ...] = ("Ann", Amount(-123_450, "usd/mo"), Fraction(31, 30), 1200, date(2026, 3, 1), NOON, True)
NOTHING: tuple[Cell, ...] = (None, None, None, None, None, None, None)


def table(*rows: tuple[Cell, ...], name: str = "sample") -> Table:
    return Table(name, "A sample", COLUMNS, rows or (ROW, NOTHING), (("policy", "default"),), ("One note.",))


def texts(*values: str) -> Table:
    return Table("texts", "Texts", (Column("text", "Text", Kind.TEXT),), tuple((value,) for value in values))


def _at(month: int, day: int) -> datetime:
    return datetime(2026, month, day, 10, tzinfo=UTC)


def _move(line: Line, at: datetime, customer: str, minor: int, unit: str, pair: str | None = None) -> Movement:
    key = f"{customer}-{line}-{at:%m%d}"
    return Movement(key, line, str(line), at, customer, f"sub_{customer}", Amount(minor, f"{unit}/mo"), pair=pair)


def _customer(customer: str, unit: str, *changes: tuple[Line, int, int, int]) -> tuple[list[Movement], list[Step]]:
    """(line, month, day, minor) of each change, and the levels that follow."""
    movements, steps, level = [], [], 0
    for line, month, day, minor in changes:
        level += minor
        movements.append(_move(line, _at(month, day), customer, minor, unit))
        steps.append(Step(_at(month, day), customer, f"sub_{customer}", unit, level, (("pro", level),)))
    return movements, steps


def book() -> Book:
    """Ann grows, Bob shrinks, Cat leaves, Dan fails and pays, Eve is new, Fay pays in euro."""
    parts = {
        "ann": _customer("ann", "usd", (Line.NEW, 1, 5, 10_000), (Line.EXPANSION, 2, 10, 2_500)),
        "bob": _customer("bob", "usd", (Line.NEW, 1, 6, 30_000), (Line.DOWNGRADE, 2, 11, -4_999)),
        "cat": _customer("cat", "usd", (Line.NEW, 1, 7, 7_777), (Line.VOLUNTARY, 2, 12, -7_777)),
        "dan": _customer("dan", "usd", (Line.NEW, 1, 8, 5_000)),
        "eve": _customer("eve", "usd", (Line.NEW, 2, 20, 1_900)),
        "fay": _customer("fay", "eur", (Line.NEW, 1, 9, 8_000)),
    }
    pair = [
        _move(line, _at(2, 14), "dan", sign * 5_000, "usd", pair="pair_1")
        for line, sign in ((Line.INVOLUNTARY, -1), (Line.RECOVERED, 1))
    ]
    movements = [each for moved, _ in parts.values() for each in moved] + pair
    movements.sort(key=lambda each: (each.customer, each.effective_at))
    standings = [Standing(moved[0].effective_at, customer, True) for customer, (moved, _) in parts.items()]
    standings.append(Standing(_at(2, 12), "cat", False, Line.VOLUNTARY))
    assert all(each.confidence is Confidence.CERTAIN for each in movements)
    return Book(
        datetime(2026, 3, 2, tzinfo=UTC),
        movements=tuple(movements),
        steps=tuple(step for _, steps in parts.values() for step in steps),
        standings=tuple(standings),
    )


def scope(code: str = "usd") -> Scope:
    return Scope.of(book(), code)
