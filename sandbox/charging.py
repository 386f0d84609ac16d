"""Charges: what was asked of the bank in Stripe's shape, and every one of them in the money log."""

from __future__ import annotations

from sandbox.bank import Movement
from sandbox.declines import message
from sandbox.events import iso
from sandbox.issuer import Verdict
from sandbox.store import Obj
from sandbox.world import World

KEPT = ("brand", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4")


def new_charge(world: World, intent: Obj, method: Obj) -> Obj:
    id = world.store.new_id("ch")
    charge = {
        "id": id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": "SANDBOX",
        "captured": False,
        "created": world.clock.stamp(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": world.settings.livemode,
        "metadata": {},
        "on_behalf_of": None,
        "outcome": {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": None,
            "reason": None,
            "risk_level": "normal",
            "seller_message": None,
            "type": "authorized",
        },
        "paid": False,
        "payment_intent": intent["id"] if intent["object"] == "payment_intent" else None,
        "payment_method": method["id"],
        "payment_method_details": _details(method),
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "failed",
        "transfer_data": None,
        "transfer_group": None,
        "_invoice": intent.get("_invoice"),
    }
    return world.store.add(charge)


def conclude(world: World, charge: Obj, answer: Verdict) -> None:
    """Book the bank's answer on the charge."""
    before_settling = charge["status"] == "pending"
    if answer.approved:
        charge |= {
            "status": "succeeded",
            "paid": True,
            "captured": True,
            "amount_captured": charge["amount"],
            "balance_transaction": world.store.new_id("txn"),
            "receipt_url": f"{world.url}/receipts/{charge['id']}",
        }
        charge["outcome"] |= {
            "network_status": "approved_by_network",
            "seller_message": "Payment complete.",
            "type": "authorized",
        }
        return
    blocked = answer.decline_code == "highest_risk_level"
    charge |= {
        "status": "failed",
        "paid": False,
        "captured": False,
        "failure_code": answer.error_code,
        "failure_message": message(answer.decline_code or ""),
    }
    charge["outcome"] |= {
        "advice_code": answer.advice_code,
        "network_advice_code": answer.network_advice_code,
        "network_decline_code": None if before_settling or blocked else answer.network_decline_code,
        "network_status": "not_sent_to_network" if blocked else "declined_by_network",
        "reason": answer.decline_code,
        "seller_message": "The bank did not return any further details with this decline.",
        "type": "blocked" if blocked else "issuer_declined",
    }


def record(world: World, outcome: str, charge: Obj, decline_code: str | None) -> None:
    """Write one line of the money log about a charge."""
    _write(world, outcome, charge["amount"], charge, charge["id"], charge["payment_intent"], decline_code)


def record_intent(world: World, outcome: str, intent: Obj) -> None:
    _write(world, outcome, intent["amount"], intent, None, intent["id"], None)


def _write(
    world: World, outcome: str, amount: int, obj: Obj, charge: str | None, intent: str | None, code: str | None
) -> None:
    cause, bank = world.cause, world.bank
    movement = Movement(
        n=len(bank.movements) + 1,
        at=iso(world.clock()),
        outcome=outcome,
        amount=amount,
        currency=obj["currency"],
        charge=charge,
        payment_intent=intent,
        invoice=obj.get("_invoice"),
        customer=obj["customer"],
        payment_method=obj["payment_method"],
        decline_code=code,
        source=cause.source,
        key=cause.key,
        body=cause.body,
    )
    bank.record(movement)


def fingerprint(method: Obj) -> str:
    details = method[method["type"]]
    return str(details["fingerprint"])


def _details(method: Obj) -> Obj:
    kind = method["type"]
    if kind != "card":
        return {kind: dict(method[kind]), "type": kind}
    card = method["card"]
    shown = {name: card[name] for name in KEPT}
    shown |= {
        "authorization_code": None,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": None},
        "installments": None,
        "mandate": None,
        "network": card["brand"],
        "network_token": {"used": False},
        "network_transaction_id": None,
        "regulated_status": "unregulated",
        "three_d_secure": None,
        "wallet": None,
    }
    return {"card": shown, "type": "card"}
