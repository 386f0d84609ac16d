"""Choose the next payment attempt of a case, or say why there is none.

The refusals come first, whatever chooses the time: the model that learns (`learned.py`), or a ladder per decline class
where the policy says so or the model has too little to go by. The rules of the networks are data
(`config/network_rules.toml`) and are asked again before every request.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from billing.case import NO_SILENT_RETRY, RecoveryCase
from billing.declines import DeclineClass
from billing.operator import ASKED
from billing.policy import SENTENCES, Mode, Policy, Strategy
from billing.retry.learned import Plan, planned
from billing.retry.limits import case_ruling
from billing.retry.rules import Effect, Never, NotBefore, Ruling
from billing.words import are, counted, span

NO_BACKUP = "no-other-saved-method"  # stands where a rule's name would


@dataclass(frozen=True, slots=True)
class Wait:
    """`until` is when to act; None means not at all, for the reason given. `backup`: with another saved method.

    `plan`: what the model foretold, None when it was not the model that chose the time.
    """

    until: datetime | None
    because: str
    backup: bool = False
    plan: Plan | None = None


def refuse(case: RecoveryCase, policy: Policy) -> str | None:
    """Why this case gets no attempt at all for now, None if it may have one."""
    return _barred(case, policy) or _method_done(case) or _stripes_turn(case, policy)


def _barred(case: RecoveryCase, policy: Policy) -> str | None:
    """What forbids an attempt with any payment method."""
    if not case.live:
        return f"the case has ended: {case.because}"
    if not policy.mode.charges:
        return f"mode {policy.mode}: {SENTENCES[policy.mode]}"
    if case.disputed_at:
        return "a charge of this customer is disputed"
    if case.operator.held:
        return "an operator holds this case"
    if case.operator.outside:
        return "the invoice is being marked as paid outside Stripe"
    if case.paused_at:
        return "collection is paused at Stripe"
    if case.in_flight:
        return "an attempt is under way and its end is not known"
    if case.under_way:
        return "a payment of this invoice is being processed at Stripe"
    if case.collection_method == "send_invoice":
        return "the customer pays this invoice by hand: there is no card to charge"
    made = len(case.executed) + case.stripe_attempts
    # A method that the customer has just brought was never tried: the cap is about asking the same bank again.
    if made >= policy.max_attempts and not (case.card_changed and policy.max_attempts):
        return f"{counted(made, 'attempt')} {'was' if made == 1 else 'were'} made, {policy.max_attempts} is the cap"
    return None


def _method_done(case: RecoveryCase) -> str | None:
    """What forbids an attempt with this payment method, as long as it does not change."""
    if case.decline_class in NO_SILENT_RETRY and not case.card_changed:
        return f"no silent retry: {case.decline_because}"
    if case.max_tries is not None and case.tries_of_card >= case.max_tries and not case.card_changed:
        most = counted(case.max_tries, "attempt")
        return f"after this answer of the bank at most {most} {are(case.max_tries)} made: {case.decline_because}"
    if case.refused and case.refused.until is None:
        return case.refused.because
    return None


def _stripes_turn(case: RecoveryCase, policy: Policy) -> str | None:
    if policy.mode is Mode.OWN and case.stripe_next_attempt:
        return f"Stripe itself will try at {_minute(case.stripe_next_attempt)}: two drivers never"
    return None


def next_attempt(case: RecoveryCase, policy: Policy, now: datetime) -> Wait:
    """When to try this invoice again, or why not."""
    ruling = case_ruling(case, policy, now)
    because = refuse(case, policy) or (ruling.because if isinstance(ruling, Never) else None)
    if backup := next_backup(case, policy, ruling, now):
        return backup
    if because:
        return Wait(None, because)
    allowed = max(_allowed_from(case, ruling), default=None)
    last = max((attempt.at for attempt in case.executed), default=None)
    changed = case.method_changed_at if case.card_changed else None
    if changed and (last is None or last < changed):
        due = max(filter(None, (now, changed + policy.after_card_change, allowed)))
        return _in_bounds(case, policy, due, now, "the card was changed")
    if asked := case.operator.retry_due(max(filter(None, (last, case.last_failed_at))), now):
        due = max(filter(None, (asked, case.retry_not_before, allowed)))
        return _in_bounds(case, policy, due, now, ASKED)
    if policy.retry.strategy is Strategy.LADDER:
        return _by_ladder(case, policy, ruling, now)
    plan = planned(case, policy, now)
    if isinstance(plan, str):
        wait = _by_ladder(case, policy, ruling, now)
        return Wait(wait.until, f"{wait.because}; by the ladder, since {plan}")
    if plan.at is None:
        return Wait(None, plan.because)
    wait = _in_bounds(case, policy, plan.at, now, plan.because)
    return Wait(wait.until, wait.because, plan=plan)


def _by_ladder(case: RecoveryCase, policy: Policy, ruling: Ruling, now: datetime) -> Wait:
    last = max((attempt.at for attempt in case.executed), default=None)
    # The last failure may be of an attempt that Stripe or the customer made.
    tried = max(filter(None, (last, case.last_failed_at)))
    held = held_until(case, policy)
    floor = max(filter(None, (case.retry_not_before, tried + policy.min_gap, held, *_allowed_from(case, ruling))))
    for rung, wait in enumerate(policy.ladders.get(case.decline_class, ()), start=1):
        due = max(case.failed_at + wait, floor)
        # A rung that was missed by more than a day, or that an attempt has used up, is left out, not caught up.
        if (last is None or case.failed_at + wait > last) and due > now - policy.min_gap:
            because = f"rung {rung} of the ladder for {case.decline_class}, {span(wait)} after the failure"
            if floor > case.failed_at + wait:
                because += f"; not before {_minute(floor)}, for {_reason(case, policy, ruling, floor)}"
            return _in_bounds(case, policy, due, now, because)
    return Wait(None, f"the ladder for {case.decline_class} is finished; waiting for the customer until the deadline")


def held_until(case: RecoveryCase, policy: Policy) -> datetime | None:
    """How long the customer is left alone: to the end of the day that he named, and the policy's grace."""
    return case.promised_until + policy.promise_grace if case.promised_until else None


