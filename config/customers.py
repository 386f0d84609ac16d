"""What the operator knows of customers and Stripe does not say: a CSV file, read when a report is made.

Columns: `customer` (the Stripe id) and any of `gtm_motion`, `pricing_model`, `country`, `account`; an empty cell says
nothing. What is said here goes before what Stripe's objects tell. A mistake names file, line and column, and nothing
of the file is used.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from billing.report.profile import PRICING, Told

LONGEST = 80


class BadCustomers(ValueError):
    """The file of customers cannot be used; the message names file, line and column."""


def customers(file: Path | None) -> dict[str, Told]:
    """By Stripe customer; nothing without a file. Raises BadCustomers."""
    if file is None:
        return {}
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as wrong:
        raise BadCustomers(f"{file}: {wrong}") from None
    found: dict[str, Told] = {}
    for line, row in _rows(file, text):
        who = row.pop("customer").strip()
        if not who:
            raise BadCustomers(f"{file}, line {line}, column customer: is empty")
        if who in found:
            raise BadCustomers(f"{file}, line {line}, column customer: {who} is in an earlier line too")
        said = {column: _read(file, line, column, cell.strip()) for column, cell in row.items() if cell.strip()}
        found[who] = Told(**said)
    return found


def _rows(file: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        head = [name.strip() for name in next(reader, [])]
        _check(file, head)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(head):
                raise BadCustomers(f"{file}, line {reader.line_num}: {len(cells)} cells, the header has {len(head)}")
            yield reader.line_num, dict(zip(head, cells, strict=True))
    except csv.Error as wrong:
        raise BadCustomers(f"{file}, line {reader.line_num}: {wrong}") from None


def _check(file: Path, head: list[str]) -> None:
    if "customer" not in head:
        raise BadCustomers(f"{file}, line 1: the column customer is missing")
    for column in head:
        if column != "customer" and column not in READ:
            raise BadCustomers(
                f"{file}, line 1, column {column}: no such column; there are customer, {', '.join(READ)}"
            )
        if head.count(column) > 1:
            raise BadCustomers(f"{file}, line 1, column {column}: stands there twice")


def _read(file: Path, line: int, column: str, cell: str) -> str:
    try:
        return READ[column](cell)
    except ValueError as wrong:
        raise BadCustomers(f"{file}, line {line}, column {column}: {wrong}") from None


def _word(cell: str) -> str:
    if not cell.isprintable() or len(cell) > LONGEST:
        raise ValueError(f"is no readable text of at most {LONGEST} characters")
    return cell


def _country(cell: str) -> str:
    if len(cell) != 2 or not (cell.isascii() and cell.isalpha()):
        raise ValueError(f"{cell!r} is no country of two letters, such as DE")
    return cell.upper()


def _pricing(cell: str) -> str:
    if cell not in PRICING:
        raise ValueError(f"{cell!r} is none of {', '.join(PRICING)}")
    return cell


READ: Mapping[str, Callable[[str], str]] = {
    "gtm_motion": _word,
    "pricing_model": _pricing,
    "country": _country,
    "account": _word,
}
