"""Payment methods: test tokens and test numbers made into cards and bank accounts, attached and detached."""

from __future__ import annotations

import hashlib

from sandbox import errors
from sandbox.cards import BY_TOKEN, TestCard, by_account, by_number
from sandbox.declines import message
from sandbox.issuer import verdict
from sandbox.params import Params
from sandbox.routes import PAGING, Route, retrieving
from sandbox.store import Obj, Page
from sandbox.world import World

ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")


def new_method(
    world: World, card: TestCard, exp_month: int = 12, exp_year: int | None = None, typed: bool = False
) -> Obj:
    """A payment method that behaves like the given test card.

    The test numbers are few and the people many: each gets a card of his own, by its fingerprint, unless the number
    was `typed` in, which makes the same card again as on Stripe.
    """
    id = world.store.new_id("pm")
    print_ = hashlib.blake2b((card.number if typed else id).encode(), digest_size=8).hexdigest()
    method: Obj = {
        "id": id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": dict.fromkeys(ADDRESS),
            "email": None,
            "name": None,
            "phone": None,
            "tax_id": None,
        },
        "created": world.clock.stamp(),
        "customer": None,
        "customer_account": None,
        "livemode": world.settings.livemode,
        "metadata": {},
        "type": card.kind,
        "_attach_code": card.attach_code,
        "_dispute": card.dispute,
        "_dispute_status": card.dispute_status,
    }
    if card.kind == "card":
        method["card"] = {
            "brand": card.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": card.country,
            "display_brand": card.brand,
            "exp_month": exp_month,
            "exp_year": exp_year or world.clock().year + 3,
            "fingerprint": print_,
            "funding": card.funding,
            "generated_from": None,
            "last4": card.number[-4:],
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        }
    else:
        method[card.kind] = {"fingerprint": print_, "last4": card.number[-4:], "country": card.country}
    world.issuer.set(id, card.behaviour)
    return world.store.add(method)


def materialize(world: World, token: str, param: str) -> Obj:
    """The payment method behind an id; a test token becomes a new one, as on Stripe."""
    found = world.store.find(token)
    if found is not None and found["object"] == "payment_method":
        return found
    if token not in BY_TOKEN:
        raise errors.no_such("PaymentMethod", token, param)
    method = new_method(world, BY_TOKEN[token])
    method["_token"] = token
    return method


def create(world: World, params: Params) -> Obj:
    kind = params.need("type")
    fields = params.part(kind)
    if token := fields.text("token"):
        method = materialize(world, token, "card[token]")
    else:
        method = new_method(
            world,
            _given(kind, fields),
            fields.integer("exp_month", 12) or 12,
            fields.integer("exp_year"),
            typed=True,
        )
    _describe(method, params)
    return method


def _given(kind: str, fields: Params) -> TestCard:
    if kind == "sepa_debit":
        return by_account(kind, fields.need("iban"))
    if kind == "us_bank_account":
        return by_account(kind, fields.need("account_number"))
    if kind != "card":
        raise errors.invalid("type", f"{kind} is not supported here")
    card = by_number(fields.need("number"))
    if card is None:
        raise card_error("incorrect_number", None)
    return card


def _describe(method: Obj, params: Params) -> None:
    details = params.part("billing_details")
    for name in ("email", "name", "phone"):
        if details.has(name):
            method["billing_details"][name] = details.text(name)
    method["billing_details"]["address"] |= details.texts("address")
    if params.has("metadata"):
        method["metadata"] |= params.texts("metadata")


def update(world: World, params: Params, id: str) -> Obj:
    method = world.store.get("payment_method", id)
    with world.changing(method, "payment_method.updated"):
        _describe(method, params)
        for name in ("exp_month", "exp_year"):
            if params.part("card").has(name):
                method["card"][name] = params.part("card").integer(name)
    return method


def attach(world: World, method: Obj, customer: Obj, source: bool = False) -> None:
    if method["customer"] not in (None, customer["id"]):
        raise errors.refused("The payment method is already attached to another customer.")
    if code := method["_attach_code"]:
        raise card_error(code, method)
    method["customer"] = customer["id"]
    world.events.emit("customer.source.created" if source else "payment_method.attached", method)


def card_error(code: str, method: Obj | None) -> errors.StripeError:
    answer = verdict(code, "visa", "test card")
    return errors.StripeError(
        402, "card_error", message(code), code=answer.error_code, decline_code=code, payment_method=method
    )


def attach_to(world: World, params: Params, id: str) -> Obj:
    customer = world.store.get("customer", params.need("customer"), "customer")
    method = materialize(world, id, "id")
    attach(world, method, customer)
    return method


def detach(world: World, _: Params, id: str) -> Obj:
    method = world.store.get("payment_method", id)
    if method["customer"] is None:
        raise errors.refused("The payment method is not attached to a customer, so it cannot be detached.")
    customer = world.store.get("customer", method["customer"])
    with world.changing(method, "payment_method.detached"):
        method["customer"] = None
    if customer["invoice_settings"]["default_payment_method"] == id:
        with world.changing(customer, "customer.updated"):
            customer["invoice_settings"]["default_payment_method"] = None
    return method


def replace_card(world: World, method: Obj, card: TestCard, exp_year: int) -> None:
    """The card updater: the network tells Stripe the new number and expiry of a card on file."""
    with world.changing(method, "payment_method.automatically_updated"):
        fresh = new_method(world, card, exp_year=exp_year)
        method["card"] = fresh["card"]
        world.store.remove(fresh)
    world.issuer.set(method["id"], card.behaviour)


def listing(world: World, params: Params) -> Page:
    customer, kind = params.text("customer"), params.text("type")
    return world.store.page(
        "payment_method",
        params,
        "/v1/payment_methods",
        lambda obj: customer == obj["customer"] and kind in (None, obj["type"]),
    )


ROUTES = [
    Route(
        "POST", "/v1/payment_methods", create, "type card sepa_debit us_bank_account billing_details metadata customer"
    ),
    Route("GET", "/v1/payment_methods", listing, f"{PAGING} customer type"),
    Route("GET", "/v1/payment_methods/{}", retrieving("payment_method")),
    Route("POST", "/v1/payment_methods/{}", update, "billing_details metadata card"),
    Route("POST", "/v1/payment_methods/{}/attach", attach_to, "customer"),
    Route("POST", "/v1/payment_methods/{}/detach", detach),
]