def next_backup(case: RecoveryCase, policy: Policy, ruling: Ruling, now: datetime) -> Wait | None:
    """When to try another saved method of the customer: once the usual one is done for, and the policy allows it.

    Each saved method is tried once; after the first of them the usual one is left alone until it changes.
    """
    if not policy.backup_methods or _barred(case, policy) or _stripes_turn(case, policy):
        return None
    if case.refused and case.refused.rule == NO_BACKUP:
        return Wait(None, case.refused.because)
    if not case.backup_tried and not _needs_another(case, policy, ruling):
        return None
    last = max([case.last_failed_at, *(attempt.at for attempt in case.executed)])
    because = f"another saved payment method; the usual one cannot be charged: {case.decline_because or case.because}"
    held = held_until(case, policy)
    due = max(last + policy.after_card_change, (case.refused and case.refused.until) or last, held or last)
    wait = _in_bounds(case, policy, due, now, because)
    return Wait(wait.until, wait.because, backup=True)


def _needs_another(case: RecoveryCase, policy: Policy, ruling: Ruling) -> bool:
    """Whether the payment method, and not the customer or the time, is what stands in the way."""
    if case.decline_class in (DeclineClass.DEAD_CARD, DeclineClass.NEEDS_CUSTOMER) and not case.card_changed:
        return True
    final = [rule.name for rule in policy.rules if rule.effect in (Effect.NEVER, Effect.NEW_CARD)]
    refused = case.refused is not None and case.refused.until is None and case.refused.rule in final
    return refused or (isinstance(ruling, Never) and ruling.rule.name in final)


def _allowed_from(case: RecoveryCase, ruling: Ruling) -> Iterator[datetime]:
    """The instants before which a network rule forbids an attempt."""
    if isinstance(ruling, NotBefore):
        yield ruling.at
    if case.refused and case.refused.until:
        yield case.refused.until


def _reason(case: RecoveryCase, policy: Policy, ruling: Ruling, floor: datetime) -> str:
    if held_until(case, policy) == floor:
        return "the day that the customer promised"
    if case.refused and case.refused.until == floor:
        return f"the rule {case.refused.rule}"
    if isinstance(ruling, NotBefore) and ruling.at == floor:
        return f"the rule {ruling.rule.name}"
    return "the bank's advice or the distance between attempts"


def _in_bounds(case: RecoveryCase, policy: Policy, due: datetime, now: datetime, because: str) -> Wait:
    """Keep away from Stripe's own attempt, and inside the recovery window; what is late would be made now."""
    stripe = case.stripe_next_attempt
    if stripe and abs(stripe - max(due, now)) < policy.stripe_distance:
        due, because = stripe + policy.stripe_distance, f"{because}; moved behind Stripe's attempt at {_minute(stripe)}"
    if max(due, now) >= case.deadline:
        return Wait(None, f"{because} would be {_minute(due)}, after the deadline")
    return Wait(due, because)


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
