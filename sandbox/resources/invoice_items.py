"""Invoice items: amounts that wait for an invoice, or are put on a given draft."""

from __future__ import annotations

from sandbox import errors
from sandbox.invoicing import add_invoice_item, new_item, total_up
from sandbox.params import Params
from sandbox.pricing import amount_of
from sandbox.routes import PAGING, Route, retrieving
from sandbox.store import Obj, Page
from sandbox.world import World


def create(world: World, params: Params) -> Obj:
    customer = world.store.get("customer", params.need("customer"), "customer")
    quantity = params.integer("quantity", 1) or 0
    price = None
    if named := params.part("pricing").text("price") or params.text("price"):
        price = world.store.get("price", named, "price")
        amount, currency = amount_of(price, quantity), price["currency"]
    elif (unit := params.integer("unit_amount")) is not None:
        amount, currency = unit * quantity, params.need("currency").lower()
    else:
        whole = params.integer("amount")
        if whole is None:
            raise errors.missing("amount")
        amount, currency = whole, params.need("currency").lower()
    item = new_item(world, customer["id"], currency, amount, params.text("description"))
    item["quantity"], item["quantity_decimal"] = quantity, str(quantity)
    item["metadata"] = params.texts("metadata")
    if price is not None:
        item["_price"] = price["id"]
        details = {"price": price["id"], "product": price["product"]}
        item["pricing"] = {
            "price_details": details,
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        }
    if subscription := params.text("subscription"):
        world.store.get("subscription", subscription, "subscription")
        item["_subscription"] = subscription
        item["parent"] = {"subscription_details": {"subscription": subscription}, "type": "subscription_details"}
    if draft := params.text("invoice"):
        invoice = world.store.get("invoice", draft, "invoice")
        if invoice["status"] != "draft":
            raise errors.refused("You can only add items to a draft invoice.", "invoice_not_editable")
        add_invoice_item(world, invoice, item)
        total_up(world, invoice)
    customer["currency"] = customer["currency"] or currency
    world.events.emit("invoiceitem.created", item)
    return item


def delete(world: World, _: Params, id: str) -> Obj:
    item = world.store.get("invoiceitem", id)
    world.events.emit("invoiceitem.deleted", item)
    world.store.remove(item)
    return {"id": id, "object": "invoiceitem", "deleted": True}


def listing(world: World, params: Params) -> Page:
    customer, invoice = params.text("customer"), params.text("invoice")
    return world.store.page(
        "invoiceitem",
        params,
        "/v1/invoiceitems",
        lambda obj: customer in (None, obj["customer"]) and invoice in (None, obj["invoice"]),
    )


ACCEPTS = "customer amount unit_amount currency description invoice subscription pricing price quantity metadata"
ROUTES = [
    Route("POST", "/v1/invoiceitems", create, ACCEPTS),
    Route("GET", "/v1/invoiceitems", listing, f"{PAGING} customer invoice"),
    Route("GET", "/v1/invoiceitems/{}", retrieving("invoiceitem")),
    Route("DELETE", "/v1/invoiceitems/{}", delete),
]
