"""The plan of one recovery case: what the case tells, in the words of the model, under the limits of the policy.

`schedule.next_attempt` keeps its refusals and calls `planned` where it would ask the ladder.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from billing.case import RecoveryCase
from billing.policy import Policy
from billing.retry.belief import Facts, Try
from billing.retry.limits import declines_of
from billing.retry.model import Model
from billing.retry.plan import Choice, Limits, choose

DEBITS = frozenset({"sepa_debit", "us_bank_account", "bacs_debit", "au_becs_debit", "acss_debit", "nz_bank_account"})


@dataclass(frozen=True, slots=True)
class Known:
    """What the books know of the customer besides the case; None and empty: not known."""

    country: str | None = None  # of the issuer
    utc_offset_h: float | None = None
    funding: str | None = None  # credit, debit, prepaid
    interval: str | None = None
    tenure_months: int | None = None
    past_failures: int = 0
    past_recoveries: tuple[tuple[int, int], ...] = ()  # (day of the month, weekday)


NOTHING = Known()


def facts_of(case: RecoveryCase, known: Known = NOTHING) -> Facts:
    """The case as the model reads it. A refusal whose code is not kept is taken to repeat the newest one."""
    newest = case.decline
    tries = []
    for declined in declines_of(case):
        said = declined.decline if declined.decline.decline_code or declined.decline.code else newest
        code = (said.decline_code or said.code) if said else None
        advice = said.network_advice_code if said and case.brand == "mastercard" else None
        tries.append(Try(declined.at, False, code, advice))
    return Facts(
        tries=tuple(tries),
        deadline=case.deadline,
        amount=case.amount.minor,
        utc_offset_h=known.utc_offset_h,
        country=known.country,
        brand=case.brand,
        funding="bank" if case.brand in DEBITS else known.funding,
        interval=known.interval,
        tenure_months=known.tenure_months,
        past_failures=known.past_failures,
        past_recoveries=known.past_recoveries,
        card_updated_at=case.method_changed_at if case.card_changed else None,
    )


def planned(
    case: RecoveryCase,
    policy: Policy,
    model: Model,
    now: datetime,
    known: Known = NOTHING,
    floor: datetime | None = None,
    because: str = "",
    dice: float = 1.0,
) -> Choice:
    """The best next attempt. `floor`, `because`: before when a network rule forbids it, and which one."""
    facts = facts_of(case, known)
    last = max([case.last_failed_at, *(attempt.at for attempt in case.executed)])
    apart = last if facts.card_updated_at else last + policy.min_gap
    limits = Limits(
        not_before=max(filter(None, (now, apart, case.retry_not_before, floor))),
        deadline=case.deadline,
        attempts_left=policy.max_attempts - len(case.executed) - case.stripe_attempts,
        because=because,
        after_update=policy.after_card_change,
        avoid=(case.stripe_next_attempt, policy.stripe_distance) if case.stripe_next_attempt else None,
    )
    return choose(facts, model, limits, now, dice)
