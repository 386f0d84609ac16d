"""Invoices: drafts, finalising, paying, voiding, writing off."""

from __future__ import annotations

from sandbox import collection, errors, payments
from sandbox.invoicing import add_item_lines, add_line, add_pending, new_discount, new_invoice, total_up
from sandbox.params import Params
from sandbox.resources.customers import live, merged
from sandbox.resources.payment_methods import materialize
from sandbox.routes import PAGING, Route, retrieving
from sandbox.store import Obj, Page, snapshot, thaw
from sandbox.world import World


def create(world: World, params: Params) -> Obj:
    customer = live(world, params.need("customer"), "customer")
    subscription = None
    if named := params.text("subscription"):
        subscription = world.store.get("subscription", named, "subscription")
    currency = params.text("currency") or customer["currency"] or "usd"
    invoice = new_invoice(world, customer, currency, "manual", subscription)
    invoice["auto_advance"] = params.flag("auto_advance", False)
    if params.text("collection_method") == "send_invoice":
        if not params.has("days_until_due") and not params.has("due_date"):
            raise errors.missing("days_until_due")
        invoice["collection_method"] = "send_invoice"
        invoice["_days_until_due"] = params.integer("days_until_due")
        invoice["due_date"] = params.integer("due_date")
    for row in params.rows("discounts"):
        coupon = world.store.get("coupon", row.need("coupon"), "coupon")
        invoice["discounts"].append(new_discount(world, coupon, customer["id"])["id"])
    _set(world, invoice, params)
    if params.text("pending_invoice_items_behavior") == "include":
        add_pending(world, invoice)
    total_up(world, invoice)
    world.events.emit("invoice.created", invoice)
    if invoice["auto_advance"]:
        collection.plan_finalizing(world, invoice)
    return invoice


def preview(world: World, params: Params) -> Obj:
    """The invoice of the next renewal, as if the period ended now; nothing is left of it afterwards."""
    subscription = thaw(snapshot(world.store.get("subscription", params.need("subscription"), "subscription")))
    if subscription["status"] in ("canceled", "incomplete_expired") or subscription["cancel_at_period_end"]:
        raise errors.refused("No upcoming invoices for customer", "invoice_upcoming_none")
    customer = world.store.get("customer", subscription["customer"])
    balance = customer["balance"]
    invoice = new_invoice(world, customer, subscription["currency"], "upcoming", subscription)
    add_item_lines(world, invoice, subscription)
    for item in world.store.newest("invoiceitem"):
        if item["customer"] == customer["id"] and item["invoice"] is None and item["currency"] == invoice["currency"]:
            period = (item["period"]["start"], item["period"]["end"])
            add_line(world, invoice, item["amount"], "Item", None, period=period, quantity=1, subscription=None)
    total_up(world, invoice)
    customer["balance"] = balance
    world.store.remove(invoice)
    return invoice


def _set(world: World, invoice: Obj, params: Params) -> None:
    for name in ("description", "footer", "statement_descriptor"):
        if params.has(name):
            invoice[name] = params.text(name)
    if params.has("default_payment_method"):
        token = params.text("default_payment_method")
        invoice["default_payment_method"] = materialize(world, token, "default_payment_method")["id"] if token else None
    invoice["metadata"] = merged(invoice["metadata"], params)


def update(world: World, params: Params, id: str) -> Obj:
    invoice = world.store.get("invoice", id)
    frozen = {"collection_method", "days_until_due", "due_date", "discounts"} & set(params)
    if frozen and invoice["status"] != "draft":
        raise errors.refused(f"Finalized invoices can't be updated in this way ({', '.join(sorted(frozen))}).")
    if params.has("auto_advance") and invoice["status"] not in ("draft", "open"):
        raise errors.refused("auto_advance can only be changed on a draft or open invoice.", "invoice_not_editable")
    with world.changing(invoice, "invoice.updated"):
        _set(world, invoice, params)
        if params.has("collection_method"):
            invoice["collection_method"] = params.need("collection_method")
            invoice["_days_until_due"] = params.integer("days_until_due")
        if params.has("auto_advance"):
            invoice["auto_advance"] = params.flag("auto_advance")
            _advance_changed(world, invoice)
    return invoice


def _advance_changed(world: World, invoice: Obj) -> None:
    if invoice["status"] == "draft":
        if invoice["auto_advance"]:
            collection.plan_finalizing(world, invoice)
        else:
            invoice["automatically_finalizes_at"] = None
            world.agenda.cancel(f"finalize:{invoice['id']}")
    elif not invoice["auto_advance"]:
        invoice["next_payment_attempt"] = None
        world.agenda.cancel(f"retry:{invoice['id']}")
    elif invoice["attempted"]:
        collection.plan_retry(world, invoice)
    else:
        when = world.clock() + world.settings.finalize_after
        invoice["next_payment_attempt"] = int(when.timestamp())
        world.agenda.at(when, lambda: collection.collect(world, invoice), f"retry:{invoice['id']}")


