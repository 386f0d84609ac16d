"""Charges; creating one directly is the old way and goes through an intent all the same."""

from __future__ import annotations

from sandbox import errors, payments
from sandbox.params import Params
from sandbox.resources.customers import live
from sandbox.resources.payment_methods import materialize
from sandbox.routes import PAGING, Route, retrieving
from sandbox.store import Obj, Page
from sandbox.world import World


def create(world: World, params: Params) -> Obj:
    amount = params.integer("amount")
    if amount is None:
        raise errors.missing("amount")
    customer = params.text("customer")
    source = params.text("source")
    if source is None and customer is not None:
        source = live(world, customer, "customer")["default_source"]
    if source is None:
        raise errors.missing("source")
    method = materialize(world, source, "source")
    intent = payments.new_intent(world, amount, params.need("currency").lower(), customer)
    intent["description"] = params.text("description")
    outcome = payments.attempt(world, intent, method, on_session=customer is None)
    if outcome in (payments.Outcome.DECLINED, payments.Outcome.ACTION):
        raise payments.failure(world, intent, outcome)
    return world.store.get("charge", intent["latest_charge"])


def listing(world: World, params: Params) -> Page:
    customer, intent = params.text("customer"), params.text("payment_intent")
    return world.store.page(
        "charge",
        params,
        "/v1/charges",
        lambda obj: customer in (None, obj["customer"]) and intent in (None, obj["payment_intent"]),
    )


ROUTES = [
    Route("POST", "/v1/charges", create, "amount currency source customer description metadata capture"),
    Route("GET", "/v1/charges", listing, f"{PAGING} customer payment_intent"),
    Route("GET", "/v1/charges/{}", retrieving("charge")),
]
