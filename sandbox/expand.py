"""`expand[]`: ids in an answer replaced by the objects, up to four levels deep."""

from __future__ import annotations

from typing import Any

from sandbox import errors
from sandbox.render import render
from sandbox.store import Obj
from sandbox.world import World

DEPTH = 4


def expand(world: World, shown: Obj, paths: list[str], version: str) -> None:
    """Expand each dotted path of a rendered object in place; lists are named by `data`."""
    for path in paths:
        parts = path.split(".")
        if len(parts) > DEPTH:
            raise errors.refused(f"You cannot expand more than {DEPTH} levels of a property ({path}).")
        _walk(world, shown, parts, path, version)


def _walk(world: World, node: Any, parts: list[str], path: str, version: str) -> None:
    if isinstance(node, list):
        for child in node:
            _walk(world, child, parts, path, version)
        return
    if not parts or not isinstance(node, dict):
        return
    name, rest = parts[0], parts[1:]
    if name not in node:
        added = _includable(world, node, name, version)
        if added is None:
            if "object" not in node or node.get("deleted"):
                return
            raise errors.refused(f"This property cannot be expanded ({path}).", param="expand[0]")
        node[name] = added
    node[name] = _opened(world, node[name], version)
    _walk(world, node[name], rest, path, version)


def _opened(world: World, value: Any, version: str) -> Any:
    """An id as its object, a list of ids as objects; anything else as it is."""
    if isinstance(value, list):
        return [_opened(world, item, version) for item in value]
    if isinstance(value, str) and (found := world.store.find(value)) is not None:
        return render(world, found, version)
    return value


def _includable(world: World, node: Obj, name: str, version: str) -> Any:
    """Properties that Stripe leaves out unless they are asked for."""
    kind = node.get("object")
    found: list[Obj] | None = None
    url = ""
    if (kind, name) == ("invoice", "payments") and version >= "2025-03-31":
        url = f"/v1/invoice_payments?invoice={node['id']}"
        invoice = world.store.get("invoice", node["id"])
        found = [world.store.get("invoice_payment", id) for id in invoice["_payments"]]
    elif (kind, name) == ("customer", "subscriptions"):
        url = f"/v1/customers/{node['id']}/subscriptions"
        found = [sub for sub in world.store.newest("subscription") if sub["customer"] == node["id"]]
    elif (kind, name) == ("charge", "refunds"):
        url = f"/v1/charges/{node['id']}/refunds"
        found = [refund for refund in world.store.newest("refund") if refund["charge"] == node["id"]]
    elif (kind, name) == ("price", "tiers"):
        return world.store.get("price", node["id"])["_tiers"] or []
    elif (kind, name) == ("invoice", "confirmation_secret"):
        intent = world.store.find(world.store.get("invoice", node["id"])["_payment_intent"] or "")
        return {"client_secret": intent["client_secret"], "type": "payment_intent"} if intent else {}
    if found is None:
        return None
    data = [render(world, obj, version) for obj in found]
    return {"object": "list", "data": data, "has_more": False, "url": url}
