"""Stripe bodies in the shapes of their API versions, made by hand from `stripe.md` 2: no file of Stripe's is copied.

All builders tell about the same customer, invoice, subscription and card, so that a test can compare versions with
each other. `**over` replaces top-level fields; a field given as `GONE` is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

OLD, BEFORE_ACACIA, ACACIA, BASIL, CLOVER, DAHLIA, ENDIVE = (
    "2020-03-02",
    "2022-11-15",
    "2024-12-18.acacia",
    "2025-03-31.basil",
    "2025-09-30.clover",
    "2026-03-25.dahlia",
    "2026-10-28.endive",
)
VERSIONS = (OLD, BEFORE_ACACIA, ACACIA, BASIL, CLOVER, DAHLIA, ENDIVE)
GONE = object()
Json = dict[str, Any]
Path = tuple[str | int, ...]

T0 = 1_772_355_600  # 2026-03-01T09:00:00Z


def event(type: str, object: Json, *, version: str = ENDIVE, before: Json | None = None, **over: Any) -> Json:
    """A snapshot body."""
    data = {"object": object} | ({"previous_attributes": before} if before is not None else {})
    body = {
        "id": "evt_1",
        "object": "event",
        "api_version": version,
        "created": T0,
        "livemode": False,
        "type": type,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "data": data,
    }
    return _over(body, over)


def thin(type: str, id: str, kind: str, **over: Any) -> Json:
    """A thin body, as delivered; `changes` and `snapshot_event` belong to the event read afterwards."""
    body = {
        "id": "evt_thin_1",
        "object": "v2.core.event",
        "type": f"v1.{type}",
        "created": "2026-03-01T09:00:00.250Z",
        "livemode": False,
        "context": None,
        "reason": None,
        "related_object": {"id": id, "type": kind, "url": f"/v1/{kind}s/{id}"},
    }
    return _over(body, over)


def invoice(version: str = ENDIVE, **over: Any) -> Json:
    body: Json = {
        "id": "in_1",
        "object": "invoice",
        "customer": "cus_1",
        "customer_email": "ada@example.org",
        "customer_name": "Ada",
        "status": "open",
        "currency": "usd",
        "amount_due": 2000,
        "amount_paid": 0,
        "amount_remaining": 2000,
        "attempt_count": 1,
        "attempted": True,
        "auto_advance": True,
        "billing_reason": "subscription_cycle",
        "collection_method": "charge_automatically",
        "created": T0 - 3600,
        "due_date": None,
        "next_payment_attempt": T0 + 259_200,
        "number": "A-1",
        "hosted_invoice_url": "https://invoice.example.org/i/1",
        "status_transitions": {
            "finalized_at": T0 - 60,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "lines": {"object": "list", "has_more": False, "data": [_line(version)]},
    }
    if version >= BASIL:
        body["parent"] = {
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": {"subscription": "sub_1"},
        }
        body["payments"] = {
            "object": "list",
            "data": [{"is_default": True, "status": "open", "payment": {"payment_intent": "pi_1", "charge": "ch_1"}}],
        }
    else:
        body |= {"subscription": "sub_1", "payment_intent": "pi_1", "charge": "ch_1", "paid": False}
    return _over(body, over)


def _line(version: str) -> Json:
    if version >= BASIL:
        details = {"subscription": "sub_1", "subscription_item": "si_1", "proration": False}
        return {"id": "il_1", "amount": 2000, "parent": {"subscription_item_details": details}}
    return {"id": "il_1", "amount": 2000, "subscription": "sub_1", "subscription_item": "si_1", "proration": False}


def subscription(version: str = ENDIVE, **over: Any) -> Json:
    row: Json = {"id": "si_1", "object": "subscription_item", "quantity": 3}
    if version > OLD:
        row["price"] = {
            "id": "price_1",
            "product": "prod_1",
            "currency": "usd",
            "unit_amount": 2000,
            "unit_amount_decimal": "2000",
            "tax_behavior": "exclusive",
            "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
        }
    if version < BASIL:
        row["plan"] = {
            "id": "price_1",
            "product": "prod_1",
            "currency": "usd",
            "amount": 2000,
            "interval": "month",
            "interval_count": 1,
            "usage_type": "licensed",
        }
    body: Json = {
        "id": "sub_1",
        "object": "subscription",
        "customer": "cus_1",
        "status": "active",
        "currency": "usd",
        "items": {"object": "list", "has_more": False, "data": [row]},
        "collection_method": "charge_automatically",
        "created": T0 - 86_400,
        "start_date": T0 - 86_400,
        "cancel_at_period_end": False,
        "cancellation_details": {"reason": None, "feedback": None, "comment": None},
        "pause_collection": None,
        "default_payment_method": "pm_1",
        "latest_invoice": "in_1",
        "trial_end": None,
    }
    if version >= BASIL:
        row |= {"current_period_end": T0 + 2_592_000, "discounts": []}
        body["discounts"] = ["di_1"]
    else:
        body |= {"current_period_end": T0 + 2_592_000, "discount": discount(version)}
    return _over(body, over)


def discount(version: str = ENDIVE, **over: Any) -> Json:
    coupon = {"id": "HALF", "duration": "forever", "percent_off": 50.5, "amount_off": None, "currency": None}
    body: Json = {"id": "di_1", "object": "discount", "customer": "cus_1", "subscription": "sub_1"}
    body |= {"start": T0 - 86_400, "end": None}
    body |= {"source": {"type": "coupon", "coupon": coupon}} if version >= CLOVER else {"coupon": coupon}
    return _over(body, over)


def card(**over: Any) -> Json:
    body = {"brand": "visa", "last4": "4242", "exp_month": 8, "exp_year": 2030, "country": "US"}
    return _over(body | {"fingerprint": "fp_1", "funding": "credit"}, over)


def charge(version: str = ENDIVE, **over: Any) -> Json:
    """A declined one."""
    outcome: Json = {"type": "issuer_declined", "network_status": "declined_by_network", "reason": "insufficient_funds"}
    if version >= ACACIA:
        outcome |= {"advice_code": "try_again_later", "network_decline_code": "51", "network_advice_code": None}
    body: Json = {
        "id": "ch_1",
        "object": "charge",
        "customer": "cus_1",
        "amount": 2000,
        "amount_refunded": 0,
        "currency": "usd",
        "created": T0 - 5,
        "paid": False,
        "status": "failed",
        "disputed": False,
        "failure_code": "card_declined",
        "outcome": outcome,
        "payment_intent": "pi_1",
    }
    if version < BASIL:
        body["invoice"] = "in_1"
    if version > OLD:
        body |= {"payment_method": "pm_1", "payment_method_details": {"type": "card", "card": card()}}
    else:
        body["source"] = {"id": "pm_1", "object": "card", **card(brand="Visa")}
    return _over(body, over)


def payment_intent(version: str = ENDIVE, **over: Any) -> Json:
    """One whose payment was declined."""
    error: Json = {"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds"}
    error |= {"payment_method": {"id": "pm_1", "object": "payment_method", "type": "card", "card": card()}}
    if version >= ACACIA:
        error |= {"advice_code": "try_again_later", "network_decline_code": "51"}
    body: Json = {"id": "pi_1", "object": "payment_intent", "customer": "cus_1", "amount": 2000, "currency": "usd"}
    body |= {"status": "requires_payment_method", "last_payment_error": error}
    body |= {"latest_charge": "ch_1"} if version > OLD else {"charges": {"data": [charge(version)]}}
    if version < BASIL:
        body["invoice"] = "in_1"
    return _over(body, over)


def payment_method(**over: Any) -> Json:
    return _over({"id": "pm_1", "object": "payment_method", "customer": "cus_1", "type": "card", "card": card()}, over)


def customer(**over: Any) -> Json:
    body: Json = {"id": "cus_1", "object": "customer", "email": "ada@example.org", "name": "Ada", "currency": "usd"}
    body |= {"preferred_locales": ["de-AT"], "address": {"country": "AT"}}
    return _over(body | {"invoice_settings": {"default_payment_method": "pm_1"}}, over)


def invoice_payment(**over: Any) -> Json:
    body: Json = {"id": "inpay_1", "object": "invoice_payment", "invoice": "in_1", "amount_paid": 2000}
    body |= {"currency": "usd", "status": "paid", "payment": {"type": "payment_intent", "payment_intent": "pi_1"}}
    return _over(body, over)


def refund(**over: Any) -> Json:
    body = {"id": "re_1", "object": "refund", "charge": "ch_1", "payment_intent": "pi_1", "amount": 500}
    return _over(body | {"currency": "usd", "status": "succeeded"}, over)


def dispute(**over: Any) -> Json:
    body = {"id": "dp_1", "object": "dispute", "charge": "ch_1", "payment_intent": "pi_1", "reason": "fraudulent"}
    return _over(body | {"amount": 2000, "currency": "usd", "status": "needs_response"}, over)


def fraud_warning(**over: Any) -> Json:
    return _over({"id": "issfr_1", "object": "radar.early_fraud_warning", "charge": "ch_1", "fraud_type": "misc"}, over)


def one_of_each(version: str = ENDIVE) -> list[Json]:
    """One event for each shape that is read by a function of its own."""
    before = {"status": "trialing", "items": subscription(version)["items"]}
    told: list[tuple[str, Json, Json | None]] = [
        ("invoice.payment_failed", invoice(version), None),
        ("invoice.paid", invoice(version, status="paid", amount_paid=2000, amount_remaining=0), None),
        ("invoice_payment.paid", invoice_payment(), None),
        ("charge.failed", charge(version), None),
        ("charge.refunded", charge(version, amount_refunded=500), None),
        ("payment_intent.payment_failed", payment_intent(version), None),
        ("payment_method.attached", payment_method(), None),
        ("customer.source.updated", {"id": "card_1", "object": "card", "customer": "cus_1", **card()}, None),
        ("customer.updated", customer(), None),
        ("customer.subscription.updated", subscription(version), before),
        ("customer.discount.created", discount(version), None),
        ("refund.created", refund(), None),
        ("charge.dispute.created", dispute(), None),
        ("mandate.updated", {"id": "mandate_1", "object": "mandate", "payment_method": "pm_1"}, None),
    ]
    return [event(type, object, version=version, before=before) for type, object, before in told]


# ---------------------------------------------------------------- taking bodies apart


def paths(node: Any, here: Path = ()) -> Iterator[Path]:
    """The path of every value inside, parents before children."""
    rows = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in rows:
        yield (*here, key)
        yield from paths(child, (*here, key))


def at(node: Any, path: Path) -> Any:
    for step in path:
        node = node[step]
    return node


def put(node: Any, path: Path, value: Any) -> Any:
    """A copy with another value at the path; `GONE` removes it."""
    if not path:
        return value
    copy: Any = list(node) if isinstance(node, list) else dict(node)
    step, rest = path[0], path[1:]
    if not rest and value is GONE:
        del copy[step]
    else:
        copy[step] = put(copy[step], rest, value)
    return copy


def _over(body: Json, over: Json) -> Json:
    return {key: value for key, value in (body | over).items() if value is not GONE}
