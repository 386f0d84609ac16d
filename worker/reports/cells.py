"""One cell in words, the same in every format: decimals with a point, ISO dates, ratios with six places.

Formats differ in how they lay cells out, never in what a cell says; a new kind of cell is added here once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime
from fractions import Fraction

from billing.ledger.mrr import half_up
from billing.ledger.sources import RecoveredBy
from billing.money import Amount
from billing.report.benchmark import NAMES
from billing.report.bridge import percent
from billing.report.segments import NOT_KNOWN, WHOLE
from billing.report.table import Cell, Kind, Table

RATIO_PLACES = 6
UNKNOWN = ""
WORDS: Mapping[str, str] = {
    **NAMES,
    RecoveredBy.OUR_RETRY: "our retry",
    RecoveredBy.OUTSIDE_STRIPE: "paid outside Stripe",
    RecoveredBy.STAFF: "the company's staff",
    RecoveredBy.CARD_UPDATER: "the network's card updater",
    RecoveredBy.STRIPE_RETRY: "Stripe's own retry",
    RecoveredBy.OUR_MESSAGE: "the customer, after our message",
    RecoveredBy.CUSTOMER: "the customer, unasked",
}
INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp"})  # escape sequences, direction marks and line breaks: never to a screen


def decimal(amount: Amount) -> str:
    """`-1234.50`: the amount without its unit."""
    return str(amount).partition(" ")[0]


def unit(amount: Amount) -> str:
    """`USD a month` or `USD`."""
    return amount.currency.upper() + (" a month" if amount.unit != amount.currency else "")


def ratio(value: Fraction) -> str:
    """`1.043200`: a share of one, half up."""
    scaled = half_up(abs(value) * 10**RATIO_PLACES)
    digits = str(scaled).rjust(RATIO_PLACES + 1, "0")
    sign = "-" if value < 0 and scaled else ""
    return f"{sign}{digits[:-RATIO_PLACES]}.{digits[-RATIO_PLACES:]}"


def in_percent(value: Fraction) -> str:
    """`104.32`, also below zero."""
    shown = percent(abs(value)) or ""
    return f"-{shown}" if value < 0 and shown.strip("0.") else shown


def instant(value: datetime) -> str:
    """`2026-03-01T00:00:00Z`"""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def exact(cell: Cell) -> str:
    """What a program reads in a text format."""
    match cell:
        case None:
            return UNKNOWN
        case bool():
            return "true" if cell else "false"
        case Amount():
            return decimal(cell)
        case Fraction():
            return ratio(cell)
        case datetime():
            return instant(cell)
        case date():
            return cell.isoformat()
        case _:
            return str(cell)


def shown(cell: Cell, kind: Kind) -> str:
    """What a person reads on a screen or in a picture: thousands apart, ratios in percent or points, words for codes,
    nothing invisible."""
    match cell:
        case None:
            return "-"
        case bool():
            return "yes" if cell else "no"
        case Amount():
            whole, point, places = decimal(cell).partition(".")
            return f"{int(whole):,}{point}{places}" if whole != "-0" else f"-0{point}{places}"
        case Fraction():
            return f"{in_percent(cell)} {'points' if kind is Kind.POINTS else '%'}"
        case datetime():
            return f"{cell.astimezone(UTC):%Y-%m-%d %H:%M}"
        case date():
            return cell.isoformat()
        case int():
            return f"{cell:,}" if kind is Kind.COUNT else str(cell)
        case _:
            return visible(in_words(cell, kind))


def in_words(text: str, kind: Kind) -> str:
    """A code as people read it; any other text as it is."""
    match kind:
        case Kind.CODE:
            return WORDS.get(text, text)
        case Kind.CURRENCY if text not in (WHOLE, NOT_KNOWN):
            return text.upper()
        case _:
            return text


def visible(text: str) -> str:
    """Text from outside, as it may be shown: what could move a cursor or hide is replaced."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in INVISIBLE else c for c in text)


def label(value: str) -> str:
    """What a person reads of a label: an instant to the second, in UTC, as programs read it to the microsecond."""
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        return visible(value)
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if when.tzinfo else visible(value)


def units(table: Table) -> tuple[str, ...]:
    """Every unit the table has amounts in, in order of first appearance."""
    return tuple(dict.fromkeys(cell.unit for row in table.rows for cell in row if isinstance(cell, Amount)))


def headings(table: Table) -> list[str]:
    """The columns' titles; behind each of money its currency, unless it has several."""
    all_of_it = {unit.partition("/")[0] for unit in units(table)}
    found = []
    for at, column in enumerate(table.columns):
        code = ""
        if column.kind is Kind.MONEY:
            codes = {cell.currency for row in table.rows if isinstance(cell := row[at], Amount)} or all_of_it
            code = f" ({codes.pop().upper()})" if len(codes) == 1 else ""
        found.append(visible(column.title) + code)
    return found
