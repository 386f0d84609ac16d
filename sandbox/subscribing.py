"""The life of a subscription: begun, renewed, changed, past due, paused, ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from fractions import Fraction

from sandbox import collection, errors
from sandbox.clock import from_stamp
from sandbox.invoicing import add_item_lines, add_pending, drop_discounts, new_invoice, new_item, total_up
from sandbox.pricing import amount_of, period_end, round_half_up
from sandbox.store import Obj, snapshot
from sandbox.world import AUTOMATIC, World

ENDED = ("canceled", "incomplete_expired")
INCOMPLETE_LASTS = timedelta(hours=23)


@contextmanager
def changing(world: World, subscription: Obj) -> Iterator[None]:
    """Tell of the change made in the body; a new status is also a thin event of its own."""
    before, status = snapshot(subscription), subscription["status"]
    yield
    if snapshot(subscription) != before:
        world.events.emit("customer.subscription.updated", subscription, before)
    if subscription["status"] != status:
        told_status(world, subscription)


def told_status(world: World, subscription: Obj) -> None:
    if subscription["status"] not in ("canceled", "paused"):
        world.events.emit(f"customer.subscription.{subscription['status']}", subscription, thin_only=True)


def begin(world: World, subscription: Obj, behavior: str, method: Obj | None) -> None:
    """First period and first invoice of a subscription that was just created."""
    now = world.clock.stamp()
    trial = subscription["trial_end"] is not None and subscription["trial_end"] > now
    start_period(subscription, now, subscription["trial_end"] if trial else None)
    charge = subscription["collection_method"] == "charge_automatically"
    customer = world.store.get("customer", subscription["customer"])
    invoice = new_invoice(world, customer, subscription["currency"], "subscription_create", subscription)
    subscription["latest_invoice"] = invoice["id"]
    add_item_lines(world, invoice, subscription, free=trial)
    if not trial:
        add_pending(world, invoice)
    total_up(world, invoice)
    subscription["status"] = "trialing" if trial else "active"
    if invoice["amount_due"] and charge:
        subscription["status"] = "incomplete"
    world.events.emit("customer.subscription.created", subscription)
    told_status(world, subscription)
    world.events.emit("invoice.created", invoice)
    collection.finalize(world, invoice)
    if subscription["status"] == "incomplete":
        until = world.clock() + INCOMPLETE_LASTS
        world.agenda.at(until, lambda: _expire(world, subscription, invoice), f"expire:{subscription['id']}")
        if behavior != "default_incomplete" and method is not None:
            collection.pay(world, invoice, method, on_session=True)
    drop_discounts(world, subscription, used=True)
    plan_renewal(world, subscription)
    if trial:
        warn = from_stamp(subscription["trial_end"]) - timedelta(days=3)
        if warn > world.clock():
            world.agenda.at(warn, lambda: _trial_will_end(world, subscription))
        else:
            world.events.emit("customer.subscription.trial_will_end", subscription)


def start_period(subscription: Obj, start: int, end: int | None = None) -> None:
    for item in subscription["items"]:
        item["current_period_start"] = start
        anchor = subscription["billing_cycle_anchor"]
        item["current_period_end"] = end or period_end(anchor, start, item["price"]["recurring"])


def period_of(subscription: Obj) -> tuple[int, int]:
    ends = [(item["current_period_end"], item["current_period_start"]) for item in subscription["items"]]
    end, start = min(ends)
    return start, end


def plan_renewal(world: World, subscription: Obj) -> None:
    due = from_stamp(period_of(subscription)[1])
    if subscription["cancel_at"] is not None:
        due = min(due, from_stamp(subscription["cancel_at"]))
    world.agenda.at(due, lambda: renew(world, subscription), key=f"renew:{subscription['id']}")


def renew(world: World, subscription: Obj) -> None:
    """A period ended: cancel if that was asked, else bill the next one."""
    with world.because(AUTOMATIC):
        now = world.clock.stamp()
        status = subscription["status"]
        if status in ENDED or status in ("paused", "incomplete"):
            return
        if subscription["cancel_at_period_end"] or (subscription["cancel_at"] or now + 1) <= now:
            end(world, subscription, "cancellation_requested")
            return
        if status == "trialing" and not _may_start(world, subscription):
            return
        _bill_next_period(world, subscription, now)


def _may_start(world: World, subscription: Obj) -> bool:
    """What the trial's end does without a payment method."""
    settings = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if settings == "create_invoice" or collection.method_of(world, subscription) is not None:
        subscription["billing_cycle_anchor"] = world.clock.stamp()
        return True
    if settings == "cancel":
        end(world, subscription, "cancellation_requested")
    else:
        pause(world, subscription, "trial_end_without_payment_method")
    return False


