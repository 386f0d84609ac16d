"""Frozen values to JSON and back, without defaults: what a fact is stored as.

A field that a stored value lacks takes its default, a field that the code no longer has is ignored, so that facts
outlive versions of the program. Renaming a field of a stored value needs a migration of the `fact` table.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

Decode = Callable[[Any], Any]  # JSON is untyped until it is decoded
PLAIN = frozenset({str, int, bool, type(None)})


def encode(value: Any) -> Any:
    """JSON for a frozen dataclass, tuple, enum, aware datetime or plain value; defaults are left out."""
    kind = value.__class__
    if kind in PLAIN:
        return value
    if kind is datetime:
        return value.astimezone(UTC).isoformat()
    if kind is tuple:
        return [encode(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    return {name: encode(kept) for name, default in _defaults(kind) if (kept := getattr(value, name)) != default}


def decode(kind: Any, value: Any) -> Any:
    """The value of a frozen dataclass that `encode` wrote; TypeError names a field that is needed and missing."""
    decoder = _decoder(kind)
    return decoder(value) if decoder else value


@lru_cache(maxsize=256)
def _defaults(kind: Any) -> tuple[tuple[str, object], ...]:
    return tuple((field.name, field.default) for field in fields(kind))


@lru_cache(maxsize=256)
def _decoder(hint: Any) -> Decode | None:
    """How to read JSON for a type hint; None when it is the value already."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = _decoder(next(each for each in arguments if each is not type(None)))
        return inner and (lambda value: None if value is None else inner(value))
    if origin is tuple:
        return _tuple_decoder(arguments)
    if hint is datetime:
        return datetime.fromisoformat
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    return _dataclass_decoder(hint) if is_dataclass(hint) else None


def _tuple_decoder(arguments: tuple[Any, ...]) -> Decode:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        each_of = _decoder(arguments[0])
        return tuple if each_of is None else lambda value: tuple([each_of(each) for each in value])
    parts = [_decoder(argument) for argument in arguments]
    if not any(parts):
        return tuple
    return lambda value: tuple([part(each) if part else each for part, each in zip(parts, value, strict=True)])


def _dataclass_decoder(kind: Any) -> Decode:
    hints = get_type_hints(kind)
    known = frozenset(hints)
    readers = {field.name: reader for field in fields(kind) if (reader := _decoder(hints[field.name])) is not None}

    def decode_one(value: dict[str, Any]) -> Any:
        taken = {name: each for name, each in value.items() if name in known}
        for name in taken.keys() & readers.keys():
            taken[name] = readers[name](taken[name])
        return kind(**taken)

    return decode_one
