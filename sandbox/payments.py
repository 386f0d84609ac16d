"""Payment intents and charges: one attempt to take money, whoever asked for it.

`attempt` is the only way to the issuer; what it says is booked on the charge by `charging.py`, and what it means for
an invoice is decided in `collection.py`, which in turn comes here to attempt.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from sandbox import charging, collection, disputing, errors
from sandbox.declines import message
from sandbox.issuer import AUTHENTICATION, Request, Verdict
from sandbox.store import Obj
from sandbox.world import Cause, World


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    ACTION = "requires_action"
    PROCESSING = "processing"


def new_intent(world: World, amount: int, currency: str, customer: str | None, invoice: Obj | None = None) -> Obj:
    id = world.store.new_id("pi")
    intent: Obj = {
        "id": id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"{id}_secret_{world.store.new_id('x')[2:]}",
        "confirmation_method": "automatic",
        "created": world.clock.stamp(),
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "description": "Subscription update" if invoice else None,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": world.settings.livemode,
        "managed_payments": {"enabled": False},
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "payment_record": None,
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": "off_session" if invoice else None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
        "_invoice": invoice["id"] if invoice else None,
        "_authenticated": False,
    }
    world.store.add(intent)
    world.events.emit("payment_intent.created", intent)
    return intent


def attempt(world: World, intent: Obj, method: Obj, on_session: bool, automatic: bool = False) -> Outcome:
    """Ask the bank once, tell everybody, and let the invoice know."""
    behaviour = world.issuer.of(method["id"])
    intent["payment_method"] = method["id"]
    intent["payment_method_types"] = [method["type"]]
    challenged = behaviour.challenge == "always" or (behaviour.challenge == "off_session" and not on_session)
    if challenged and not intent["_authenticated"]:
        outcome = _challenge(world, intent, method)
    elif behaviour.settles_after is not None or world.force_processing is not None:
        delay = world.force_processing if world.force_processing is not None else behaviour.settles_after
        outcome = _submit(world, intent, method, delay or timedelta())
    else:
        answer = _ask(world, intent, method, on_session or intent["_authenticated"])
        outcome = _conclude(world, intent, method, answer)
    if intent["_invoice"] is not None:
        collection.after_attempt(world, world.store.get("invoice", intent["_invoice"]), intent, outcome, automatic)
    return outcome


def _ask(world: World, intent: Obj, method: Obj, on_session: bool) -> Verdict:
    details = method.get("card") or {}
    request = Request(intent["amount"], intent["currency"], details.get("brand", "bank"), world.clock(), on_session)
    return world.issuer.ask(method["id"], charging.fingerprint(method), request)


def _conclude(world: World, intent: Obj, method: Obj, answer: Verdict, charge: Obj | None = None) -> Outcome:
    """The bank's yes or no, booked on the charge and the intent."""
    if charge is None:
        charge = charging.new_charge(world, intent, method)
    charging.conclude(world, charge, answer)
    charging.record(world, "charged" if answer.approved else "declined", charge, answer.decline_code)
    world.events.emit("charge.succeeded" if answer.approved else "charge.failed", charge)
    intent["latest_charge"] = charge["id"]
    intent["processing"] = None
    intent["next_action"] = None
    if answer.approved:
        intent |= {"status": "succeeded", "amount_received": intent["amount"], "last_payment_error": None}
        world.events.emit("payment_intent.succeeded", intent)
        if reason := method.get("_dispute"):
            disputing.open_dispute(world, charge, reason, method["_dispute_status"])
        return Outcome.SUCCEEDED
    intent["last_payment_error"] = _last_error(method, answer, charge)
    intent["_hard"] = answer.hard
    intent["_authenticated"] = False
    if answer.decline_code == AUTHENTICATION and intent["_invoice"] is not None:
        intent |= {"status": "requires_action", "next_action": {"type": "use_stripe_sdk", "use_stripe_sdk": {}}}
        world.events.emit("payment_intent.requires_action", intent)
        return Outcome.ACTION
    intent |= {"status": "requires_payment_method", "payment_method": None, "_tried": method["id"]}
    world.events.emit("payment_intent.payment_failed", intent)
    return Outcome.DECLINED


