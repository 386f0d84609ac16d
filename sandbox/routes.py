"""One line per endpoint: which function answers it and which parameters it takes.

A parameter that is not named here is refused as Stripe refuses it, so nothing is ignored in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sandbox.params import Params
from sandbox.store import Obj, Page
from sandbox.world import World

Handler = Callable[..., Obj | Page]
PAGING = "limit starting_after ending_before created"


class Route:
    """`accepts` are the names of the top-level parameters, separated by spaces; `expand` is always accepted."""

    def __init__(self, method: str, path: str, handler: Handler, accepts: str = "") -> None:
        self.method = method
        self.path = path
        self.handler = handler
        self.accepts = frozenset(f"{accepts} expand".split())


def retrieving(kind: str) -> Handler:
    """The handler that answers one object of a kind by its id."""

    def retrieve(world: World, _: Params, id: str) -> Obj:
        return world.store.get(kind, id)

    return retrieve


@dataclass(frozen=True, slots=True)
class Match:
    route: Route
    ids: tuple[str, ...]

    def call(self, world: World, params: Params) -> Obj | Page:
        return self.route.handler(world, params, *self.ids)


class Table:
    """Routes by method and shape of the path, `{}` standing for an id."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._tree: dict[tuple[str, int], list[tuple[list[str], Route]]] = {}
        for route in routes:
            parts = route.path.split("/")
            self._tree.setdefault((route.method, len(parts)), []).append((parts, route))

    def find(self, method: str, path: str) -> Match | None:
        parts = path.split("/")
        for pattern, route in self._tree.get((method, len(parts)), ()):
            if all(want == "{}" or want == part for want, part in zip(pattern, parts, strict=True)):
                return Match(route, tuple(part for want, part in zip(pattern, parts, strict=True) if want == "{}"))
        return None
