"""Subscriptions and their items."""

from __future__ import annotations

from sandbox import collection, errors, payments, subscribing
from sandbox.clock import from_stamp
from sandbox.invoicing import new_discount
from sandbox.params import Params
from sandbox.resources.customers import live, merged
from sandbox.resources.payment_methods import materialize
from sandbox.routes import PAGING, Route, retrieving
from sandbox.store import Obj, Page
from sandbox.world import World


def new_subscription(world: World, customer: Obj, items: list[tuple[Obj, int | None]]) -> Obj:
    """A subscription to (price, quantity) pairs, not begun yet."""
    now = world.clock.stamp()
    id = world.store.new_id("sub")
    return world.store.add(
        {
            "id": id,
            "object": "subscription",
            "application": None,
            "application_fee_percent": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": now,
            "billing_cycle_anchor_config": None,
            "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
            "billing_schedules": [],
            "billing_thresholds": None,
            "cancel_at": None,
            "cancel_at_period_end": False,
            "canceled_at": None,
            "cancellation_details": {"comment": None, "feedback": None, "reason": None},
            "collection_method": "charge_automatically",
            "created": now,
            "currency": items[0][0]["currency"],
            "customer": customer["id"],
            "customer_account": None,
            "days_until_due": None,
            "default_payment_method": None,
            "default_source": None,
            "default_tax_rates": [],
            "description": None,
            "discounts": [],
            "ended_at": None,
            "invoice_settings": {
                "account_tax_ids": None,
                "custom_fields": None,
                "description": None,
                "footer": None,
                "issuer": {"type": "self"},
            },
            "items": [new_item(world, id, price, quantity) for price, quantity in items],
            "latest_invoice": None,
            "livemode": world.settings.livemode,
            "managed_payments": {"enabled": False},
            "metadata": {},
            "next_pending_invoice_item_invoice": None,
            "on_behalf_of": None,
            "pause_collection": None,
            "payment_settings": {
                "payment_method_options": None,
                "payment_method_types": None,
                "save_default_payment_method": "off",
            },
            "pending_invoice_item_interval": None,
            "pending_setup_intent": None,
            "pending_update": None,
            "schedule": None,
            "start_date": now,
            "status": "incomplete",
            "status_details": None,
            "test_clock": None,
            "transfer_data": None,
            "trial_end": None,
            "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
            "trial_start": None,
        }
    )


def new_item(world: World, subscription: str, price: Obj, quantity: int | None) -> Obj:
    metered = price["recurring"]["usage_type"] == "metered"
    item: Obj = {
        "id": world.store.new_id("si", 14),
        "object": "subscription_item",
        "billed_until": None,
        "billing_thresholds": None,
        "created": world.clock.stamp(),
        "current_period_end": 0,
        "current_period_start": 0,
        "current_trial": None,
        "discounts": [],
        "metadata": {},
        "price": price,
        "subscription": subscription,
        "tax_rates": [],
    }
    if not metered:
        item["quantity"] = 1 if quantity is None else quantity
    return item


def create(world: World, params: Params) -> Obj:
    customer = live(world, params.need("customer"), "customer")
    rows = params.rows("items")
    if not rows:
        raise errors.missing("items")
    items = []
    for row in rows:
        price = _price(world, row)
        items.append((price, row.integer("quantity")))
    if len({price["currency"] for price, _ in items}) > 1:
        raise errors.refused("All prices on a subscription must have the same currency.")
    subscription = new_subscription(world, customer, items)
    try:
        behavior = _prepare(world, subscription, params)
    except errors.StripeError:
        world.store.remove(subscription)
        raise
    customer["currency"] = customer["currency"] or subscription["currency"]
    method = collection.method_of(world, subscription)
    if behavior == "error_if_incomplete" and method is not None and subscription["trial_end"] is None:
        _charge_first(world, subscription, method)
    subscribing.begin(world, subscription, behavior, method)
    return subscription


def _prepare(world: World, subscription: Obj, params: Params) -> str:
    now = world.clock.stamp()
    behavior = params.text("payment_behavior") or "allow_incomplete"
    if params.text("collection_method") == "send_invoice":
        subscription["collection_method"] = "send_invoice"
        subscription["days_until_due"] = params.integer("days_until_due")
        if subscription["days_until_due"] is None:
            raise errors.missing("days_until_due")
    if days := params.integer("trial_period_days"):
        subscription["trial_end"] = now + days * 86_400
    elif params.has("trial_end") and params.text("trial_end") != "now":
        subscription["trial_end"] = params.integer("trial_end")
    if subscription["trial_end"] is not None:
        subscription["trial_start"] = now
        subscription["billing_cycle_anchor"] = subscription["trial_end"]
    if params.has("backdate_start_date"):
        subscription["start_date"] = params.integer("backdate_start_date")
    end = params.part("trial_settings").part("end_behavior").text("missing_payment_method")
    if end:
        subscription["trial_settings"]["end_behavior"]["missing_payment_method"] = end
    _set(world, subscription, params)
    pays = subscription["collection_method"] == "charge_automatically" and subscription["trial_end"] is None
    costs = any(item["price"]["unit_amount_decimal"] not in ("0", None) for item in subscription["items"])
    if pays and costs and behavior != "default_incomplete" and collection.method_of(world, subscription) is None:
        raise errors.refused(
            "This customer has no attached payment source or default payment method. Please consider adding a "
            "default payment method.",
            "resource_missing",
        )
    return behavior


