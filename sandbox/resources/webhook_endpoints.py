"""Webhook endpoints: where events are sent, in which version and which of them."""

from __future__ import annotations

from sandbox import errors
from sandbox.params import Params
from sandbox.resources.customers import merged
from sandbox.routes import PAGING, Route, retrieving
from sandbox.store import Obj, Page
from sandbox.world import World

MOST = 16


def new_endpoint(
    world: World, url: str, events: list[str], version: str | None, secret: str | None = None, thin: bool = False
) -> Obj:
    """`thin` sends thin events; `version` None renders in the account's default."""
    endpoint: Obj = {
        "id": world.store.new_id("we"),
        "object": "webhook_endpoint",
        "api_version": version,
        "application": None,
        "created": world.clock.stamp(),
        "description": None,
        "enabled_events": events,
        "livemode": world.settings.livemode,
        "metadata": {},
        "status": "enabled",
        "url": url,
        "_secret": secret or "whsec_" + world.store.new_id("x", 32)[2:],
        "_thin": thin,
        "_connect": False,
    }
    return world.store.add(endpoint)


def create(world: World, params: Params) -> Obj:
    url, events = params.need("url"), params.words("enabled_events")
    if not events:
        raise errors.missing("enabled_events")
    if sum(1 for _ in world.store.all("webhook_endpoint")) >= MOST:
        raise errors.refused(f"You have reached the maximum of {MOST} webhook endpoints.")
    endpoint = new_endpoint(world, url, events, params.text("api_version"))
    endpoint["_connect"] = params.flag("connect")
    endpoint["description"] = params.text("description")
    endpoint["metadata"] = params.texts("metadata")
    return endpoint | {"secret": endpoint["_secret"]}


def update(world: World, params: Params, id: str) -> Obj:
    endpoint = world.store.get("webhook_endpoint", id)
    if params.has("url"):
        endpoint["url"] = params.need("url")
    if params.has("enabled_events"):
        endpoint["enabled_events"] = params.words("enabled_events")
    if params.has("disabled"):
        endpoint["status"] = "disabled" if params.flag("disabled") else "enabled"
    if params.has("description"):
        endpoint["description"] = params.text("description")
    endpoint["metadata"] = merged(endpoint["metadata"], params)
    return endpoint


def delete(world: World, _: Params, id: str) -> Obj:
    world.store.remove(world.store.get("webhook_endpoint", id))
    return {"id": id, "object": "webhook_endpoint", "deleted": True}


def listing(world: World, params: Params) -> Page:
    return world.store.page("webhook_endpoint", params, "/v1/webhook_endpoints")


ROUTES = [
    Route("POST", "/v1/webhook_endpoints", create, "url enabled_events api_version description metadata connect"),
    Route("GET", "/v1/webhook_endpoints", listing, PAGING),
    Route("GET", "/v1/webhook_endpoints/{}", retrieving("webhook_endpoint")),
    Route("POST", "/v1/webhook_endpoints/{}", update, "url enabled_events disabled description metadata"),
    Route("DELETE", "/v1/webhook_endpoints/{}", delete),
]
