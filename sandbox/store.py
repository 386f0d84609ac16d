"""Every Stripe object of the sandbox, in memory, by id.

Objects are plain dicts in the newest API shape; keys that begin with an underscore are the sandbox's own knowledge
(which invoice an intent pays) and are never shown. `render.py` makes older shapes of them.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from sandbox import errors
from sandbox.params import Params

Obj = dict[str, Any]

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def snapshot(obj: Obj) -> bytes:
    """The object as it is now, safe from later changes."""
    return orjson.dumps(obj)


def thaw(frozen: bytes) -> Obj:
    return cast(Obj, orjson.loads(frozen))


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first, as the list endpoints answer it."""

    data: list[Obj]
    has_more: bool
    url: str


@dataclass(slots=True)
class Table:
    """Objects in the order of creation. A list that goes on from a cursor begins at its place, not at the newest."""

    objects: list[Obj | None] = field(default_factory=list)  # None: removed
    places: dict[str, int] = field(default_factory=dict)

    def add(self, obj: Obj) -> None:
        self.places[obj["id"]] = len(self.objects)
        self.objects.append(obj)

    def remove(self, id: str) -> None:
        self.objects[self.places.pop(id)] = None

    def find(self, id: str) -> Obj | None:
        place = self.places.get(id)
        return None if place is None else self.objects[place]

    def older(self, than: str | None = None) -> Iterator[Obj]:
        """Newest first: all, or those that were made before the named one."""
        end = len(self.objects) if than is None else self.places[than]
        return (obj for place in range(end - 1, -1, -1) if (obj := self.objects[place]) is not None)


class Store:
    """Tables by object type; ids are made from the seed, so a run repeats itself."""

    def __init__(self, seed: int) -> None:
        self._seed = str(seed).encode()
        self._serial = 0
        self._by_id: dict[str, Obj] = {}
        self.wishes: dict[str, str] = {}  # by prefix: the id that the next new object gets
        self._tables: defaultdict[str, Table] = defaultdict(Table)

    def new_id(self, prefix: str, length: int = 24) -> str:
        self._serial += 1
        digest = hashlib.blake2b(b"%s:%d" % (self._seed, self._serial), digest_size=32).digest()
        return self.wishes.pop(prefix, "") or f"{prefix}_" + "".join(ALPHABET[byte % 62] for byte in digest[:length])

    def add(self, obj: Obj) -> Obj:
        self._by_id[obj["id"]] = obj
        self._tables[obj["object"]].add(obj)
        return obj

    def remove(self, obj: Obj) -> None:
        del self._by_id[obj["id"]]
        self._tables[obj["object"]].remove(obj["id"])

    def find(self, id: str) -> Obj | None:
        return self._by_id.get(id)

    def get(self, kind: str, id: str, param: str = "id") -> Obj:
        obj = self._tables[kind].find(id)
        if obj is None:
            raise errors.no_such(kind, id, param)
        return obj

    def all(self, kind: str) -> Iterator[Obj]:
        """In the order of creation."""
        return iter([obj for obj in self._tables[kind].objects if obj is not None])

    def newest(self, kind: str) -> Iterator[Obj]:
        return self._tables[kind].older()

    def page(self, kind: str, params: Params, url: str, keep: Callable[[Obj], bool] | None = None) -> Page:
        """A list answer: `limit`, `starting_after`, `ending_before`, `created` and whatever `keep` asks."""
        limit = page_limit(params)
        for name in ("starting_after", "ending_before"):
            if cursor := params.text(name):
                self.get(kind, cursor, name)
        found = (
            obj
            for obj in self._tables[kind].older(None if params.text("ending_before") else params.text("starting_after"))
            if params.within("created", obj.get("created")) and (keep is None or keep(obj))
        )
        return cut(found, params, limit, url)


def page_limit(params: Params) -> int:
    limit = params.integer("limit", 10) or 0
    if not 1 <= limit <= 100:
        raise errors.invalid("limit", "must be between 1 and 100")
    return limit


def cut(found: Iterator[Obj], params: Params, limit: int, url: str) -> Page:
    """Stripe's paging over objects that come newest first, those after a cursor only."""
    if before := params.text("ending_before"):
        newer: list[Obj] = []
        for obj in found:
            if obj["id"] == before:
                break
            newer.append(obj)
        return Page(newer[-limit:], len(newer) > limit, url)
    data: list[Obj] = []
    for obj in found:
        if len(data) == limit:
            return Page(data, True, url)
        data.append(obj)
    return Page(data, False, url)
