"""Payment intents outside invoices, and the confirming of any."""

from __future__ import annotations

from sandbox import errors, payments
from sandbox.params import Params
from sandbox.resources.customers import live, merged
from sandbox.resources.payment_methods import materialize
from sandbox.routes import PAGING, Route, retrieving
from sandbox.store import Obj, Page
from sandbox.world import World


def create(world: World, params: Params) -> Obj:
    amount = params.integer("amount")
    if amount is None:
        raise errors.missing("amount")
    customer = params.text("customer")
    if customer is not None:
        live(world, customer, "customer")
    intent = payments.new_intent(world, amount, params.need("currency").lower(), customer)
    intent["description"] = params.text("description")
    intent["metadata"] = params.texts("metadata")
    intent["payment_method_types"] = params.words("payment_method_types") or ["card"]
    if token := params.text("payment_method"):
        intent["payment_method"] = materialize(world, token, "payment_method")["id"]
        intent["status"] = "requires_confirmation"
    if params.flag("confirm"):
        _confirm(world, intent, params)
    return intent


def _confirm(world: World, intent: Obj, params: Params) -> None:
    if intent["status"] in ("succeeded", "canceled", "processing"):
        message = f"This PaymentIntent's status is {intent['status']}, so it cannot be confirmed."
        raise errors.refused(message, "payment_intent_unexpected_state", payment_intent=intent)
    if token := params.text("payment_method"):
        intent["payment_method"] = materialize(world, token, "payment_method")["id"]
    if intent["payment_method"] is None:
        message = "You cannot confirm this PaymentIntent because it's missing a payment method."
        raise errors.refused(message, "payment_intent_unexpected_state", payment_intent=intent)
    method = world.store.get("payment_method", intent["payment_method"])
    off_session = params.flag("off_session")
    outcome = payments.attempt(world, intent, method, on_session=not off_session)
    if outcome is payments.Outcome.DECLINED or (outcome is payments.Outcome.ACTION and off_session):
        raise payments.failure(world, intent, outcome)


def confirm(world: World, params: Params, id: str) -> Obj:
    intent = world.store.get("payment_intent", id)
    _confirm(world, intent, params)
    return intent


def cancel(world: World, params: Params, id: str) -> Obj:
    intent = world.store.get("payment_intent", id)
    if intent["status"] in ("succeeded", "canceled", "processing") or intent["_invoice"]:
        message = "You cannot cancel this PaymentIntent in its present state."
        raise errors.refused(message, "payment_intent_unexpected_state", payment_intent=intent)
    payments.cancel(world, intent, params.text("cancellation_reason"))
    return intent


def update(world: World, params: Params, id: str) -> Obj:
    intent = world.store.get("payment_intent", id)
    intent["metadata"] = merged(intent["metadata"], params)
    if params.has("description"):
        intent["description"] = params.text("description")
    if token := params.text("payment_method"):
        intent["payment_method"] = materialize(world, token, "payment_method")["id"]
    return intent


def listing(world: World, params: Params) -> Page:
    customer = params.text("customer")
    return world.store.page(
        "payment_intent", params, "/v1/payment_intents", lambda obj: customer in (None, obj["customer"])
    )


CREATE = """amount currency customer payment_method payment_method_types confirm off_session description metadata
    setup_future_usage automatic_payment_methods return_url capture_method confirmation_method receipt_email
    shipping mandate_data"""
ROUTES = [
    Route("POST", "/v1/payment_intents", create, CREATE),
    Route("GET", "/v1/payment_intents", listing, f"{PAGING} customer"),
    Route("GET", "/v1/payment_intents/{}", retrieving("payment_intent"), "client_secret"),
    Route("POST", "/v1/payment_intents/{}", update, "metadata description payment_method"),
    Route("POST", "/v1/payment_intents/{}/confirm", confirm, "payment_method off_session return_url"),
    Route("POST", "/v1/payment_intents/{}/cancel", cancel, "cancellation_reason"),
]
