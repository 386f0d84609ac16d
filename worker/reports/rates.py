"""Exchange rates from a file: `date,currency,rate`, the rate being what one unit is worth in the report's currency.

    date,currency,rate
    2026-03-01,EUR,1.0834

Nothing of a file with a mistake is used; the message names file, line and column. A central bank's table, or rates of
the accounting system, brought into this form will do.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from datetime import date
from fractions import Fraction
from pathlib import Path

from billing.report.currency import CARRY_DAYS, Rates

COLUMNS = ("date", "currency", "rate")
NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
CODE = re.compile(r"[A-Za-z]{3}")


class BadRates(ValueError):
    """The file of rates cannot be used; the message names file, line and column and what is wrong there."""


def read(file: Path, code: str, carry_days: int = CARRY_DAYS) -> Rates:
    """The rates of a file into a currency (lower-case ISO); a day takes the rate of so many days before it at most.

    Raises BadRates.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadRates(f"{file} cannot be read: {(error.strerror or 'unknown reason').lower()}") from None
    except UnicodeDecodeError:
        raise BadRates(f"{file} is not a text file in UTF-8: save it as CSV in that encoding") from None
    seen: dict[tuple[date, str], Fraction] = {}
    for line, (day, currency, rate) in _rows(file, text):
        if seen.setdefault((day, currency), rate) != rate:
            raise BadRates(f"{file}, line {line}, column rate: {currency.upper()} has another rate for {day} above")
        if currency == code and rate != 1:
            raise BadRates(
                f"{file}, line {line}, column rate: the report is in {code.upper()}, which is worth 1 of itself"
            )
    return Rates.of(code, [(day, currency, rate) for (day, currency), rate in seen.items()], carry_days, str(file))


def _rows(file: Path, text: str) -> Iterator[tuple[int, tuple[date, str, Fraction]]]:
    """(line, values) of every row that is not empty."""
    lines = csv.DictReader(text.splitlines(), restkey="", strict=True)
    try:
        missing = [name for name in COLUMNS if name not in (lines.fieldnames or ())]
        if missing:
            raise BadRates(f"{file}, line 1: no column {missing[0]}; the columns are {', '.join(COLUMNS)}")
        for row in lines:
            if "" in row:
                raise BadRates(f"{file}, line {lines.line_num}: more cells than columns")
            yield lines.line_num, _row(f"{file}, line {lines.line_num}", row)
    except csv.Error as error:
        raise BadRates(f"{file}, line {lines.reader.line_num}: {error}") from error


def _row(place: str, row: Mapping[str, str | None]) -> tuple[date, str, Fraction]:
    day, currency, rate = ((row[name] or "").strip() for name in COLUMNS)
    try:
        on = date.fromisoformat(day)
    except ValueError:
        raise BadRates(f"{place}, column date: {day!r} is no date; write YYYY-MM-DD") from None
    if not CODE.fullmatch(currency):
        raise BadRates(f"{place}, column currency: {currency!r} is no ISO code of three letters")
    if not NUMBER.fullmatch(rate) or not Fraction(rate):
        raise BadRates(f"{place}, column rate: {rate!r} is no positive number with a decimal point")
    return on, currency.lower(), Fraction(rate)
