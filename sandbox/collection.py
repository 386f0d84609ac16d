"""An invoice from draft to its end: finalised, attempted, paid, failed, retried by Stripe's own schedule, given up.

The order of events follows what Stripe sends for a renewal; `attempt_count` counts the first attempt of any kind
and after that only automatic ones.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sandbox import errors, payments, subscribing
from sandbox.clock import from_stamp
from sandbox.store import Obj, snapshot
from sandbox.world import AUTOMATIC, World

if TYPE_CHECKING:
    from sandbox.payments import Outcome


def finalize(world: World, invoice: Obj, auto_advance: bool | None = None) -> None:
    """Draft to open: number, hosted page, intent; a zero amount is paid at once."""
    if invoice["status"] != "draft":
        raise errors.refused(f"This invoice is already finalized, you can't re-finalize a {invoice['status']} invoice.")
    customer = world.store.get("customer", invoice["customer"])
    before = snapshot(invoice)
    if auto_advance is not None:
        invoice["auto_advance"] = auto_advance
    now = world.clock.stamp()
    number = customer["next_invoice_sequence"]
    customer["next_invoice_sequence"] += 1
    invoice |= {
        "status": "open",
        "number": f"{customer['invoice_prefix']}-{number:04d}",
        "effective_at": now,
        "automatically_finalizes_at": None,
        "hosted_invoice_url": f"{world.url}/i/{world.settings.account}/{invoice['id']}",
        "invoice_pdf": f"{world.url}/i/{world.settings.account}/{invoice['id']}/pdf",
    }
    invoice["status_transitions"]["finalized_at"] = now
    if invoice["collection_method"] == "send_invoice":
        invoice["due_date"] = invoice["due_date"] or now + 86_400 * (invoice["_days_until_due"] or 30)
        due = from_stamp(invoice["due_date"])
        world.agenda.at(due, lambda: _overdue(world, invoice), key=f"due:{invoice['id']}")
    elif invoice["auto_advance"] and invoice["amount_due"]:
        invoice["next_payment_attempt"] = now
    world.agenda.cancel(f"finalize:{invoice['id']}")
    if invoice["amount_due"]:
        _open_payment(world, invoice)
    world.events.emit("invoice.updated", invoice, before)
    world.events.emit("invoice.finalized", invoice)
    if not invoice["amount_due"]:
        mark_paid(world, invoice)


def _open_payment(world: World, invoice: Obj) -> Obj:
    """The default payment of an invoice: an intent and the invoice_payment that links the two."""
    intent = payments.new_intent(world, invoice["amount_due"], invoice["currency"], invoice["customer"], invoice)
    invoice["_payment_intent"] = intent["id"]
    link = {
        "id": world.store.new_id("inpay"),
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": invoice["amount_due"],
        "created": world.clock.stamp(),
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": world.settings.livemode,
        "payment": {"type": "payment_intent", "payment_intent": intent["id"]},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }
    invoice["_payments"].append(world.store.add(link)["id"])
    return intent


def method_for(world: World, invoice: Obj) -> Obj | None:
    """Stripe's order: the invoice's own, the subscription's, the customer's default, the old-style source."""
    own = invoice["default_payment_method"] or invoice["default_source"]
    if own:
        return world.store.find(own)
    subscription = world.store.find(subscription_id(invoice) or "")
    return method_of(world, subscription or {"customer": invoice["customer"]})


def method_of(world: World, subscription: Obj) -> Obj | None:
    """What the next invoice of a subscription would be paid with."""
    customer = world.store.get("customer", subscription["customer"])
    places = (
        subscription.get("default_payment_method"),
        subscription.get("default_source"),
        customer["invoice_settings"]["default_payment_method"],
        customer["default_source"],
    )
    return next((world.store.find(place) for place in places if place), None)


def subscription_id(invoice: Obj) -> str | None:
    parent = invoice["parent"] or {}
    found = (parent.get("subscription_details") or {}).get("subscription")
    return str(found) if found else None


def pay(world: World, invoice: Obj, method: Obj | None, on_session: bool, automatic: bool = False) -> Outcome:
    """One attempt to collect; strict mode refuses what Stripe refuses, hostile mode charges again."""
    if invoice["status"] == "draft":
        finalize(world, invoice)
        if invoice["status"] == "paid":
            return payments.Outcome.SUCCEEDED
    hostile = world.settings.hostile
    if not hostile:
        _refuse_if_ended(world, invoice)
    method = method or method_for(world, invoice)
    if method is None:
        raise errors.refused(
            "This customer has no attached payment source or default payment method. Please consider adding a "
            "default payment method.",
            "resource_missing",
        )
    intent = world.store.get("payment_intent", invoice["_payment_intent"]) if invoice["_payment_intent"] else None
    if intent is None or (hostile and intent["status"] in ("succeeded", "processing", "canceled")):
        intent = payments.new_intent(world, invoice["amount_due"], invoice["currency"], invoice["customer"], invoice)
        invoice["_payment_intent"] = intent["id"]
    return payments.attempt(world, intent, method, on_session, automatic)


def _refuse_if_ended(world: World, invoice: Obj) -> None:
    if invoice["status"] == "paid":
        raise errors.refused("Invoice is already paid")
    if invoice["status"] == "void":
        raise errors.refused("You cannot pay a voided invoice.", "invoice_not_editable")
    intent = world.store.find(invoice["_payment_intent"] or "")
    if intent is not None and intent["status"] == "processing":
        message = "The payment of this invoice is processing; wait until it ends."
        raise errors.refused(message, "payment_intent_unexpected_state", payment_intent=intent)


def after_attempt(world: World, invoice: Obj, intent: Obj, outcome: Outcome, automatic: bool) -> None:
    """What the bank's answer means for the invoice and its subscription."""
    before = snapshot(invoice)
    invoice["_charge"] = intent["latest_charge"]
    if invoice["status"] in ("paid", "void"):
        return  # hostile mode: the money moved once more, the invoice has its end already
    if automatic or not invoice["attempted"]:
        invoice["attempt_count"] += 1
    invoice["attempted"] = True
    if outcome is payments.Outcome.SUCCEEDED:
        mark_paid(world, invoice, before)
        return
    if outcome is payments.Outcome.PROCESSING:
        invoice["next_payment_attempt"] = None
        world.agenda.cancel(f"retry:{invoice['id']}")
        world.events.emit("invoice.updated", invoice, before)
        return
    failed(world, invoice, before, action=outcome is payments.Outcome.ACTION)


