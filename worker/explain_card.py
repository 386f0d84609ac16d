"""The card's part of a story: the retries a network rule refused, what is left of the budget, what going beyond costs.

`worker/explain.py` tells the whole story.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from billing.case import RecoveryCase
from billing.money import Amount
from billing.policy import Policy
from billing.retry.rules import Budget, Charging, Scope, in_force
from billing.words import are, counted
from worker import allowance
from worker.store import Owner

COUNTED = {
    Scope.CARD: "of this card",
    Scope.AMOUNT: "of this card and amount",
    Scope.INVOICE: "for this invoice",
}


def refusal(row: Row[Any]) -> tuple[datetime, str, str, str, str]:
    """(at, who, what, because, source) of a retry that was refused."""
    at_stake = f", {Amount(row.fee, row.fee_currency)} at stake" if row.fee is not None else ""
    used = f", {row.used} of {row.most} used" if row.most is not None else ""
    return row.at, "we", f"retry refused by the rule {row.rule}{used}{at_stake}", row.because, row.action_key


def budgets(db: Connection, owner: Owner, case: RecoveryCase, policy: Policy, now: datetime) -> list[dict[str, Any]]:
    """What every rule leaves of the card that was declined last, the smallest rest first."""
    found = allowance.budget_of(db, owner, policy, case, now)
    if found is None:
        return []
    asked, left = found
    return [{"card": asked.card, "brand": asked.charging.brand, **_budget(each)} for each in left]


def _budget(budget: Budget) -> dict[str, Any]:
    rule, fee = budget.rule, budget.fee
    days = f" in {counted(rule.days, 'day')}" if rule.days else ""
    most = counted(rule.most, "declined charge")
    left = f"{budget.remaining} of {most} {COUNTED[rule.scope]}{days} {are(budget.remaining)} left"
    again = f", the next one {budget.frees_at:%Y-%m-%d %H:%M} UTC" if budget.frees_at else ""
    cost = f"; a charge beyond costs {fee}" if fee else ""
    return {
        "rule": rule.name,
        "most": rule.most,
        "days": rule.days,
        "used": budget.used,
        "remaining": budget.remaining,
        "frees_at": budget.frees_at,
        "fee": {"minor": fee.minor, "currency": fee.currency, "text": str(fee)} if fee else None,
        "source": rule.source,
        "own": rule.own,
        "looser": rule.looser,
        "text": f"{rule.name}: {left}{again}{cost}",
    }


def own_rules(case: RecoveryCase, policy: Policy, now: datetime) -> list[str]:
    """The operator's own rules that hold for the card of this case, looser ones first, one sentence each."""
    charging = Charging(case.amount, case.brand, case.country)
    own = [rule for rule in in_force(policy.rules, charging, now.date()) if rule.own]
    return [
        f"own rule {rule.name}"
        + (f", LOOSER than the shipped one ({rule.looser})" if rule.looser else "")
        + f": {rule.because}; source: {rule.source}"
        for rule in sorted(own, key=lambda rule: (not rule.looser, rule.name))
    ]
