"""Events as the API lists them: snapshot events of the last 30 days, and the thin ones of v2."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

from sandbox import errors
from sandbox.events import RETENTION_DAYS, Record
from sandbox.params import Params
from sandbox.render import thin
from sandbox.routes import PAGING, Route, retrieving
from sandbox.store import Obj, Page
from sandbox.world import World


def listing(world: World, params: Params) -> Page:
    types = params.words("types")
    if len(types) > 20:
        raise errors.invalid("types", "at most 20 types")
    if kind := params.text("type"):
        types.append(kind)
    delivered = params.flag("delivery_success") if params.has("delivery_success") else None
    oldest = int((world.clock() - timedelta(days=RETENTION_DAYS)).timestamp())

    def keep(obj: Obj) -> bool:
        if obj["created"] < oldest or (types and not any(_matches(obj["type"], want) for want in types)):
            return False
        return delivered is None or delivered == (not world.events.records[obj["id"]].open)

    return world.store.page("event", params, "/v1/events", keep)


def _matches(type: str, wanted: str) -> bool:
    return wanted in ("*", type) or (wanted.endswith(".*") and type.startswith(wanted[:-1]))


def retrieve_v2(world: World, _: Params, id: str) -> Obj:
    record = world.events.records.get(id)
    if record is None:
        raise errors.no_such("event", id)
    return {"object": "raw", "body": thin(world, record, fetched=True)}


def list_v2(world: World, params: Params) -> Obj:
    """Newest first; `page` is the position that the previous answer's next_page_url names."""
    limit = params.integer("limit", 20) or 20
    start = params.integer("page", 0) or 0
    wanted, object_id = params.words("types"), params.text("object_id")
    found = [
        record
        for record in reversed(world.events.distinct())
        if object_id in (None, record.object_id)
        and (not wanted or f"v1.{record.type}" in wanted)
        and _between(params.part("created"), record)
    ]
    data = [thin(world, record, fetched=True) for record in found[start : start + limit]]
    more = None
    if len(found) > start + limit:
        more = "/v2/core/events?" + urlencode([*params.flat("page"), ("page", str(start + limit))])
    return {"object": "raw", "body": {"data": data, "next_page_url": more, "previous_page_url": None}}


def _between(bounds: Params, record: Record) -> bool:
    low, least = bounds.moment("gt"), bounds.moment("gte")
    high, most = bounds.moment("lt"), bounds.moment("lte")
    return (
        (low is None or record.at > low)
        and (least is None or record.at >= least)
        and (high is None or record.at < high)
        and (most is None or record.at <= most)
    )


ROUTES = [
    Route("GET", "/v1/events", listing, f"{PAGING} type types delivery_success"),
    Route("GET", "/v1/events/{}", retrieving("event")),
    Route("GET", "/v2/core/events", list_v2, "limit page types object_id created"),
    Route("GET", "/v2/core/events/{}", retrieve_v2),
]
