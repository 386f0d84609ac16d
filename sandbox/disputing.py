"""What cardholders and card networks do after a charge: dispute it, win or lose, warn of fraud."""

from __future__ import annotations

from sandbox import charging
from sandbox.store import Obj
from sandbox.world import Cause, World


def open_dispute(world: World, charge: Obj, reason: str = "fraudulent", status: str = "needs_response") -> Obj:
    """The cardholder disputes a charge: the money is withdrawn."""
    with world.because(Cause("control")):
        now = world.clock.stamp()
        dispute: Obj = {
            "id": world.store.new_id("dp"),
            "object": "dispute",
            "amount": charge["amount"],
            "balance_transactions": [],
            "charge": charge["id"],
            "created": now,
            "currency": charge["currency"],
            "enhanced_eligibility_types": [],
            "evidence": {},
            "evidence_details": {
                "due_by": now + 14 * 86_400,
                "has_evidence": False,
                "past_due": False,
                "submission_count": 0,
            },
            "is_charge_refundable": False,
            "livemode": world.settings.livemode,
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "payment_method_details": {"card": {"brand": "visa", "network_reason_code": "10.4"}, "type": "card"},
            "reason": reason,
            "status": status,
        }
        world.store.add(dispute)
        with world.changing(charge, "charge.updated"):
            charge["disputed"] = True
        charging.record(world, "disputed", charge, None)
        world.events.emit("charge.dispute.created", dispute)
        world.events.emit("charge.dispute.funds_withdrawn", dispute)
        return dispute


def close_dispute(world: World, dispute: Obj, status: str) -> Obj:
    """The bank's decision: won, lost, warning_closed."""
    with world.because(Cause("control")):
        with world.changing(dispute, "charge.dispute.updated"):
            dispute["status"] = status
        world.events.emit("charge.dispute.closed", dispute)
        if status == "won":
            world.events.emit("charge.dispute.funds_reinstated", dispute)
        return dispute


def warn(world: World, charge: Obj) -> Obj:
    """An early fraud warning of the card network about a charge."""
    with world.because(Cause("control")):
        warning: Obj = {
            "id": world.store.new_id("issfr"),
            "object": "radar.early_fraud_warning",
            "actionable": True,
            "charge": charge["id"],
            "created": world.clock.stamp(),
            "fraud_type": "unauthorized_use_of_card",
            "livemode": world.settings.livemode,
            "payment_intent": charge["payment_intent"],
        }
        world.store.add(warning)
        world.events.emit("radar.early_fraud_warning.created", warning)
        return warning