def _charge_first(world: World, subscription: Obj, method: Obj) -> None:
    """error_if_incomplete: a declined first payment leaves no subscription behind."""
    behaviour = world.issuer.of(method["id"])
    refused = any(spell.covers(world.clock(), 1) for spell in behaviour.spells)
    if not refused and behaviour.challenge == "no":
        return
    world.store.remove(subscription)
    price = subscription["items"][0]["price"]
    intent = payments.new_intent(world, price["unit_amount"] or 1, subscription["currency"], subscription["customer"])
    raise payments.failure(world, intent, payments.attempt(world, intent, method, on_session=True))


def _price(world: World, row: Params) -> Obj:
    price = world.store.get("price", row.text("price") or row.text("plan") or row.need("price"), "items[0][price]")
    if not price["recurring"]:
        raise errors.refused("The price is of `type=one_time`, but this field only accepts recurring ones.")
    return price


def _set(world: World, subscription: Obj, params: Params) -> None:
    if params.has("default_payment_method"):
        token = params.text("default_payment_method")
        method = materialize(world, token, "default_payment_method") if token else None
        if method is not None and method["customer"] != subscription["customer"]:
            raise errors.refused(
                "The customer does not have a payment method with this ID attached.", "resource_missing"
            )
        subscription["default_payment_method"] = method["id"] if method else None
    if params.has("description"):
        subscription["description"] = params.text("description")
    if params.has("cancel_at_period_end"):
        _cancel_later(world, subscription, params.flag("cancel_at_period_end"))
    if params.has("cancel_at"):
        subscription["cancel_at"] = params.integer("cancel_at")
        subscription["canceled_at"] = world.clock.stamp() if subscription["cancel_at"] else None
    details = params.part("cancellation_details")
    for name in ("comment", "feedback"):
        if details.has(name):
            subscription["cancellation_details"][name] = details.text(name)
    if params.has("pause_collection"):
        pause = params.part("pause_collection")
        shown: Obj = {"behavior": pause.text("behavior"), "resumes_at": pause.integer("resumes_at")}
        subscription["pause_collection"] = shown if pause.tree else None
        if pause.tree and shown["resumes_at"]:
            due = from_stamp(shown["resumes_at"])
            world.agenda.at(due, lambda: subscribing.unpause(world, subscription), f"unpause:{subscription['id']}")
    if params.has("discounts") or params.has("coupon"):
        codes = [row.need("coupon") for row in params.rows("discounts") if not row.has("discount")]
        codes += [params.need("coupon")] if params.text("coupon") else []
        _discount(world, subscription, codes)
    subscription["metadata"] = merged(subscription["metadata"], params)


def _cancel_later(world: World, subscription: Obj, wanted: bool) -> None:
    subscription["cancel_at_period_end"] = wanted
    subscription["cancel_at"] = subscribing.period_of(subscription)[1] if wanted else None
    subscription["canceled_at"] = world.clock.stamp() if wanted else None
    subscription["cancellation_details"]["reason"] = "cancellation_requested" if wanted else None


def _discount(world: World, subscription: Obj, codes: list[str]) -> None:
    for id in subscription["discounts"]:
        world.events.emit("customer.discount.deleted", world.store.get("discount", id))
    made = []
    for code in codes:
        coupon = world.store.get("coupon", code, "coupon")
        made.append(new_discount(world, coupon, subscription["customer"], subscription["id"]))
    subscription["discounts"] = [discount["id"] for discount in made]
    for discount in made:
        world.events.emit("customer.discount.created", discount)


def update(world: World, params: Params, id: str) -> Obj:
    subscription = world.store.get("subscription", id)
    if subscription["status"] in subscribing.ENDED and set(params) - {"metadata", "cancellation_details", "expand"}:
        raise errors.refused("A canceled subscription can only update its cancellation_details and metadata.")
    old = [
        (i["price"], i.get("quantity"), i["current_period_start"], i["current_period_end"], i["id"])
        for i in subscription["items"]
    ]
    rows = params.rows("items")
    gone = {row.text("id") for row in rows if row.flag("deleted")}
    if gone >= {item["id"] for item in subscription["items"]} and all(row.has("id") for row in rows):
        raise errors.refused("A subscription must have at least one active price.")
    with subscribing.changing(world, subscription):
        _set(world, subscription, params)
        for row in rows:
            _change_item(world, subscription, row)
        if params.text("trial_end") == "now" and subscription["status"] == "trialing":
            subscription["trial_end"] = world.clock.stamp()
            for item in subscription["items"]:
                item["current_period_end"] = subscription["trial_end"]
        rebill = _after_items(world, subscription, old, params.text("proration_behavior") or "create_prorations")
    if rebill:
        subscribing.bill_now(world, subscription, with_items=rebill == "period")
    subscribing.plan_renewal(world, subscription)
    return subscription