def _bill_next_period(world: World, subscription: Obj, now: int) -> None:
    customer = world.store.get("customer", subscription["customer"])
    start, stop = period_of(subscription)
    with changing(world, subscription):
        if subscription["status"] == "trialing":
            subscription["status"] = "active"
        for item in subscription["items"]:
            if item["current_period_end"] <= now:
                item["current_period_start"] = item["current_period_end"]
                anchor, recurring = subscription["billing_cycle_anchor"], item["price"]["recurring"]
                item["current_period_end"] = period_end(anchor, item["current_period_start"], recurring)
        drop_discounts(world, subscription, used=False)
        invoice = new_invoice(world, customer, subscription["currency"], "subscription_cycle", subscription)
        invoice["period_start"], invoice["period_end"] = start, stop
        add_item_lines(world, invoice, subscription)
        add_pending(world, invoice)
        total_up(world, invoice)
        subscription["latest_invoice"] = invoice["id"]
        drop_discounts(world, subscription, used=True)
        collects = subscription["status"] != "unpaid" and subscription["pause_collection"] is None
        invoice["auto_advance"] = collects
        world.events.emit("invoice.created", invoice)
    if collects:
        collection.plan_finalizing(world, invoice)
    elif subscription["pause_collection"] is not None:
        _bill_while_paused(world, subscription, invoice)
    plan_renewal(world, subscription)


def _bill_while_paused(world: World, subscription: Obj, invoice: Obj) -> None:
    behavior = subscription["pause_collection"]["behavior"]
    if behavior == "keep_as_draft":
        return
    collection.finalize(world, invoice, auto_advance=False)
    if invoice["status"] == "open" and behavior == "void":
        collection.void(world, invoice)
    elif invoice["status"] == "open":
        collection.mark_uncollectible(world, invoice, "subscription_paused")


def payment_failed(world: World, invoice: Obj) -> None:
    """A failed invoice makes its subscription past due; a failed first one leaves it incomplete."""
    subscription = _of(world, invoice)
    if subscription is None or subscription["status"] not in ("active", "trialing"):
        return
    if subscription["latest_invoice"] == invoice["id"]:
        with changing(world, subscription):
            subscription["status"] = "past_due"


def invoice_settled(world: World, invoice: Obj) -> None:
    """The latest invoice was paid or voided: the subscription is in order again."""
    subscription = _of(world, invoice)
    if subscription is None or subscription["latest_invoice"] != invoice["id"]:
        return
    if invoice["status"] == "paid" and subscription["status"] in ("incomplete", "past_due", "unpaid", "paused"):
        with changing(world, subscription):
            paused = subscription["status"] == "paused"
            subscription["status"] = "active"
            subscription["status_details"] = None
        if paused:
            world.events.emit("customer.subscription.resumed", subscription)
            plan_renewal(world, subscription)
    elif invoice["status"] == "void" and subscription["status"] in ("past_due", "unpaid"):
        with changing(world, subscription):
            subscription["status"] = "active"


def dunning_ended(world: World, invoice: Obj, how: str) -> None:
    subscription = _of(world, invoice)
    if subscription is None or subscription["status"] in ENDED:
        return
    if how == "cancel":
        end(world, subscription, "payment_failed")
    elif how == "unpaid":
        with changing(world, subscription):
            subscription["status"] = "unpaid"
    elif how == "pause":
        pause(world, subscription, "final_payment_failure")


def pause(world: World, subscription: Obj, reason: str) -> None:
    before = snapshot(subscription)
    subscription["status"] = "paused"
    subscription["status_details"] = {
        "paused": {"subscription": {"type": reason}, "transitioned_at": world.clock.stamp(), "type": "subscription"}
    }
    world.events.emit("customer.subscription.updated", subscription, before)
    world.events.emit("customer.subscription.paused", subscription)


def resume(world: World, subscription: Obj) -> None:
    """Paused to active: a new period begins now and is billed at once."""
    if subscription["status"] != "paused":
        raise errors.refused("You can only resume a paused subscription.", "subscription_not_paused")
    now = world.clock.stamp()
    with changing(world, subscription):
        subscription |= {"status": "active", "status_details": None, "billing_cycle_anchor": now}
        start_period(subscription, now)
    world.events.emit("customer.subscription.resumed", subscription)
    bill_now(world, subscription, with_items=True)
    plan_renewal(world, subscription)


def unpause(world: World, subscription: Obj) -> None:
    """The date came until which collection was paused."""
    with world.because(AUTOMATIC), changing(world, subscription):
        subscription["pause_collection"] = None


