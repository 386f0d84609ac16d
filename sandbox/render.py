"""Objects as a client sees them: a copy without private keys, in the shape of the wanted API version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.events import Record, iso
from sandbox.store import Obj, Page, snapshot, thaw
from sandbox.versions import STEPS, plan_of

if TYPE_CHECKING:
    from sandbox.store import Store
    from sandbox.world import World

LINES_SHOWN = 10


def render(world: World, obj: Obj, version: str) -> Obj:
    """One object in the shape of `version`, for example '2025-03-31.basil'."""
    if obj["object"] == "event":
        return event(world, world.events.records[obj["id"]], world.settings.version)
    return shaped(world.store, thaw(snapshot(obj)), version)


def shaped(store: Store, copy: Obj, version: str) -> Obj:
    """Bring a private copy of an object, with all its nested objects, into the shape of `version`."""
    kind = copy["object"]
    if kind == "invoice":
        shown = copy["lines"]
        url = f"/v1/invoices/{copy['id']}/lines"
        copy["lines"] = _list(shown[:LINES_SHOWN], url, has_more=len(shown) > LINES_SHOWN)
    elif kind == "subscription":
        copy["items"] = _list(copy["items"], f"/v1/subscription_items?subscription={copy['id']}")
    elif kind == "subscription_item":
        copy["_period_start"], copy["_period_end"] = copy["current_period_start"], copy["current_period_end"]
        copy["plan"] = plan_of(copy["price"])
    for value in list(copy.values()):
        if isinstance(value, dict) and "object" in value:
            for child in value["data"] if value["object"] == "list" else [value]:
                shaped(store, child, version)
    for since, undo in STEPS:
        if version >= since:
            break
        if kind in undo:
            undo[kind](store, copy)
    if kind != "subscription_item":
        _drop_private(copy)
    if kind == "subscription":
        for item in copy["items"]["data"]:
            _drop_private(item)
    return copy


def _drop_private(copy: Obj) -> None:
    for name in [name for name in copy if name.startswith("_")]:
        del copy[name]


def _list(data: list[Obj], url: str, has_more: bool = False) -> Obj:
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def page(world: World, found: Page, version: str) -> Obj:
    return _list([render(world, obj, version) for obj in found.data], found.url, found.has_more)


def error(world: World, fields: dict[str, Any], version: str) -> Obj:
    """An error body; objects inside it take the version's shape, and old versions lack the network's codes."""
    shown: Obj = {}
    for name, value in fields.items():
        if value is None:
            continue
        shown[name] = render(world, value, version) if isinstance(value, dict) and "object" in value else value
    if version < "2024-12-18":
        for name in ("advice_code", "network_advice_code", "network_decline_code"):
            shown.pop(name, None)
    return {"error": shown}


def event(world: World, record: Record, version: str) -> Obj:
    """A snapshot event in the shape of `version`, with what the object was before where something changed."""
    after = shaped(world.store, thaw(record.frozen), version)
    data: Obj = {"object": after}
    if record.before is not None:
        data["previous_attributes"] = _previous(shaped(world.store, thaw(record.before), version), after)
    return {
        "id": record.id,
        "object": "event",
        "api_version": version,
        "created": int(record.at.timestamp()),
        "data": data,
        "livemode": world.settings.livemode,
        "pending_webhooks": len(record.open),
        "request": {"id": record.cause.request, "idempotency_key": record.cause.key},
        "type": record.type,
    }


def thin(world: World, record: Record, fetched: bool = False) -> Obj:
    """A thin event: the notification as it is posted, or with `fetched` the whole event of /v2/core/events."""
    reason = None
    if record.cause.request is not None:
        request = {"id": record.cause.request, "idempotency_key": record.cause.key or ""}
        reason = {"type": "request", "request": request}
    body: Obj = {
        "id": record.thin_id,
        "object": "v2.core.event",
        "type": f"v1.{record.type}",
        "created": iso(record.at),
        "livemode": world.settings.livemode,
        "context": None,
        "reason": reason,
        "related_object": {"id": record.object_id, "type": record.kind, "url": _url(record)},
    }
    if fetched:
        body["snapshot_event"] = None if record.thin_only else record.id
        body["changes"] = None
        if record.before is not None:
            newest = world.settings.version
            after = shaped(world.store, thaw(record.frozen), newest)
            before = _previous(shaped(world.store, thaw(record.before), newest), after)
            body["changes"] = {"before": before, "after": {name: after.get(name) for name in before}}
    return body


def _previous(before: Obj, after: Obj) -> Obj:
    """What differs, with the earlier values; hashes are compared one level down, as Stripe shows them."""
    changed: Obj = {}
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict) and "object" not in old:
            old = {key: old.get(key) for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        changed[name] = old
    return changed


PLURALS = {"dispute": "disputes", "radar.early_fraud_warning": "radar/early_fraud_warnings"}


def _url(record: Record) -> str:
    return f"/v1/{PLURALS.get(record.kind, record.kind + 's')}/{record.object_id}"