def _change_item(world: World, subscription: Obj, row: Params) -> None:
    items = subscription["items"]
    if id := row.text("id"):
        item = next((item for item in items if item["id"] == id), None)
        if item is None:
            raise errors.no_such("subscription_item", id, "items")
        if row.flag("deleted"):
            items.remove(item)
            return
        if row.has("price"):
            item["price"] = _price(world, row)
        if row.has("quantity"):
            item["quantity"] = row.integer("quantity")
    else:
        item = new_item(world, subscription["id"], _price(world, row), row.integer("quantity"))
        item["current_period_start"] = items[0]["current_period_start"] if items else world.clock.stamp()
        item["current_period_end"] = items[0]["current_period_end"] if items else 0
        items.append(item)
    item["_changed"] = True


def _after_items(world: World, subscription: Obj, old: list[tuple[Obj, int, int, int, str]], behavior: str) -> str:
    """Prorate; an interval that changed starts a new period now. Says what to bill: '', 'pending' or 'period'."""
    current = {item["id"]: item for item in subscription["items"]}
    changed = [row for row in old if row[4] not in current or current[row[4]].get("_changed")]
    if not any(item.get("_changed") for item in subscription["items"]) and not changed:
        return ""
    intervals = {(row[0]["recurring"]["interval"], row[0]["recurring"]["interval_count"]) for row in old}
    kept = {(i["price"]["recurring"]["interval"], i["price"]["recurring"]["interval_count"]) for i in current.values()}
    trialing = subscription["status"] == "trialing"
    restart = not kept <= intervals and not trialing
    if restart:
        subscription["billing_cycle_anchor"] = world.clock.stamp()
        subscribing.start_period(subscription, world.clock.stamp())
    if behavior != "none" and not trialing:
        subscribing.prorate(world, subscription, [row[:4] for row in changed])
    for item in subscription["items"]:
        item.pop("_changed", None)
    if restart:
        return "period"
    return "pending" if behavior == "always_invoice" and not trialing else ""


def cancel(world: World, params: Params, id: str) -> Obj:
    subscription = world.store.get("subscription", id)
    if subscription["status"] in subscribing.ENDED:
        raise errors.no_such("subscription", id)
    details = params.part("cancellation_details")
    subscribing.end(world, subscription, "cancellation_requested", details.text("comment"), details.text("feedback"))
    return subscription


def resume(world: World, _: Params, id: str) -> Obj:
    subscription = world.store.get("subscription", id)
    subscribing.resume(world, subscription)
    return subscription


def listing(world: World, params: Params) -> Page:
    customer, status, price = params.text("customer"), params.text("status"), params.text("price")

    def keep(obj: Obj) -> bool:
        wanted = status == "all" or obj["status"] == status
        if status == "ended":
            wanted = obj["status"] in subscribing.ENDED
        if status is None:
            wanted = obj["status"] not in subscribing.ENDED
        priced = price is None or any(item["price"]["id"] == price for item in obj["items"])
        return wanted and priced and customer in (None, obj["customer"])

    return world.store.page("subscription", params, "/v1/subscriptions", keep)


def list_items(world: World, params: Params) -> Page:
    subscription = world.store.get("subscription", params.need("subscription"), "subscription")
    return Page(subscription["items"], False, "/v1/subscription_items")


FIELDS = """items metadata default_payment_method description cancel_at_period_end cancel_at discounts coupon
    cancellation_details pause_collection proration_behavior payment_behavior trial_end off_session"""
CREATE = f"""{FIELDS} customer collection_method days_until_due trial_period_days trial_settings backdate_start_date
    payment_settings currency billing_mode"""
ROUTES = [
    Route("POST", "/v1/subscriptions", create, CREATE),
    Route("GET", "/v1/subscriptions", listing, f"{PAGING} customer status price collection_method"),
    Route("GET", "/v1/subscriptions/{}", retrieving("subscription")),
    Route("POST", "/v1/subscriptions/{}", update, FIELDS),
    Route("DELETE", "/v1/subscriptions/{}", cancel, "cancellation_details invoice_now prorate"),
    Route("POST", "/v1/subscriptions/{}/resume", resume, "billing_cycle_anchor proration_behavior payment_behavior"),
    Route("GET", "/v1/subscription_items", list_items, f"{PAGING} subscription"),
]