def failed(world: World, invoice: Obj, before: bytes, action: bool = False) -> None:
    plan_retry(world, invoice)
    world.events.emit("invoice.updated", invoice, before)
    world.events.emit("invoice.payment_failed", invoice)
    if action:
        world.events.emit("invoice.payment_action_required", invoice)
    subscribing.payment_failed(world, invoice)


def plan_retry(world: World, invoice: Obj) -> None:
    """Stripe's own next attempt, or its end action; none for a first invoice or one that does not advance."""
    dunning, now = world.settings.dunning, world.clock()
    key = f"retry:{invoice['id']}"
    first_of_all = invoice["billing_reason"] == "subscription_create"
    if not invoice["auto_advance"] or invoice["status"] != "open" or first_of_all:
        invoice["next_payment_attempt"] = None
        return
    first = from_stamp(invoice["_first_failure"] or world.clock.stamp())
    invoice["_first_failure"] = int(first.timestamp())
    ahead = [first + delay for delay in dunning.retries if first + delay > now]
    if ahead:
        invoice["next_payment_attempt"] = int(ahead[0].timestamp())
        world.agenda.at(ahead[0], lambda: _retry(world, invoice), key)
        return
    invoice["next_payment_attempt"] = None
    if dunning.retries:
        world.agenda.at(now, lambda: give_up(world, invoice), key)
    elif dunning.after is not None:
        world.agenda.at(max(now, first + dunning.after), lambda: give_up(world, invoice), key)


def collect(world: World, invoice: Obj) -> None:
    """Stripe's own attempt, when an invoice becomes payable or its retry is due."""
    with world.because(AUTOMATIC):
        if invoice["status"] != "open" or not invoice["auto_advance"]:
            return
        method = method_for(world, invoice)
        intent = world.store.find(invoice["_payment_intent"] or "")
        if intent is not None and intent["status"] == "processing":
            return
        dead = intent is not None and intent.get("_hard") and method is not None
        if method is None or (dead and intent is not None and _tried(world, intent) == method["id"]):
            before = snapshot(invoice)
            invoice["attempt_count"] += 1
            invoice["attempted"] = True
            failed(world, invoice, before)
            return
        pay(world, invoice, method, on_session=False, automatic=True)


def _tried(world: World, intent: Obj) -> str | None:
    charge = world.store.find(intent["latest_charge"] or "")
    return charge["payment_method"] if charge else intent.get("_tried")


def _retry(world: World, invoice: Obj) -> None:
    collect(world, invoice)


def give_up(world: World, invoice: Obj) -> None:
    """The merchant's setting for the end of retries."""
    with world.because(AUTOMATIC):
        if invoice["status"] != "open" or not invoice["auto_advance"]:
            return
        dunning = world.settings.dunning
        with world.changing(invoice, "invoice.updated"):
            invoice["auto_advance"] = False
            invoice["next_payment_attempt"] = None
        if dunning.invoice == "uncollectible":
            mark_uncollectible(world, invoice, "max_payment_attempts")
        subscribing.dunning_ended(world, invoice, dunning.end)


