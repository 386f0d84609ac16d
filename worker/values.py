"""Frozen values to JSON and back, by pydantic, so that no value needs code of its own to be stored."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, cast, get_args

from pydantic import TypeAdapter

from billing.events.occurrences import Event, What

T = TypeVar("T")
_OCCURRENCES: dict[str, type] = {kind.__name__: kind for kind in get_args(What)}


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, kind))


def to_json(value: Any, without: frozenset[str] = frozenset()) -> Any:
    """A frozen value as JSON-able data; what is at its default is left out."""
    return _adapter(cast(Hashable, type(value))).dump_python(
        value, mode="json", exclude_defaults=True, exclude=set(without)
    )


def from_json(kind: type[T], data: Any) -> T:
    """The value back from `to_json`; raises pydantic.ValidationError when the data are not of this kind."""
    found: T = _adapter(cast(Hashable, kind)).validator.validate_python(data)
    return found


def kind_of(event: Event) -> str:
    """The name of what happened, as stored."""
    return type(event.what).__name__


def event_to_json(event: Event) -> dict[str, Any]:
    envelope: dict[str, Any] = to_json(event, without=frozenset({"what"}))
    return {**envelope, "kind": kind_of(event), "what": to_json(event.what)}


def event_from_json(data: dict[str, Any]) -> Event:
    """The event back from `event_to_json`. The envelope is plain text but for its time, and is not checked again."""
    envelope = {name: value for name, value in data.items() if name != "kind"}
    what: Any = from_json(_OCCURRENCES[data["kind"]], data["what"])
    return Event(**{**envelope, "at": datetime.fromisoformat(data["at"]), "what": what})
