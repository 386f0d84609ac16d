"""Draft invoices and their lines: from a subscription's items, from pending items, minus coupons."""

from __future__ import annotations

from sandbox.clock import from_stamp
from sandbox.pricing import add_interval, amount_of, taken_off
from sandbox.store import Obj
from sandbox.world import World


def new_invoice(world: World, customer: Obj, currency: str, reason: str, subscription: Obj | None = None) -> Obj:
    now = world.clock.stamp()
    owner = subscription or {}
    invoice: Obj = {
        "id": world.store.new_id("in"),
        "object": "invoice",
        "account_country": world.settings.country,
        "account_name": "Sandbox",
        "account_tax_ids": None,
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid_off_stripe": 0,
        "amount_paid": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": subscription is not None,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "automatically_finalizes_at": None,
        "billing_reason": reason,
        "collection_method": owner.get("collection_method", "charge_automatically"),
        "created": now,
        "currency": currency,
        "custom_fields": None,
        "customer": customer["id"],
        "customer_account": None,
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": list(owner.get("discounts", [])),
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": None,
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": [],
        "livemode": world.settings.livemode,
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": None,
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": now,
        "period_start": now,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "draft",
        "status_details": None,
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": 0,
        "subtotal_excluding_tax": 0,
        "test_clock": None,
        "total": 0,
        "total_discount_amounts": [],
        "total_excluding_tax": 0,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": now,
        "_payments": [],
        "_payment_intent": None,
        "_charge": None,
        "_paid_out_of_band": False,
        "_first_failure": None,
        "_days_until_due": owner.get("days_until_due"),
    }
    if subscription is not None:
        details = {"metadata": subscription["metadata"], "subscription": subscription["id"]}
        invoice["parent"] = {"quote_details": None, "subscription_details": details, "type": "subscription_details"}
    return world.store.add(invoice)


def add_line(
    world: World,
    invoice: Obj,
    amount: int,
    description: str,
    price: Obj | None,
    *,
    period: tuple[int, int],
    quantity: int,
    subscription: str | None,
    item: str | None = None,
    invoice_item: str | None = None,
    proration: bool = False,
) -> Obj:
    """One line, from a subscription's `item` or from an `invoice_item`; `period` is start and end in unix time."""
    start, end = period
    detail = {
        "invoice_item": invoice_item,
        "proration": proration,
        "proration_details": {"credited_items": None},
        "subscription": subscription,
    }
    if item is not None:
        detail["subscription_item"] = item
    kind = "subscription_item_details" if item is not None else "invoice_item_details"
    parent: Obj = {"invoice_item_details": None, "subscription_item_details": None, "type": kind}
    parent[kind] = detail
    pricing = None
    if price is not None:
        names = {"price": price["id"], "product": price["product"]}
        pricing = {"price_details": names, "type": "price_details", "unit_amount_decimal": price["unit_amount_decimal"]}
    line = {
        "id": world.store.new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": invoice["currency"],
        "description": description,
        "discount_amounts": [],
        "discountable": amount >= 0,
        "discounts": [],
        "invoice": invoice["id"],
        "livemode": invoice["livemode"],
        "metadata": {},
        "parent": parent,
        "period": {"end": end, "start": start},
        "pretax_credit_amounts": [],
        "pricing": pricing,
        "quantity": quantity,
        "quantity_decimal": str(quantity),
        "subscription": subscription,
        "subtotal": amount,
        "taxes": [],
        "_price": price["id"] if price else None,
    }
    invoice["lines"].append(line)
    return line


def add_item_lines(world: World, invoice: Obj, subscription: Obj, free: bool = False) -> None:
    """The subscription's items for the period that now begins; metered items for the one that ended."""
    for item in subscription["items"]:
        price = item["price"]
        period = (item["current_period_start"], item["current_period_end"])
        metered = price["recurring"]["usage_type"] == "metered"
        quantity = item.pop("_usage", 0) if metered else item["quantity"]
        amount = 0 if free else amount_of(price, quantity)
        name = world.store.get("product", price["product"])["name"]
        text = f"Trial period for {name}" if free else f"{quantity} × {name}"
        add_line(
            world,
            invoice,
            amount,
            text,
            price,
            period=period,
            quantity=quantity,
            item=item["id"],
            subscription=subscription["id"],
        )


