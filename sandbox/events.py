"""What happened, kept as Stripe keeps it: each event holds the object as it was, and as it was before.

An event is rendered when somebody looks: at an endpoint in that endpoint's pinned version, in a list in the
account's version. Snapshot and thin are two renderings of one record with two ids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sandbox.store import Obj, snapshot

if TYPE_CHECKING:
    from sandbox.world import Cause, World

RETENTION_DAYS = 30


@dataclass(slots=True)
class Record:
    """One event. `open` holds the ids of endpoints that have not answered 2xx yet."""

    id: str
    thin_id: str
    type: str
    at: datetime
    kind: str
    object_id: str
    frozen: bytes
    before: bytes | None
    cause: Cause
    thin_only: bool = False
    open: set[str] = field(default_factory=set)
    wanted: int = 0


class EventLog:
    """All events in order, and whoever listens (the delivery)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.listeners: list[Callable[[Record], None]] = []
        self.records: dict[str, Record] = {}

    def emit(self, type: str, obj: Obj, before: bytes | None = None, thin_only: bool = False) -> Record:
        """Record one event about `obj` as it is now."""
        world = self._world
        at = world.clock()
        id, thin_id = world.store.new_id("evt"), world.store.new_id("evt_test")
        record = Record(
            id, thin_id, type, at, obj["object"], obj["id"], snapshot(obj), before, world.cause, thin_only=thin_only
        )
        self.records[id] = self.records[thin_id] = record
        if not thin_only:
            world.store.add({"id": id, "object": "event", "created": int(at.timestamp()), "type": type})
        for listener in self.listeners:
            listener(record)
        return record

    def distinct(self) -> list[Record]:
        return [record for id, record in self.records.items() if id == record.id]

    def types(self) -> list[str]:
        """The types so far, in order: what a test usually asks."""
        return [record.type for record in self.distinct() if not record.thin_only]


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