def bill_now(world: World, subscription: Obj, with_items: bool) -> None:
    """An invoice between renewals: finalised and attempted at once."""
    customer = world.store.get("customer", subscription["customer"])
    invoice = new_invoice(world, customer, subscription["currency"], "subscription_update", subscription)
    if with_items:
        add_item_lines(world, invoice, subscription)
    add_pending(world, invoice)
    total_up(world, invoice)
    with changing(world, subscription):
        subscription["latest_invoice"] = invoice["id"]
    world.events.emit("invoice.created", invoice)
    collection.finalize(world, invoice)
    if invoice["status"] == "open" and invoice["collection_method"] == "charge_automatically":
        method = collection.method_for(world, invoice)
        if method is not None:
            collection.pay(world, invoice, method, on_session=False)


def prorate(world: World, subscription: Obj, old: list[tuple[Obj, int, int, int]]) -> None:
    """Pending credit for the unused rest of what was paid, and a charge for the rest of what is had now.

    `old` holds (price, quantity, period start, period end) of the changed items before the change.
    """
    now = world.clock.stamp()
    current = {item["id"]: item for item in subscription["items"]}
    for price, quantity, start, stop in old:
        _proration(world, subscription, price, quantity, -1, now, start, stop)
    for item in current.values():
        if item.pop("_changed", False):
            start, stop = item["current_period_start"], item["current_period_end"]
            if start < now:
                _proration(world, subscription, item["price"], item["quantity"], 1, now, start, stop)


def _proration(
    world: World, subscription: Obj, price: Obj, quantity: int, sign: int, now: int, start: int, stop: int
) -> None:
    share = Fraction(max(0, stop - now), max(1, stop - start))
    amount = sign * round_half_up(amount_of(price, quantity or 0) * share)
    if amount:
        text = "Unused time" if sign < 0 else "Remaining time"
        item = new_item(world, subscription["customer"], subscription["currency"], amount, text)
        item |= {"proration": True, "quantity": quantity or 1, "_price": price["id"]}
        item |= {"_subscription": subscription["id"], "period": {"start": now, "end": stop}}
        item["parent"] = {"subscription_details": {"subscription": subscription["id"]}, "type": "subscription_details"}
        world.events.emit("invoiceitem.created", item)


def end(world: World, subscription: Obj, reason: str, comment: str | None = None, feedback: str | None = None) -> None:
    now = world.clock.stamp()
    for key in ("renew", "expire"):
        world.agenda.cancel(f"{key}:{subscription['id']}")
    subscription |= {"status": "canceled", "ended_at": now, "canceled_at": subscription["canceled_at"] or now}
    details = subscription["cancellation_details"]
    details["reason"] = reason
    details["comment"], details["feedback"] = comment or details["comment"], feedback or details["feedback"]
    world.events.emit("customer.subscription.deleted", subscription)
    for invoice in list(world.store.all("invoice")):
        drafts = invoice["status"] in ("draft", "open") and invoice["auto_advance"]
        if drafts and collection.subscription_id(invoice) == subscription["id"]:
            with world.changing(invoice, "invoice.updated"):
                invoice["auto_advance"] = False
                invoice["next_payment_attempt"] = None
            world.agenda.cancel(f"retry:{invoice['id']}")


def _expire(world: World, subscription: Obj, invoice: Obj) -> None:
    with world.because(AUTOMATIC):
        if subscription["status"] != "incomplete":
            return
        with changing(world, subscription):
            subscription |= {"status": "incomplete_expired", "ended_at": world.clock.stamp()}
        if invoice["status"] == "open":
            collection.void(world, invoice)


def _trial_will_end(world: World, subscription: Obj) -> None:
    with world.because(AUTOMATIC):
        if subscription["status"] == "trialing":
            world.events.emit("customer.subscription.trial_will_end", subscription)


def _of(world: World, invoice: Obj) -> Obj | None:
    id = collection.subscription_id(invoice)
    subscription = world.store.find(id) if id else None
    return None if subscription is None or subscription["status"] in ENDED else subscription


def settle_history(world: World, subscription: Obj, at: int) -> Obj:
    """A paid invoice of the past, for a subscription that existed before anybody listened; no events, no bank."""
    customer = world.store.get("customer", subscription["customer"])
    invoice = new_invoice(world, customer, subscription["currency"], "subscription_cycle", subscription)
    add_item_lines(world, invoice, subscription)
    total_up(world, invoice)
    invoice |= {"created": at, "period_start": at, "period_end": at, "effective_at": at, "attempted": True}
    invoice |= {"status": "paid", "amount_paid": invoice["amount_due"], "amount_remaining": 0, "attempt_count": 1}
    invoice |= {
        "auto_advance": False,
        "number": f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}",
    }
    customer["next_invoice_sequence"] += 1
    invoice["status_transitions"] |= {"finalized_at": at, "paid_at": at}
    subscription["latest_invoice"] = invoice["id"]
    return invoice