def finalize(world: World, params: Params, id: str) -> Obj:
    invoice = world.store.get("invoice", id)
    collection.finalize(world, invoice, params.flag("auto_advance") if params.has("auto_advance") else None)
    return invoice


def pay(world: World, params: Params, id: str) -> Obj:
    invoice = world.store.get("invoice", id)
    if params.flag("paid_out_of_band"):
        collection.pay_out_of_band(world, invoice)
        return invoice
    method = None
    if token := params.text("payment_method") or params.text("source"):
        method = materialize(world, token, "payment_method")
        if method["customer"] not in (None, invoice["customer"]):
            raise errors.refused("The payment method does not belong to the invoice's customer.", "resource_missing")
    outcome = collection.pay(world, invoice, method, on_session=not params.flag("off_session", True))
    if outcome in (payments.Outcome.DECLINED, payments.Outcome.ACTION):
        raise payments.failure(world, world.store.get("payment_intent", invoice["_payment_intent"]), outcome)
    return invoice


def void(world: World, _: Params, id: str) -> Obj:
    invoice = world.store.get("invoice", id)
    collection.void(world, invoice)
    return invoice


def mark_uncollectible(world: World, _: Params, id: str) -> Obj:
    invoice = world.store.get("invoice", id)
    collection.mark_uncollectible(world, invoice)
    return invoice


def send(world: World, _: Params, id: str) -> Obj:
    invoice = world.store.get("invoice", id)
    if invoice["status"] == "draft":
        collection.finalize(world, invoice)
    if invoice["status"] != "open":
        raise errors.refused(f"You can only send an open invoice. This invoice is {invoice['status']}.")
    world.events.emit("invoice.sent", invoice)
    return invoice


def delete(world: World, _: Params, id: str) -> Obj:
    invoice = world.store.get("invoice", id)
    if invoice["status"] != "draft":
        raise errors.refused("You can only delete draft invoices.")
    world.agenda.cancel(f"finalize:{id}")
    world.events.emit("invoice.deleted", invoice)
    world.store.remove(invoice)
    return {"id": id, "object": "invoice", "deleted": True}


def listing(world: World, params: Params) -> Page:
    customer, subscription, status = params.text("customer"), params.text("subscription"), params.text("status")
    method = params.text("collection_method")

    def keep(obj: Obj) -> bool:
        return (
            customer in (None, obj["customer"])
            and status in (None, obj["status"])
            and method in (None, obj["collection_method"])
            and (subscription is None or collection.subscription_id(obj) == subscription)
            and params.within("due_date", obj["due_date"])
        )

    return world.store.page("invoice", params, "/v1/invoices", keep)


def lines(world: World, params: Params, id: str) -> Page:
    found = world.store.get("invoice", id)["lines"]
    limit = params.integer("limit", 10) or 10
    start = 0
    if after := params.text("starting_after"):
        ids = [line["id"] for line in found]
        if after not in ids:
            raise errors.no_such("line_item", after, "starting_after")
        start = ids.index(after) + 1
    return Page(found[start : start + limit], len(found) > start + limit, f"/v1/invoices/{id}/lines")


FIELDS = """description footer metadata auto_advance default_payment_method statement_descriptor collection_method
    days_until_due due_date discounts"""
CREATE = f"{FIELDS} customer subscription currency pending_invoice_items_behavior"
LIST = f"{PAGING} customer subscription status collection_method due_date"
ROUTES = [
    Route("POST", "/v1/invoices", create, CREATE),
    Route("POST", "/v1/invoices/create_preview", preview, "subscription"),
    Route("GET", "/v1/invoices", listing, LIST),
    Route("GET", "/v1/invoices/{}", retrieving("invoice")),
    Route("POST", "/v1/invoices/{}", update, FIELDS),
    Route("DELETE", "/v1/invoices/{}", delete),
    Route("GET", "/v1/invoices/{}/lines", lines, "limit starting_after"),
    Route("POST", "/v1/invoices/{}/finalize", finalize, "auto_advance"),
    Route("POST", "/v1/invoices/{}/pay", pay, "payment_method source off_session paid_out_of_band forgive mandate"),
    Route("POST", "/v1/invoices/{}/void", void),
    Route("POST", "/v1/invoices/{}/mark_uncollectible", mark_uncollectible),
    Route("POST", "/v1/invoices/{}/send", send),
]
