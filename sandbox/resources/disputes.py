"""Disputes, as a merchant can read and accept them; `sandbox/disputing.py` opens them."""

from __future__ import annotations

from sandbox.disputing import close_dispute
from sandbox.params import Params
from sandbox.routes import PAGING, Route, retrieving
from sandbox.store import Obj, Page
from sandbox.world import World


def close(world: World, _: Params, id: str) -> Obj:
    """The merchant accepts it."""
    dispute = world.store.get("dispute", id)
    lost = "warning_closed" if dispute["status"].startswith("warning") else "lost"
    return close_dispute(world, dispute, lost)


def listing(world: World, params: Params) -> Page:
    charge, intent = params.text("charge"), params.text("payment_intent")
    return world.store.page(
        "dispute",
        params,
        "/v1/disputes",
        lambda obj: charge in (None, obj["charge"]) and intent in (None, obj["payment_intent"]),
    )


ROUTES = [
    Route("GET", "/v1/disputes", listing, f"{PAGING} charge payment_intent"),
    Route("GET", "/v1/disputes/{}", retrieving("dispute")),
    Route("POST", "/v1/disputes/{}/close", close),
]
