"""How a value is taken out of JSON that somebody else wrote, in any version, without ever trusting its shape.

A path is written as in `docs.stripe.com`: `parent.subscription_details.subscription`, `lines[].subscription`. The first
path that leads to something that is not null wins; missing, null and an empty string mean the same. A value of the
wrong kind is never guessed at: it raises `Unreadable` with the name of its field, and the event waits in quarantine.
A validation library could replace this file; it would want one model per API version, and there are over thirty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from billing.events.occurrences import Unreadable
from billing.money import Amount

MAX_MINOR = 10**15  # far above any Stripe amount; a thousand of them still add up inside a BIGINT
MAX_COUNT = 2**31 - 1
MAX_ID = 255
LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z, the end of datetime
DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,12})?", re.ASCII)
CURRENCY = re.compile(r"[a-z]{3}", re.ASCII)


@cache
def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.replace("[]", ".[]").split("."))


def _walk(node: Any, steps: tuple[str, ...]) -> Any:
    """What lies at the end of the path or None; `[]` tries the entries of a list in their order."""
    for position, step in enumerate(steps):
        if step == "[]":
            found = (_walk(entry, steps[position + 1 :]) for entry in entries(node))
            return next((value for value in found if value is not None), None)
        if not isinstance(node, dict):
            return None
        node = node.get(step)
    return None if node == "" else node


def entries(node: Any) -> Iterator[Any]:
    """The entries of a bare array or of Stripe's list object (its first page)."""
    rows = node.get("data") if isinstance(node, dict) else node
    yield from rows if isinstance(rows, list) else ()


def clean(value: str) -> str:
    """The text without what a database or a terminal would choke on: NUL, control characters, half surrogates."""
    return value if value.isprintable() else "".join(c for c in value if c.isprintable() or c in "\n\t")


@dataclass(frozen=True, slots=True)
class Reader:
    """One JSON object, read by paths relative to it. Every method raises `Unreadable` on a value of the wrong kind."""

    node: dict[str, Any]

    def get(self, *paths: str) -> Any:
        """The first value that is not null, as it is, or None."""
        for path in paths:
            value = self.node.get(path) if path.isidentifier() else _walk(self.node, _steps(path))
            if value is not None and value != "":
                return value
        return None

    def inside(self, *paths: str) -> Reader:
        """A reader of the first of the paths that is an object; of an empty one when there is none."""
        for path in paths:
            if isinstance(value := self.get(path), dict):
                return Reader(value)
        return NOTHING

    def each(self, path: str) -> tuple[Reader, ...]:
        """Readers of the entries of a list that are objects."""
        return tuple(Reader(entry) for entry in entries(self.get(path)) if isinstance(entry, dict))

    def text(self, *paths: str) -> str | None:
        value = self.get(*paths)
        if value is None or isinstance(value, str):
            return value and clean(value)
        raise Unreadable(f"{paths[0]} is not text")

    def need_text(self, *paths: str) -> str:
        """Text that must be there."""
        found = self.text(*paths)
        if found is None:
            raise Unreadable(f"{paths[0]} is missing")
        return found

    def texts(self, path: str) -> tuple[str, ...]:
        """The texts in a list; what else stands in it is left out."""
        return tuple(clean(entry) for entry in entries(self.get(path)) if isinstance(entry, str))

    def ref(self, *paths: str) -> str | None:
        """An id: a string, or the `id` of the object that stands in its place."""
        value = self.get(*paths)
        if isinstance(value, dict):
            value = value.get("id")
            if value is None:
                raise Unreadable(f"{paths[0]} is an object without an id")
        if value is None:
            return None
        if not isinstance(value, str) or not 0 < len(value) <= MAX_ID or not value.isprintable():
            raise Unreadable(f"{paths[0]} is not an id")
        return value

    def need(self, *paths: str) -> str:
        """An id that must be there."""
        found = self.ref(*paths)
        if found is None:
            raise Unreadable(f"{paths[0]} is missing")
        return found

    def flag(self, *paths: str) -> bool | None:
        value = self.get(*paths)
        if value is None or isinstance(value, bool):
            return value
        raise Unreadable(f"{paths[0]} is not true or false")

    def count(self, *paths: str, least: int = 0, most: int = MAX_COUNT) -> int | None:
        """A whole number within the limits; a divisor asks for `least=1`."""
        value = self.get(*paths)
        if value is None:
            return None
        if type(value) is not int or not least <= value <= most:
            raise Unreadable(f"{paths[0]} is not a whole number from {least} to {most}")
        return value

    def minor(self, *paths: str) -> int | None:
        """Whole minor units, not negative."""
        return self.count(*paths, most=MAX_MINOR)

    def need_minor(self, *paths: str) -> int:
        """Minor units that must be there."""
        found = self.minor(*paths)
        if found is None:
            raise Unreadable(f"{paths[0]} is missing")
        return found

    def decimal(self, *paths: str) -> str | None:
        """Minor units that may have decimals (sub-cent prices), not negative, as plain digits."""
        value = self.get(*paths)
        if value is None:
            return None
        if isinstance(value, Decimal):  # what the SDK makes of *_decimal fields
            value = f"{value:f}"
        elif type(value) is int and 0 <= value <= MAX_MINOR:
            value = str(value)
        if not isinstance(value, str) or not DECIMAL.fullmatch(value):
            raise Unreadable(f"{paths[0]} is not a decimal number")
        return value

    def percent(self, *paths: str) -> str | None:
        """From 0 to 100 as plain digits; the one number that Stripe sends as a float, so its digits are kept."""
        value = self.get(*paths)
        if value is None:
            return None
        if type(value) in (int, float) and 0 <= value <= 100:
            value = f"{Decimal(repr(value)):f}"
        if not isinstance(value, str) or not DECIMAL.fullmatch(value) or Decimal(value) > 100:
            raise Unreadable(f"{paths[0]} is not a percentage")
        return value

    def currency(self, *paths: str) -> str | None:
        """A lower-case ISO code."""
        value = self.text(*paths)
        if value is None or CURRENCY.fullmatch(value := value.lower()):
            return value
        raise Unreadable(f"{paths[0]} is not a currency")

    def amount(self, *paths: str) -> Amount | None:
        """Minor units in the currency of this object, which must name one."""
        minor = self.minor(*paths)
        return None if minor is None else Amount(minor, self.unit())

    def unit(self) -> str:
        """The currency of this object."""
        unit = self.currency("currency")
        if unit is None:
            raise Unreadable("currency is missing")
        return unit

    def time(self, *paths: str) -> datetime | None:
        """Aware UTC from whole seconds since 1970 (snapshots) or an ISO string with its offset (thin events)."""
        value = self.get(*paths)
        if value is None:
            return None
        if type(value) is int and 0 <= value <= LAST_SECOND:
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            try:
                moment = datetime.fromisoformat(value)
                if moment.tzinfo is not None and (moment := moment.astimezone(UTC)).year >= 1970:
                    return moment
            except (ValueError, OverflowError):
                pass
        raise Unreadable(f"{paths[0]} is not a time")


NOTHING = Reader({})
