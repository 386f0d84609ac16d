"""Refunds: money given back, wholly or in part."""

from __future__ import annotations

from sandbox import charging, errors
from sandbox.params import Params
from sandbox.routes import PAGING, Route, retrieving
from sandbox.store import Obj, Page
from sandbox.world import World


def create(world: World, params: Params) -> Obj:
    id = params.text("charge")
    if id is None:
        intent = world.store.get("payment_intent", params.need("payment_intent"), "payment_intent")
        id = intent["latest_charge"] or ""
    charge = world.store.get("charge", id, "charge")
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = params.integer("amount", left) or 0
    if not charge["paid"] or left == 0:
        raise errors.refused(f"Charge {id} has already been refunded.", "charge_already_refunded")
    if not 0 < amount <= left:
        raise errors.refused(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})")
    refund = world.store.add(
        {
            "id": world.store.new_id("re"),
            "object": "refund",
            "amount": amount,
            "balance_transaction": world.store.new_id("txn"),
            "charge": charge["id"],
            "created": world.clock.stamp(),
            "currency": charge["currency"],
            "customer": charge["customer"],
            "customer_account": None,
            "destination_details": {"card": {"type": "refund"}, "type": "card"},
            "metadata": params.texts("metadata"),
            "payment_intent": charge["payment_intent"],
            "payment_method": charge["payment_method"],
            "reason": params.text("reason"),
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "succeeded",
            "transfer_reversal": None,
        }
    )
    with world.changing(charge, "charge.refunded"):
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    charging.record(world, "refunded", charge | {"amount": amount}, None)
    world.events.emit("refund.created", refund)
    return refund


def listing(world: World, params: Params) -> Page:
    charge, intent = params.text("charge"), params.text("payment_intent")
    return world.store.page(
        "refund",
        params,
        "/v1/refunds",
        lambda obj: charge in (None, obj["charge"]) and intent in (None, obj["payment_intent"]),
    )


ROUTES = [
    Route("POST", "/v1/refunds", create, "charge payment_intent amount reason metadata"),
    Route("GET", "/v1/refunds", listing, f"{PAGING} charge payment_intent"),
    Route("GET", "/v1/refunds/{}", retrieving("refund")),
]