def mark_paid(world: World, invoice: Obj, before: bytes | None = None, out_of_band: bool = False) -> None:
    before = before or snapshot(invoice)
    now = world.clock.stamp()
    world.agenda.cancel(f"retry:{invoice['id']}")
    world.agenda.cancel(f"due:{invoice['id']}")
    invoice |= {
        "status": "paid",
        "amount_paid": invoice["amount_due"],
        "amount_paid_off_stripe": invoice["amount_due"] if out_of_band else 0,
        "amount_remaining": 0,
        "attempted": True,
        "next_payment_attempt": None,
        "auto_advance": False,
        "_paid_out_of_band": out_of_band,
    }
    invoice["status_transitions"]["paid_at"] = now
    link = world.store.find(invoice["_payments"][0]) if invoice["_payments"] else None
    if link is not None and out_of_band:
        link |= {"status": "canceled"}
        link["status_transitions"]["canceled_at"] = now
    elif link is not None:
        link |= {"status": "paid", "amount_paid": invoice["amount_due"]}
        link["payment"] = {"type": "payment_intent", "payment_intent": invoice["_payment_intent"]}
        link["status_transitions"]["paid_at"] = now
    world.events.emit("invoice.updated", invoice, before)
    world.events.emit("invoice.paid", invoice)
    world.events.emit("invoice.payment_succeeded", invoice)
    if link is not None and link["status"] == "paid":
        world.events.emit("invoice_payment.paid", link)
    subscribing.invoice_settled(world, invoice)


def pay_out_of_band(world: World, invoice: Obj) -> None:
    if not world.settings.hostile:
        _refuse_if_ended(world, invoice)
    if invoice["status"] == "draft":
        finalize(world, invoice)
    if invoice["_payment_intent"]:
        payments.cancel(world, world.store.get("payment_intent", invoice["_payment_intent"]))
    mark_paid(world, invoice, out_of_band=True)


def void(world: World, invoice: Obj) -> None:
    _end(world, invoice, "void", ("open", "uncollectible"), "voided_at")
    invoice["amount_remaining"] = 0
    world.events.emit("invoice.voided", invoice)
    subscribing.invoice_settled(world, invoice)


def mark_uncollectible(world: World, invoice: Obj, reason: str = "user_forgiven") -> None:
    _end(world, invoice, "uncollectible", ("open",), "marked_uncollectible_at")
    invoice["status_details"] = {"uncollectible": {"reason": reason}}
    world.events.emit("invoice.marked_uncollectible", invoice)


def _end(world: World, invoice: Obj, status: str, allowed: tuple[str, ...], stamp: str) -> None:
    if invoice["status"] not in allowed:
        raise errors.refused(
            f"You can only pass in invoices that are {' or '.join(allowed)}. This invoice is {invoice['status']}."
        )
    intent = world.store.find(invoice["_payment_intent"] or "")
    if status == "void" and intent is not None and intent["status"] == "processing":
        raise errors.refused("You cannot void an invoice while a payment of it is processing.", "invoice_not_editable")
    with world.changing(invoice, "invoice.updated"):
        invoice["status"] = status
        invoice["status_transitions"][stamp] = world.clock.stamp()
        invoice["next_payment_attempt"] = None
        invoice["auto_advance"] = False
    world.agenda.cancel(f"retry:{invoice['id']}")
    if intent is not None and status == "void":
        payments.cancel(world, intent, "void_invoice")


def _overdue(world: World, invoice: Obj) -> None:
    with world.because(AUTOMATIC):
        if invoice["status"] == "open":
            world.events.emit("invoice.overdue", invoice)
            subscribing.payment_failed(world, invoice)


def plan_finalizing(world: World, invoice: Obj, delay: timedelta | None = None) -> None:
    """A draft that advances by itself is finalised an hour later and attempted at once."""
    when = world.clock() + (world.settings.finalize_after if delay is None else delay)
    invoice["automatically_finalizes_at"] = int(when.timestamp())
    world.agenda.at(when, lambda: _advance(world, invoice), key=f"finalize:{invoice['id']}")


def _advance(world: World, invoice: Obj) -> None:
    with world.because(AUTOMATIC):
        if invoice["status"] == "draft" and invoice["auto_advance"]:
            finalize(world, invoice)
            if invoice["collection_method"] == "charge_automatically":
                collect(world, invoice)
            else:
                world.events.emit("invoice.sent", invoice)
