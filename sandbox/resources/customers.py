"""Customers, and the old-style sources attached to them."""

from __future__ import annotations

from sandbox import errors, subscribing
from sandbox.invoicing import new_discount
from sandbox.params import Params
from sandbox.resources.payment_methods import ADDRESS, attach, materialize
from sandbox.routes import PAGING, Route
from sandbox.store import Obj, Page
from sandbox.world import World

FIELDS = "name email description phone"
ACCEPTS = f"""{FIELDS} address shipping metadata preferred_locales invoice_settings payment_method source balance
    tax_exempt invoice_prefix next_invoice_sequence tax coupon validate test_clock"""


def new_customer(world: World, **fields: object) -> Obj:
    id = world.store.new_id("cus", 14)
    customer: Obj = {
        "id": id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": world.clock.stamp(),
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": id[4:12].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": world.settings.livemode,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
        **fields,
    }
    return world.store.add(customer)


def create(world: World, params: Params) -> Obj:
    customer = new_customer(world)
    try:
        _set(world, customer, params)
        if token := params.text("payment_method"):
            _own(world, customer, token)
    except errors.StripeError:
        world.store.remove(customer)
        raise
    world.events.emit("customer.created", customer)
    if source := params.text("source"):
        _add_source(world, customer, source)
    return customer


def update(world: World, params: Params, id: str) -> Obj:
    customer = live(world, id)
    with world.changing(customer, "customer.updated"):
        _set(world, customer, params)
        if source := params.text("source"):
            customer["default_source"] = _add_source(world, customer, source)["id"]
    return customer


def live(world: World, id: str, param: str = "id") -> Obj:
    customer = world.store.get("customer", id, param)
    if customer.get("deleted"):
        raise errors.no_such("customer", id, param)
    return customer


def _set(world: World, customer: Obj, params: Params) -> None:
    for name in FIELDS.split():
        if params.has(name):
            customer[name] = params.text(name)
    if params.has("balance"):
        customer["balance"] = params.integer("balance", 0)
    if params.has("address"):
        blank = dict.fromkeys(ADDRESS)
        customer["address"] = blank | params.texts("address") if params.texts("address") else None
    if params.has("shipping"):
        customer["shipping"] = params.tree["shipping"] or None
    if params.has("preferred_locales"):
        customer["preferred_locales"] = params.words("preferred_locales")
    if params.has("tax_exempt"):
        customer["tax_exempt"] = params.text("tax_exempt") or "none"
    customer["metadata"] = merged(customer["metadata"], params)
    settings = params.part("invoice_settings")
    if settings.has("default_payment_method"):
        token = settings.text("default_payment_method")
        customer["invoice_settings"]["default_payment_method"] = _own(world, customer, token)["id"] if token else None
    if code := params.text("coupon"):
        coupon = world.store.get("coupon", code, "coupon")
        change = "updated" if customer["discount"] else "created"
        customer["discount"] = new_discount(world, coupon, customer["id"])
        world.events.emit(f"customer.discount.{change}", customer["discount"])


def merged(metadata: dict[str, str], params: Params) -> dict[str, str]:
    """Stripe's metadata rule: named keys are set, emptied ones go, the rest stays."""
    if not params.has("metadata"):
        return metadata
    changed = metadata | params.texts("metadata") if params.texts("metadata") else {}
    return {key: value for key, value in changed.items() if value}


def _own(world: World, customer: Obj, token: str) -> Obj:
    """A payment method of this customer; test tokens become one, a token already materialised is reused."""
    for method in world.store.all("payment_method"):
        if method["customer"] == customer["id"] and method.get("_token") == token:
            return method
    method = materialize(world, token, "payment_method")
    if method["customer"] is None:
        attach(world, method, customer)
    if method["customer"] != customer["id"]:
        raise errors.refused(f"The payment method {method['id']} belongs to another customer.", "resource_missing")
    return method


def _add_source(world: World, customer: Obj, token: str) -> Obj:
    """Old-style cards are kept as payment methods here; both kinds of id are accepted by Stripe as well."""
    method = materialize(world, token, "source")
    attach(world, method, customer, source=True)
    customer["default_source"] = customer["default_source"] or method["id"]
    return method


def add_source(world: World, params: Params, id: str) -> Obj:
    customer = live(world, id)
    with world.changing(customer, "customer.updated"):
        return card_shape(_add_source(world, customer, params.need("source")))


def update_source(world: World, params: Params, id: str, source: str) -> Obj:
    live(world, id)
    method = world.store.get("payment_method", source, "id")
    with world.changing(method, "customer.source.updated"):
        method["metadata"] = merged(method["metadata"], params)
        for name in ("exp_month", "exp_year"):
            if params.has(name):
                method["card"][name] = params.integer(name)
    return card_shape(method)


def card_shape(method: Obj) -> Obj:
    card = method["card"]
    return {
        "id": method["id"],
        "object": "card",
        "brand": card["brand"].title(),
        "country": card["country"],
        "customer": method["customer"],
        "exp_month": card["exp_month"],
        "exp_year": card["exp_year"],
        "fingerprint": card["fingerprint"],
        "funding": card["funding"],
        "last4": card["last4"],
        "metadata": method["metadata"],
        "name": method["billing_details"]["name"],
    }


def retrieve(world: World, _: Params, id: str) -> Obj:
    customer = world.store.get("customer", id)
    return {"id": id, "object": "customer", "deleted": True} if customer.get("deleted") else customer


def delete(world: World, _: Params, id: str) -> Obj:
    customer = live(world, id)
    for subscription in list(world.store.all("subscription")):
        if subscription["customer"] == id and subscription["status"] not in subscribing.ENDED:
            subscribing.end(world, subscription, "cancellation_requested")
    world.events.emit("customer.deleted", customer)
    customer["deleted"] = True
    return {"id": id, "object": "customer", "deleted": True}


def listing(world: World, params: Params) -> Page:
    email = params.text("email")
    return world.store.page(
        "customer",
        params,
        "/v1/customers",
        lambda obj: not obj.get("deleted") and (email is None or obj["email"] == email),
    )


def methods(world: World, params: Params, id: str) -> Page:
    live(world, id)
    kind = params.text("type")
    return world.store.page(
        "payment_method",
        params,
        f"/v1/customers/{id}/payment_methods",
        lambda obj: obj["customer"] == id and kind in (None, obj["type"]),
    )


ROUTES = [
    Route("POST", "/v1/customers", create, ACCEPTS),
    Route("GET", "/v1/customers", listing, f"{PAGING} email"),
    Route("GET", "/v1/customers/{}", retrieve),
    Route("POST", "/v1/customers/{}", update, ACCEPTS),
    Route("DELETE", "/v1/customers/{}", delete),
    Route("GET", "/v1/customers/{}/payment_methods", methods, f"{PAGING} type"),
    Route("POST", "/v1/customers/{}/sources", add_source, "source metadata"),
    Route("POST", "/v1/customers/{}/sources/{}", update_source, "metadata exp_month exp_year name"),
]
