"""Coupons and the discounts they become."""

from __future__ import annotations

from sandbox import errors
from sandbox.params import Params
from sandbox.routes import PAGING, Route, retrieving
from sandbox.store import Obj, Page
from sandbox.world import World


def create(world: World, params: Params) -> Obj:
    percent, off = params.decimal("percent_off"), params.integer("amount_off")
    if percent is None and off is None:
        raise errors.missing("percent_off")
    coupon: Obj = {
        "id": params.text("id") or world.store.new_id("x", 8)[2:],
        "object": "coupon",
        "amount_off": off,
        "created": world.clock.stamp(),
        "currency": params.need("currency") if off is not None else None,
        "duration": params.text("duration") or "once",
        "duration_in_months": params.integer("duration_in_months"),
        "livemode": world.settings.livemode,
        "max_redemptions": params.integer("max_redemptions"),
        "metadata": params.texts("metadata"),
        "name": params.text("name"),
        "percent_off": float(percent) if percent else None,
        "redeem_by": None,
        "times_redeemed": 0,
        "valid": True,
    }
    if coupon["duration"] == "repeating" and coupon["duration_in_months"] is None:
        raise errors.missing("duration_in_months")
    world.store.add(coupon)
    world.events.emit("coupon.created", coupon)
    return coupon


def delete(world: World, _: Params, id: str) -> Obj:
    coupon = world.store.get("coupon", id)
    world.events.emit("coupon.deleted", coupon)
    world.store.remove(coupon)
    return {"id": id, "object": "coupon", "deleted": True}


def listing(world: World, params: Params) -> Page:
    return world.store.page("coupon", params, "/v1/coupons")


ACCEPTS = "id percent_off amount_off currency duration duration_in_months max_redemptions name metadata"
ROUTES = [
    Route("POST", "/v1/coupons", create, ACCEPTS),
    Route("GET", "/v1/coupons", listing, PAGING),
    Route("GET", "/v1/coupons/{}", retrieving("coupon")),
    Route("DELETE", "/v1/coupons/{}", delete),
]
