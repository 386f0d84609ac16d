"""How Stripe's objects differ between API versions: one step per version that changed a shape, newest first.

The sandbox keeps the newest shape; a step turns an object of its version into the one before it. Additions that
Stripe made without a version are shown in all of them, as Stripe does. Sources: stripe-python's type definitions
from release to release and Stripe's changelog.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.store import Obj

if TYPE_CHECKING:
    from sandbox.store import Store

Undo = Callable[["Store", Obj], None]


def without(*names: str) -> Undo:
    def undo(_: Store, obj: Obj) -> None:
        for name in names:
            obj.pop(name, None)

    return undo


def _basil_invoice(store: Store, invoice: Obj) -> None:
    """Before basil an invoice had one subscription, one intent and one charge, named on top."""
    details = (invoice.pop("parent") or {}).get("subscription_details") or {}
    invoice["subscription"] = details.get("subscription")
    invoice["subscription_details"] = {"metadata": details.get("metadata")}
    invoice["payment_intent"] = invoice.get("_payment_intent")
    invoice["charge"] = invoice.get("_charge")
    invoice["paid"] = invoice["status"] == "paid"
    invoice["paid_out_of_band"] = invoice.get("_paid_out_of_band", False)
    if invoice["paid_out_of_band"]:
        invoice["amount_paid"] = 0
    invoice["discount"] = None
    if invoice["discounts"]:
        invoice["discount"] = _old_discount(store, invoice["discounts"][0])
    invoice["tax"] = None
    invoice["total_tax_amounts"] = []
    invoice |= {"application_fee_amount": None, "quote": None, "transfer_data": None}
    for name in ("amount_overpaid", "total_pretax_credit_amounts", "total_taxes", "payments", "confirmation_secret"):
        invoice.pop(name, None)


def _basil_line(store: Store, line: Obj) -> None:
    """Before basil a line carried its whole price and plan, and flat links to where it came from."""
    parent = line.pop("parent")
    details = parent["subscription_item_details"] or parent["invoice_item_details"] or {}
    price = store.find(line["_price"]) if line.get("_price") else None
    quantity = line["quantity"] or 1
    line |= {
        "price": _plain(price),
        "plan": plan_of(price),
        "type": "subscription" if parent["type"] == "subscription_item_details" else "invoiceitem",
        "proration": details.get("proration", False),
        "proration_details": details.get("proration_details") or {"credited_items": None},
        "subscription": details.get("subscription"),
        "invoice_item": details.get("invoice_item"),
        "tax_amounts": [],
        "tax_rates": [],
        "amount_excluding_tax": line["amount"],
        "unit_amount_excluding_tax": str(line["amount"] // quantity),
    }
    if details.get("subscription_item"):
        line["subscription_item"] = details["subscription_item"]
    for name in ("pricing", "taxes"):
        line.pop(name, None)


def _basil_item(store: Store, item: Obj) -> None:
    details = (item.pop("parent") or {}).get("subscription_details") or {}
    price = store.find(item["_price"]) if item.get("_price") else None
    unit = (item.pop("pricing") or {}).get("unit_amount_decimal")
    item |= {
        "price": _plain(price),
        "plan": plan_of(price),
        "subscription": details.get("subscription"),
        "unit_amount": int(unit) if unit is not None and "." not in unit else None,
        "unit_amount_decimal": unit,
    }
    item.pop("net_amount", None)


def _basil_subscription(store: Store, subscription: Obj) -> None:
    items = subscription["items"]["data"]
    subscription["current_period_start"] = min(item["_period_start"] for item in items)
    subscription["current_period_end"] = min(item["_period_end"] for item in items)
    subscription["billing_thresholds"] = None
    subscription["discount"] = None
    if subscription["discounts"]:
        subscription["discount"] = _old_discount(store, subscription["discounts"][0])
    if len(items) == 1:
        subscription["plan"] = plan_of(items[0]["price"])
        subscription["quantity"] = items[0].get("quantity")


def _basil_subscription_item(_: Store, item: Obj) -> None:
    item["billing_thresholds"] = None
    del item["current_period_start"], item["current_period_end"]


def _linked(_: Store, obj: Obj) -> None:
    obj["invoice"] = obj.get("_invoice")


def _clover_discount(_: Store, discount: Obj) -> None:
    source = discount.pop("source", None)
    if source is not None:
        discount["coupon"] = discount.get("_coupon", source["coupon"])


def _acacia_codes(_: Store, obj: Obj) -> None:
    for name in ("outcome", "last_payment_error"):
        for code in ("advice_code", "network_advice_code", "network_decline_code"):
            (obj.get(name) or {}).pop(code, None)


def _old_rendering(_: Store, invoice: Obj) -> None:
    invoice["rendering_options"] = None


def _old_features(_: Store, product: Obj) -> None:
    product["features"] = product.pop("marketing_features")


def _old_discount(store: Store, discount: Obj | str) -> Obj | None:
    found = store.find(discount) if isinstance(discount, str) else discount
    if found is None:
        return None
    old = _plain(found) or {}
    old.pop("source", None)
    old["coupon"] = found.get("_coupon")
    return old


def _plain(obj: Obj | None) -> Obj | None:
    return None if obj is None else {name: value for name, value in obj.items() if not name.startswith("_")}


def plan_of(price: Obj | None) -> Obj | None:
    """The legacy plan that shadows a recurring price."""
    if price is None or not price["recurring"]:
        return None
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": price["livemode"],
        "metadata": {},
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": price["transform_quantity"],
        "trial_period_days": recurring["trial_period_days"],
        "usage_type": recurring["usage_type"],
    }


STEPS: list[tuple[str, dict[str, Undo]]] = [
    ("2026-10-28", {"billing_portal.session": without("after_expiration")}),
    (
        "2026-09-30",
        {
            "invoice": without("status_details"),
            "subscription": without("status_details"),
            "subscription_item": without("current_trial"),
            "payment_intent": without("payment_record"),
        },
    ),
    ("2026-08-26", {"invoice": without("amount_paid_off_stripe"), "subscription_item": without("billed_until")}),
    (
        "2026-04-22",
        {
            "subscription": without("billing_schedules", "managed_payments"),
            "payment_intent": without("managed_payments"),
            "refund": without("customer", "customer_account", "payment_method"),
        },
    ),
    ("2026-03-25", {"line_item": without("quantity_decimal"), "invoiceitem": without("quantity_decimal")}),
    (
        "2025-12-15",
        {
            "invoice": without("customer_account"),
            "line_item": without("subtotal"),
            "invoiceitem": without("customer_account"),
            "subscription": without("customer_account"),
            "payment_intent": without("customer_account"),
            "payment_method": without("customer_account"),
            "customer": without("customer_account"),
            "discount": without("customer_account"),
            "setup_intent": without("customer_account"),
            "billing_portal.session": without("customer_account"),
        },
    ),
    ("2025-09-30", {"discount": _clover_discount}),
    ("2025-07-30", {"subscription": without("billing_thresholds"), "subscription_item": without("billing_thresholds")}),
    ("2025-06-30", {"subscription": without("billing_mode")}),
    (
        "2025-03-31",
        {
            "invoice": _basil_invoice,
            "line_item": _basil_line,
            "invoiceitem": _basil_item,
            "subscription": _basil_subscription,
            "subscription_item": _basil_subscription_item,
            "charge": _linked,
            "payment_intent": _linked,
        },
    ),
    ("2024-12-18", {"charge": _acacia_codes, "payment_intent": _acacia_codes}),
    ("2024-09-30", {"line_item": without("pretax_credit_amounts")}),
    (
        "2024-04-10",
        {
            "invoice": _old_rendering,
            "subscription": without("discounts"),
            "subscription_item": without("discounts"),
            "product": _old_features,
        },
    ),
]

# Endpoints pinned to an older version never hear of these.
EVENT_SINCE = {"invoice_payment.paid": "2025-05-28"}
