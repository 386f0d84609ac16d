"""Request parameters: Stripe's bracketed forms read into typed values, with Stripe's own complaints.

`items[0][price]=p&expand[]=customer` becomes nested names. A name that is present and empty unsets a field, which
is why `has` and the readers are separate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from sandbox import errors

Tree = dict[str, Any]
DECIMAL = re.compile(r"-?\d+(\.\d+)?")


class Params:
    """The parameters of one request, or one nested part of them; `prefix` is only for messages."""

    def __init__(self, tree: Tree, prefix: str = "") -> None:
        self.tree = tree
        self.prefix = prefix

    @classmethod
    def parse(cls, *forms: bytes) -> Params:
        tree: Tree = {}
        for form in forms:
            for name, value in parse_qsl(form.decode("utf-8", "replace"), keep_blank_values=True):
                _put(tree, _path(name), value)
        return cls(tree)

    def check(self, accepted: frozenset[str]) -> None:
        for name in self.tree:
            if name not in accepted:
                raise errors.unknown(self._name(name))

    def has(self, name: str) -> bool:
        return name in self.tree

    def text(self, name: str, default: str | None = None) -> str | None:
        """The value, or None when absent or emptied."""
        value = self.tree.get(name)
        if isinstance(value, dict):
            raise errors.invalid(self._name(name), "must be a string")
        return value or (default if value is None else None)

    def need(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise errors.missing(self._name(name))
        return value

    def integer(self, name: str, default: int | None = None) -> int | None:
        value = self.text(name)
        if value is None:
            return default
        try:
            return int(value)
        except ValueError:
            raise errors.invalid(self._name(name), f"invalid integer: {value}") from None

    def decimal(self, name: str) -> str | None:
        """A decimal number as text, which is how Stripe keeps it."""
        value = self.text(name)
        if value is not None and not DECIMAL.fullmatch(value):
            raise errors.invalid(self._name(name), f"invalid decimal: {value}")
        return value

    def moment(self, name: str) -> datetime | None:
        """An ISO 8601 time, as the v2 API takes them."""
        value = self.text(name)
        if value is None:
            return None
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            raise errors.invalid(self._name(name), f"invalid timestamp: {value}") from None

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.text(name)
        if value is None:
            return default
        if value not in ("true", "false"):
            raise errors.invalid(self._name(name), f"invalid boolean: {value}")
        return value == "true"

    def part(self, name: str) -> Params:
        value = self.tree.get(name)
        return Params(value if isinstance(value, dict) else {}, self._name(name))

    def rows(self, name: str) -> list[Params]:
        """A list of hashes: items[0][price]=..."""
        value = self.tree.get(name)
        if not isinstance(value, dict):
            return []
        found = enumerate(value[key] for key in sorted(value, key=_index))
        return [Params(row if isinstance(row, dict) else {}, f"{self._name(name)}[{i}]") for i, row in found]

    def words(self, name: str) -> list[str]:
        """A list of strings: expand[]=... or expand[0]=..."""
        value = self.tree.get(name)
        if isinstance(value, dict):
            return [str(value[key]) for key in sorted(value, key=_index)]
        return [value] if value else []

    def texts(self, name: str) -> dict[str, str]:
        """A flat hash such as metadata."""
        value = self.tree.get(name)
        return {key: str(text) for key, text in value.items()} if isinstance(value, dict) else {}

    def within(self, name: str, stamp: int | None) -> bool:
        """Whether a unix time satisfies a range parameter: created=, created[gte]= ..."""
        if name not in self.tree:
            return True
        bounds = self.part(name)
        if stamp is None:
            return False
        if not bounds.tree:
            return stamp == self.integer(name)
        low, least = bounds.integer("gt"), bounds.integer("gte")
        high, most = bounds.integer("lt"), bounds.integer("lte")
        return (
            (low is None or stamp > low)
            and (least is None or stamp >= least)
            and (high is None or stamp < high)
            and (most is None or stamp <= most)
        )

    def flat(self, *without: str) -> list[tuple[str, str]]:
        """The parameters as form fields again, for the address of a next page."""
        found: list[tuple[str, str]] = []
        for name, value in self.tree.items():
            if isinstance(value, dict):
                found += Params(value, self._name(name)).flat()
            elif name not in without:
                found.append((self._name(name), value))
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.tree)

    def _name(self, name: str) -> str:
        return f"{self.prefix}[{name}]" if self.prefix else name


def _path(name: str) -> list[str]:
    head, *rest = name.split("[")
    return [head, *(part.rstrip("]") for part in rest)]


def _put(tree: Tree, path: list[str], value: str) -> None:
    node = tree
    for depth, part in enumerate(path[:-1]):
        part = _next_index(node, path[depth + 1]) if part == "" else part
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise errors.invalid(path[0], "cannot be both a value and a hash")
        node = child
    last = path[-1]
    node[str(len(node)) if last == "" else last] = value


def _next_index(rows: Tree, field: str) -> str:
    """`items[][price]` repeated: a field seen again starts the next row."""
    last = str(len(rows) - 1)
    return last if rows and isinstance(rows.get(last), dict) and field not in rows[last] else str(len(rows))


def _index(key: str) -> tuple[int, str]:
    return (int(key), "") if key.isdigit() else (10**9, key)
