"""Past failures of an invented world (`sandbox/worlds.py`), whose bank answers by what is true there."""

from __future__ import annotations

from datetime import datetime

from billing.case import RecoveryCase
from billing.events.snapshots import Card, Decline
from billing.money import Amount
from billing.policy import Policy
from sandbox.issuer import Behaviour, Request, Verdict, decide, verdict
from sandbox.worlds import WORLDS, failed
from worker.rehearsal.replay import Bank, Past, Reply


def world(name: str, cases: int, seed: int) -> tuple[list[Past], Bank]:
    """The failures of a world, and its bank. Raises LookupError for a name that is none."""
    if name not in WORLDS:
        raise LookupError(f"no world {name}; there are: {', '.join(WORLDS)}")
    past: list[Past] = []
    truth: dict[str, Behaviour] = {}
    for each in failed(name, cases, seed):
        invoice = f"in_{name}{each.number:06d}"
        truth[invoice] = each.behaviour
        past.append(
            Past(
                invoice=invoice,
                customer=f"cus_{name}{each.number:06d}",
                failed_at=each.failed_at,
                amount=Amount(each.amount, each.currency),
                decline=_no(verdict(each.code, each.brand, "")),
                card=Card(brand=each.brand, country=each.country, funding=each.funding),
                interval="month",
                pays_at=each.pays_at,
                renewed_at=each.renewed_at,
            )
        )

    def bank(past: Past, case: RecoveryCase, policy: Policy, at: datetime) -> Reply:
        if past.renewed_at and past.renewed_at <= at:
            return Reply(1.0)
        asked = Request(case.amount.minor, case.amount.currency, past.card.brand or "visa", at, on_session=False)
        said = decide(truth[past.invoice], asked)
        return Reply(1.0) if said.approved else Reply(0.0, _no(said))

    return past, bank


def _no(said: Verdict) -> Decline:
    return Decline(
        said.error_code, said.decline_code, said.advice_code, said.network_decline_code, said.network_advice_code
    )