def _challenge(world: World, intent: Obj, method: Obj) -> Outcome:
    """The customer must authenticate before the bank is asked at all."""
    intent |= {
        "status": "requires_action",
        "next_action": {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}},
        "last_payment_error": None,
        "_hard": True,
        "_tried": method["id"],
    }
    charging.record_intent(world, "authentication", intent)
    world.events.emit("payment_intent.requires_action", intent)
    return Outcome.ACTION


def _submit(world: World, intent: Obj, method: Obj, delay: timedelta) -> Outcome:
    """A bank debit: under way now, known days later."""
    charge = charging.new_charge(world, intent, method)
    charge |= {"status": "pending", "paid": False, "captured": True}
    charge["outcome"] |= {"network_status": "approved_by_network", "type": "authorized"}
    intent |= {"status": "processing", "latest_charge": charge["id"], "last_payment_error": None}
    intent["processing"] = {"type": method["type"]}
    charging.record(world, "processing", charge, None)
    world.events.emit("charge.pending", charge)
    world.events.emit("payment_intent.processing", intent)
    world.agenda.at(world.clock() + delay, lambda: settle(world, intent, method, charge), key=f"settle:{charge['id']}")
    return Outcome.PROCESSING


def settle(world: World, intent: Obj, method: Obj, charge: Obj) -> None:
    """The bank's answer to a debit arrives."""
    with world.because(Cause("settlement")):
        if charge["status"] != "pending":
            return
        outcome = _conclude(world, intent, method, _ask(world, intent, method, on_session=True), charge)
        if intent["_invoice"] is not None:
            invoice = world.store.get("invoice", intent["_invoice"])
            collection.after_attempt(world, invoice, intent, outcome, automatic=False)


def authenticate(world: World, intent: Obj, success: bool) -> Outcome:
    """What the customer did with the challenge; the attempt goes on or fails."""
    if intent["status"] != "requires_action":
        raise errors.refused("The intent is not waiting for the customer.", "payment_intent_unexpected_state")
    method = world.store.get("payment_method", intent["payment_method"])
    if success:
        intent["_authenticated"] = True
        return attempt(world, intent, method, on_session=True)
    answer = Verdict("authentication_not_handled", "payment_intent_authentication_failure", because="not confirmed")
    intent["last_payment_error"] = _last_error(method, answer, None)
    intent |= {"status": "requires_payment_method", "payment_method": None, "next_action": None}
    world.events.emit("payment_intent.payment_failed", intent)
    return Outcome.DECLINED


def cancel(world: World, intent: Obj, reason: str | None = None) -> None:
    """Give the intent up; nothing happens when it has already ended."""
    if intent["status"] in ("succeeded", "canceled"):
        return
    intent |= {"status": "canceled", "canceled_at": world.clock.stamp(), "cancellation_reason": reason}
    world.events.emit("payment_intent.canceled", intent)


def failure(world: World, intent: Obj, outcome: Outcome) -> errors.StripeError:
    """The 402 that the caller of a failed attempt gets."""
    error = intent["last_payment_error"] or {}
    if outcome is Outcome.ACTION and not error:
        text = "This payment requires additional user action before it can be completed successfully."
        code = "invoice_payment_intent_requires_action" if intent["_invoice"] else "authentication_required"
        return errors.StripeError(402, "card_error", text, code=code, payment_intent=intent)
    fields = {name: value for name, value in error.items() if name not in ("type", "message", "payment_method")}
    tried = world.store.find(intent.get("_tried") or "")
    return errors.StripeError(
        402, "card_error", error["message"], **fields, payment_intent=intent, payment_method=tried
    )


def _last_error(method: Obj, answer: Verdict, charge: Obj | None) -> Obj:
    code = answer.error_code or "card_declined"
    error: Obj = {
        "charge": charge["id"] if charge else None,
        "code": code,
        "decline_code": answer.decline_code,
        "advice_code": answer.advice_code,
        "network_advice_code": answer.network_advice_code,
        "network_decline_code": answer.network_decline_code,
        "doc_url": errors.DOCS + code.replace("_", "-"),
        "message": message(answer.decline_code or ""),
        "payment_method": {name: value for name, value in method.items() if not name.startswith("_")},
        "type": "card_error" if method["type"] == "card" else "invalid_request_error",
    }
    return {name: value for name, value in error.items() if value is not None}