def add_pending(world: World, invoice: Obj) -> None:
    """Items that waited for the customer's next invoice in this currency."""
    subscription = ((invoice["parent"] or {}).get("subscription_details") or {}).get("subscription")
    for item in world.store.all("invoiceitem"):
        waits = item["invoice"] is None and item["customer"] == invoice["customer"]
        belongs = item["_subscription"] in (None, subscription) and item["currency"] == invoice["currency"]
        if waits and belongs:
            add_invoice_item(world, invoice, item)


def new_item(world: World, customer: str, currency: str, amount: int, description: str | None) -> Obj:
    now = world.clock.stamp()
    item: Obj = {
        "id": world.store.new_id("ii"),
        "object": "invoiceitem",
        "amount": amount,
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "date": now,
        "description": description,
        "discountable": True,
        "discounts": [],
        "invoice": None,
        "livemode": world.settings.livemode,
        "metadata": {},
        "net_amount": amount,
        "parent": None,
        "period": {"end": now, "start": now},
        "pricing": None,
        "proration": False,
        "quantity": 1,
        "quantity_decimal": "1",
        "tax_rates": [],
        "test_clock": None,
        "_price": None,
        "_subscription": None,
    }
    return world.store.add(item)


def add_invoice_item(world: World, invoice: Obj, item: Obj) -> None:
    item["invoice"] = invoice["id"]
    price = world.store.find(item["_price"]) if item["_price"] else None
    add_line(
        world,
        invoice,
        item["amount"],
        item["description"] or "Item",
        price,
        period=(item["period"]["start"], item["period"]["end"]),
        quantity=item["quantity"],
        invoice_item=item["id"],
        subscription=item["_subscription"],
        proration=item["proration"],
    )


def total_up(world: World, invoice: Obj) -> None:
    """Sum the lines, take the coupons off, use the customer's balance."""
    subtotal = sum(line["amount"] for line in invoice["lines"])
    invoice["total_discount_amounts"] = []
    total = subtotal
    for id in invoice["discounts"]:
        discount = world.store.get("discount", id)
        off = taken_off(discount["_coupon"], max(total, 0), invoice["currency"])
        total -= off
        invoice["total_discount_amounts"].append({"amount": off, "discount": id})
    customer = world.store.get("customer", invoice["customer"])
    balance = customer["balance"]
    due = max(0, total + balance)
    invoice["starting_balance"] = balance
    invoice["ending_balance"] = total + balance - due
    customer["balance"] = invoice["ending_balance"]
    invoice |= {
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "total": total,
        "total_excluding_tax": total,
        "amount_due": due,
        "amount_remaining": due,
    }


def new_discount(world: World, coupon: Obj, customer: str, subscription: str | None = None) -> Obj:
    start = world.clock()
    end = None
    if coupon["duration"] == "repeating":
        end = int(add_interval(start, "month", coupon["duration_in_months"]).timestamp())
    coupon["times_redeemed"] += 1
    return world.store.add(
        {
            "id": world.store.new_id("di"),
            "object": "discount",
            "checkout_session": None,
            "customer": customer,
            "customer_account": None,
            "end": end,
            "invoice": None,
            "invoice_item": None,
            "promotion_code": None,
            "source": {"coupon": coupon["id"], "type": "coupon"},
            "start": int(start.timestamp()),
            "subscription": subscription,
            "subscription_item": None,
            "_coupon": coupon,
        }
    )


def drop_discounts(world: World, subscription: Obj, used: bool) -> None:
    """End the coupons whose time is over; after an invoice `used` them, also those that count only once."""
    now = world.clock()
    for id in list(subscription["discounts"]):
        discount = world.store.get("discount", id)
        once = used and discount["_coupon"]["duration"] == "once"
        if once or (discount["end"] is not None and from_stamp(discount["end"]) <= now):
            subscription["discounts"].remove(id)
            world.events.emit("customer.discount.deleted", discount)
