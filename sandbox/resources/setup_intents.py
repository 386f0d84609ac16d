"""Setup intents: a payment method kept for later without a charge."""

from __future__ import annotations

from sandbox import errors
from sandbox.params import Params
from sandbox.resources.customers import live
from sandbox.resources.payment_methods import attach, card_error, materialize
from sandbox.routes import PAGING, Route, retrieving
from sandbox.store import Obj, Page
from sandbox.world import World


def create(world: World, params: Params) -> Obj:
    id = world.store.new_id("seti")
    customer = params.text("customer")
    if customer is not None:
        live(world, customer, "customer")
    intent: Obj = {
        "id": id,
        "object": "setup_intent",
        "application": None,
        "automatic_payment_methods": None,
        "cancellation_reason": None,
        "client_secret": f"{id}_secret_{world.store.new_id('x')[2:]}",
        "created": world.clock.stamp(),
        "customer": customer,
        "customer_account": None,
        "description": params.text("description"),
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "livemode": world.settings.livemode,
        "mandate": None,
        "metadata": params.texts("metadata"),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": params.words("payment_method_types") or ["card"],
        "single_use_mandate": None,
        "status": "requires_payment_method",
        "usage": params.text("usage") or "off_session",
    }
    world.store.add(intent)
    world.events.emit("setup_intent.created", intent)
    if token := params.text("payment_method"):
        intent["payment_method"] = materialize(world, token, "payment_method")["id"]
        intent["status"] = "requires_confirmation"
    if params.flag("confirm"):
        _confirm(world, intent)
    return intent


def _confirm(world: World, intent: Obj) -> None:
    if intent["payment_method"] is None:
        raise errors.refused("The setup intent has no payment method.", "setup_intent_unexpected_state")
    method = world.store.get("payment_method", intent["payment_method"])
    if method["customer"] is None:
        try:
            if intent["customer"] is not None:
                attach(world, method, world.store.get("customer", intent["customer"]))
            elif method["_attach_code"]:
                raise card_error(method["_attach_code"], method)
        except errors.StripeError as declined:
            intent |= {"status": "requires_payment_method", "payment_method": None}
            intent["last_setup_error"] = {k: v for k, v in declined.error.items() if not isinstance(v, dict)}
            world.events.emit("setup_intent.setup_failed", intent)
            declined.error["setup_intent"] = intent
            raise
    intent["status"] = "succeeded"
    world.events.emit("setup_intent.succeeded", intent)


def confirm(world: World, params: Params, id: str) -> Obj:
    intent = world.store.get("setup_intent", id)
    if token := params.text("payment_method"):
        intent["payment_method"] = materialize(world, token, "payment_method")["id"]
    _confirm(world, intent)
    return intent


def cancel(world: World, params: Params, id: str) -> Obj:
    intent = world.store.get("setup_intent", id)
    intent |= {"status": "canceled", "cancellation_reason": params.text("cancellation_reason")}
    world.events.emit("setup_intent.canceled", intent)
    return intent


def listing(world: World, params: Params) -> Page:
    customer = params.text("customer")
    return world.store.page(
        "setup_intent", params, "/v1/setup_intents", lambda obj: customer in (None, obj["customer"])
    )


CREATE = """customer payment_method payment_method_types confirm usage description metadata return_url
    automatic_payment_methods"""
ROUTES = [
    Route("POST", "/v1/setup_intents", create, CREATE),
    Route("GET", "/v1/setup_intents", listing, f"{PAGING} customer"),
    Route("GET", "/v1/setup_intents/{}", retrieving("setup_intent")),
    Route("POST", "/v1/setup_intents/{}/confirm", confirm, "payment_method return_url"),
    Route("POST", "/v1/setup_intents/{}/cancel", cancel, "cancellation_reason"),
]
