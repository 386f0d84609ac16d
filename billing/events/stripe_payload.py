"""The door for everything Stripe tells: a webhook body of any API version, whole or thin, becomes one `Event`.

`TYPES` at the bottom is the list of all event types we know, one line each; `known_types()` is what an endpoint
subscribes to. A thin body holds no object: `to_fetch` says which one to read, and `from_stripe` takes it as `fetched`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from billing.events import stripe_objects as read
from billing.events.occurrences import (
    ChargeDisputed,
    ChargeFailed,
    ChargeRefunded,
    ChargeSucceeded,
    CustomerSeen,
    DiscountSeen,
    Event,
    InvoiceFailed,
    InvoicePaid,
    InvoicePaymentPaid,
    InvoiceSeen,
    InvoiceUncollectible,
    InvoiceVoided,
    Noted,
    PaymentIntentSeen,
    PaymentMethodSeen,
    SubscriptionSeen,
    Unreadable,
    What,
)
from billing.events.reading import NOTHING, Reader
from billing.events.snapshots import PaymentMethod

THIN = "v1."
WON = frozenset({"won", "warning_closed", "prevented"})  # a dispute that ended in our favour; `lost` stays open


def from_stripe(
    payload: Mapping[str, Any], fetched: Mapping[str, Any] | None = None, *, account: str = "self"
) -> Event | None:
    """What a Stripe event says happened; None when its type is not one of ours.

    `payload` is the body of the webhook, or for a thin event also the event read from `/v2/core/events` (with its
    `changes`); `fetched` is the related object of a thin event, read with our pinned API version. `account` is used
    when the payload names no connected account. Raises `Unreadable`, and nothing else, whatever the JSON.
    """
    it = Reader(dict(payload)) if isinstance(payload, Mapping) else NOTHING
    told = it.get("type")
    if not isinstance(told, str):
        raise Unreadable("type is missing")
    type = told.removeprefix(THIN)
    build = TYPES.get(type) or THIN_ONLY.get(type)
    if build is None:
        return None
    try:
        return _event(it, type, build, dict(fetched) if isinstance(fetched, Mapping) else None, account)
    except Unreadable as lack:
        raise Unreadable(f"{type} {_printable(it.get('id'))}: {lack}") from None


def to_fetch(payload: Mapping[str, Any]) -> tuple[str, str] | None:
    """(object type, id) to read from Stripe before `from_stripe` can tell what this thin body means, else None."""
    it = Reader(dict(payload)) if isinstance(payload, Mapping) else NOTHING
    told, related = it.get("type"), it.inside("related_object")
    if not isinstance(told, str) or not _is_thin(it):
        return None
    type = told.removeprefix(THIN)
    build = TYPES.get(type) or THIN_ONLY.get(type)
    kind, id = related.get("type"), related.get("id")
    if build is None or build in ID_IS_ENOUGH or not isinstance(kind, str) or not isinstance(id, str):
        return None
    return kind, id


def known_types() -> frozenset[str]:
    """Every snapshot type we read: the `enabled_events` of a webhook endpoint.

    Thin destinations take the same names with `v1.` before them, except customer.source.*, and those of `THIN_ONLY`.
    """
    return frozenset(TYPES)


# ---------------------------------------------------------------- the envelope


def _event(it: Reader, type: str, build: Build, fetched: dict[str, Any] | None, account: str) -> Event:
    livemode, at = it.flag("livemode"), it.time("created")
    if livemode is None or at is None:
        raise Unreadable(f"{'livemode' if livemode is None else 'created'} is missing")
    thin = _is_thin(it)
    object = _related(it, build, fetched) if thin else it.inside("data.object")
    if not thin and not object.node:
        raise Unreadable("data.object is missing")
    before = it.inside("data.previous_attributes", "changes.before")
    context = it.text("context")  # of an organisation: org_1/acct_1, the account last
    return Event(
        id=it.need("id"),
        type=type,
        at=at,
        account=it.ref("account") or (context and context.rpartition("/")[2]) or account,
        livemode=livemode,
        what=build(News(type.rpartition(".")[2], object, before)),
        api_version=it.text("api_version"),
        # A request without a key, as a hosted page makes them, is somebody's all the same: its id says so.
        # Before 2017-05-25 `request` was a bare id, which no path leads into.
        caused_by=it.text("request.idempotency_key", "reason.request.idempotency_key")
        or it.text("request.id", "reason.request.id"),
        customer=_concerned(object, before),
        snapshot_id=it.ref("snapshot_event"),
    )


def _is_thin(it: Reader) -> bool:
    told = it.get("type")
    return it.get("object") == "v2.core.event" or (isinstance(told, str) and told.startswith(THIN))


def _related(it: Reader, build: Build, fetched: dict[str, Any] | None) -> Reader:
    """The object a thin event is about."""
    related = it.inside("related_object")
    if fetched is None:
        if build not in ID_IS_ENOUGH and related.node:
            raise Unreadable(f"related_object {related.need('id')} has to be fetched first")
        return Reader({"id": related.ref("id")})
    if related.node and related.need("id") != Reader(fetched).ref("id"):
        raise Unreadable("related_object is not the object that was fetched")
    return Reader(fetched)


def _concerned(it: Reader, before: Reader) -> str | None:
    """The customer, also where only a related object or the state before a detachment names it."""
    if it.get("object") == "customer":
        return it.ref("id")
    return (
        it.ref("customer", "customer_account", "charge.customer", "payment_intent.customer", "invoice.customer")
        or it.ref("payment.payment_intent.customer", "payment_method.customer")
        or before.ref("customer")
    )


def _printable(id: object) -> str:
    return id if isinstance(id, str) and id.isprintable() and len(id) <= 255 else "without a readable id"


# ---------------------------------------------------------------- one builder per kind of news


@dataclass(frozen=True, slots=True)
class News:
    """What a builder gets: the last word of the type, the object, and its values before the change."""

    change: str
    it: Reader
    before: Reader


def _invoice_failed(news: News) -> What:
    acting = news.change == "payment_action_required" or read.invoice_intent(news.it).get("status") == "requires_action"
    return InvoiceFailed(read.invoice(news.it), read.invoice_decline(news.it), acting)


def _invoice_paid(news: News) -> What:
    return InvoicePaid(read.invoice(news.it))


def _invoice_voided(news: News) -> What:
    return InvoiceVoided(read.invoice(news.it))


def _invoice_uncollectible(news: News) -> What:
    return InvoiceUncollectible(read.invoice(news.it), news.it.text("status_details.uncollectible.reason"))


def _invoice_seen(news: News) -> What:
    return InvoiceSeen(read.invoice(news.it))


def _invoice_payment_paid(news: News) -> What:
    return InvoicePaymentPaid(
        invoice=news.it.need("invoice"),
        payment_intent=news.it.ref("payment.payment_intent"),
        charge=news.it.ref("payment.charge", "payment.payment_intent.latest_charge"),
        outside_stripe=news.it.get("payment.type") == "payment_record"
        or news.it.get("payment.payment_record") is not None,
        amount=news.it.amount("amount_paid"),
    )


def _charge_failed(news: News) -> What:
    return ChargeFailed(read.charge(news.it))


def _charge_succeeded(news: News) -> What:
    return ChargeSucceeded(read.charge(news.it))


def _charge_updated(news: News) -> What:
    charge = read.charge(news.it)
    return ChargeSucceeded(charge) if charge.paid else Noted(charge.id, charge.customer)


def _charge_refunded(news: News) -> What:
    charge = read.charge(news.it)
    if charge.refunded is None:
        raise Unreadable("amount_refunded is missing")
    return ChargeRefunded(charge.id, charge.payment_intent, charge.customer, charge.refunded)


def _refund(news: News) -> What:
    charge, amount = news.it.ref("charge"), news.it.amount("amount")
    if charge is None:  # money given back outside Stripe, for a payment record
        return _noted(news)
    if amount is None:
        raise Unreadable("amount is missing")
    intent = news.it.ref("payment_intent", "charge.payment_intent")
    customer = news.it.ref("customer", "customer_account", "charge.customer", "payment_intent.customer")
    return ChargeRefunded(charge, intent, customer, amount, news.it.need("id"), news.it.text("status"))


def _dispute(news: News) -> What:
    status = news.it.text("status")
    return ChargeDisputed(
        charge=news.it.need("charge"),
        payment_intent=news.it.ref("payment_intent", "charge.payment_intent"),
        customer=news.it.ref("customer", "charge.customer", "payment_intent.customer"),
        status=status,
        open=status not in WON,
        reason=news.it.text("reason", "fraud_type"),
    )


def _intent(news: News) -> What:
    return PaymentIntentSeen(read.payment_intent(news.it))


def _method(news: News) -> What:
    return PaymentMethodSeen(read.payment_method(news.it), news.change)


def _source_created(news: News) -> What:
    return PaymentMethodSeen(read.payment_method(news.it), "attached")


def _set_up(news: News) -> What:
    """The customer made a method ready to be charged, which may have been attached long ago."""
    method = PaymentMethod(news.it.ref("payment_method") or news.it.need("id"), read.customer_id(news.it), None)
    return PaymentMethodSeen(method, "set_up")


def _customer(news: News) -> What:
    return CustomerSeen(read.customer(news.it), "default_payment_method" in news.before.inside("invoice_settings").node)


def _customer_deleted(news: News) -> What:
    return CustomerSeen(read.customer(news.it, deleted=True))


def _subscription(news: News) -> What:
    was = news.before.text("status")
    return SubscriptionSeen(read.subscription(news.it), news.change, was, read.previous_items(news.it, news.before))


def _discount(news: News) -> What:
    return DiscountSeen(
        news.it.ref("subscription"), read.customer_id(news.it), read.discount(news.it), news.change, news.it.ref("id")
    )


def _noted(news: News) -> What:
    return Noted(news.it.ref("id"), read.customer_id(news.it))


Build = Callable[[News], What]
ID_IS_ENOUGH: frozenset[Build] = frozenset({_noted, _customer_deleted})

TYPES: dict[str, Build] = {
    # failure and recovery
    "invoice.payment_failed": _invoice_failed,
    "invoice.payment_action_required": _invoice_failed,
    "invoice.overdue": _invoice_failed,
    "invoice.paid": _invoice_paid,
    "invoice.payment_succeeded": _invoice_paid,
    "invoice.voided": _invoice_voided,
    "invoice.marked_uncollectible": _invoice_uncollectible,
    "invoice.updated": _invoice_seen,
    "invoice.created": _invoice_seen,
    "invoice.finalized": _invoice_seen,
    "invoice.finalization_failed": _invoice_seen,
    "invoice.payment_attempt_required": _invoice_seen,
    "invoice.will_be_due": _invoice_seen,
    "invoice.overpaid": _invoice_seen,
    "invoice.upcoming": _noted,  # a preview, which has no id
    "invoice_payment.paid": _invoice_payment_paid,
    # reasons
    "charge.failed": _charge_failed,
    "charge.succeeded": _charge_succeeded,
    "charge.updated": _charge_updated,
    "payment_intent.payment_failed": _intent,
    "payment_intent.requires_action": _intent,
    "payment_intent.processing": _intent,
    "payment_intent.succeeded": _intent,
    "payment_intent.canceled": _intent,
    # what the customer mends
    "payment_method.attached": _method,
    "payment_method.updated": _method,
    "payment_method.automatically_updated": _method,
    "payment_method.detached": _method,
    "customer.source.created": _source_created,
    "customer.source.updated": _method,
    "customer.source.expiring": _method,
    "setup_intent.succeeded": _set_up,
    "setup_intent.setup_failed": _noted,
    "mandate.updated": _noted,
    "customer.created": _customer,
    "customer.updated": _customer,
    "customer.deleted": _customer_deleted,
    # state and recurring revenue
    "customer.subscription.created": _subscription,
    "customer.subscription.updated": _subscription,
    "customer.subscription.deleted": _subscription,
    "customer.subscription.paused": _subscription,
    "customer.subscription.resumed": _subscription,
    "customer.subscription.trial_will_end": _subscription,
    "customer.subscription.pending_update_applied": _subscription,
    "customer.subscription.pending_update_expired": _subscription,
    "customer.discount.created": _discount,
    "customer.discount.updated": _discount,
    "customer.discount.deleted": _discount,
    "subscription_schedule.created": _noted,
    "subscription_schedule.updated": _noted,
    "subscription_schedule.aborted": _noted,
    "subscription_schedule.canceled": _noted,
    "subscription_schedule.completed": _noted,
    "subscription_schedule.expiring": _noted,
    "subscription_schedule.released": _noted,
    "price.updated": _noted,
    "coupon.created": _noted,
    "coupon.updated": _noted,
    "coupon.deleted": _noted,
    # money given back
    "charge.refunded": _charge_refunded,
    "refund.created": _refund,
    "refund.updated": _refund,
    "refund.failed": _refund,
    "charge.dispute.created": _dispute,
    "charge.dispute.updated": _dispute,
    "charge.dispute.closed": _dispute,
    "charge.dispute.funds_withdrawn": _dispute,
    "charge.dispute.funds_reinstated": _dispute,
    "radar.early_fraud_warning.created": _dispute,
    "credit_note.created": _noted,
    "credit_note.voided": _noted,
    # housekeeping
    "account.application.deauthorized": _noted,
}

THIN_ONLY: dict[str, Build] = {
    "customer.subscription.active": _subscription,
    "customer.subscription.past_due": _subscription,
    "customer.subscription.unpaid": _subscription,
    "customer.subscription.incomplete": _subscription,
    "customer.subscription.incomplete_expired": _subscription,
    "customer.subscription.trialing": _subscription,
    "customer.subscription.item_added": _subscription,
    "customer.subscription.item_removed": _subscription,
    "customer.subscription.item_price_changed": _subscription,
    "customer.subscription.item_quantity_changed": _subscription,
    "customer.subscription.cancel_at_changed": _subscription,
    "customer.subscription.default_payment_method_changed": _subscription,
    "customer.discount.source_changed": _noted,  # names no object to read
    "invoice_payment.open": _noted,
    "invoice_payment.canceled": _noted,
    "price.activated": _noted,
    "price.deactivated": _noted,
    "subscription_schedule.phase_added": _noted,
    "subscription_schedule.phase_removed": _noted,
    "subscription_schedule.phase_end_date_changed": _noted,
    "subscription_schedule.phase_trial_end_changed": _noted,
}
