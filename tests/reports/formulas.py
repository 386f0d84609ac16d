"""Recompute a workbook: as much of a spreadsheet's formulas as ours are made of, written without looking at them.

LibreOffice could do it, where it can be had.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from openpyxl import Workbook

TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(\.\d+)?)|"(?P<text>[^"]*)"|(?P<name>SUM|IF|ABS)\(|'(?P<sheet>[^']+)'!"""
    r"""|(?P<cell>[A-Z]+[0-9]+)|(?P<sign>[-+*/=(),:]))"""
)
Value = float | str


@dataclass
class Sheet:
    """Values of one sheet's cells, formulas among them worked out when they are asked for."""

    book: Workbook
    name: str

    def value(self, cell: str) -> Value:
        found = self.book[self.name][cell].value
        if isinstance(found, str) and found.startswith("="):
            return _Reading(self, found[1:]).whole()
        return 0.0 if found is None else found if isinstance(found, str) else float(found)


class _Reading:
    def __init__(self, sheet: Sheet, text: str) -> None:
        self.sheet, self.tokens, self.at = sheet, [], 0
        place = 0
        while place < len(text):
            found = TOKEN.match(text, place)
            assert found, f"cannot read {text[place:]!r}"
            kind = found.lastgroup if found.lastgroup != "2" else "number"
            self.tokens.append((str(kind), found[str(kind)]))
            place = found.end()

    def whole(self) -> Value:
        value = self.sum()
        assert self.at == len(self.tokens), self.tokens[self.at :]
        return value

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> tuple[str, str]:
        self.at += 1
        kind, text = self.tokens[self.at - 1]
        assert not expected or text == expected, f"{expected} wanted, {text} found"
        return kind, text

    def sum(self) -> Value:
        value = self.product()
        while self.peek() in ("+", "-"):
            sign = -1 if self.take()[1] == "-" else 1
            value = number(value) + sign * number(self.product())
        return value

    def product(self) -> Value:
        value = self.one()
        while self.peek() in ("*", "/"):
            times = self.take()[1] == "*"
            other = number(self.one())
            value = number(value) * other if times else number(value) / other
        return value

    def one(self) -> Value:
        kind, text = self.take()
        if kind == "number":
            return float(text)
        if kind == "text":
            return text
        if kind == "cell":
            return self.sheet.value(text)
        if text == "-":
            return -number(self.one())
        if text == "(":
            value = self.sum()
            self.take(")")
            return value
        return self.call(text)

    def call(self, name: str) -> Value:
        if name == "SUM":
            (_, sheet), (_, first) = self.take(), self.take()
            self.take(":")
            last = self.take()[1]
            self.take(")")
            other = Sheet(self.sheet.book, sheet)
            cells = self.sheet.book[sheet][f"{first}:{last}"]
            return sum(number(other.value(cell.coordinate)) for row in cells for cell in row)
        if name == "ABS":
            size = abs(number(self.sum()))
            self.take(")")
            return size
        assert name == "IF", name
        left = self.sum()
        self.take("=")
        equal = left == self.sum()
        self.take(",")
        then, depth = self.sum(), 0
        self.take(",")
        if equal:  # as a spreadsheet does: what is not chosen is not worked out, it may divide by nothing
            while depth or self.peek() != ")":
                depth += {"(": 1, ")": -1}.get(self.peek(), int(self.tokens[self.at][0] == "name"))
                self.take()
            self.take(")")
            return then
        value = self.sum()
        self.take(")")
        return value


def number(value: Value) -> float:
    assert not isinstance(value, str), f"{value!r} is no number"
    return value
