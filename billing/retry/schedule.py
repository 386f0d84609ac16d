"""Choose the next payment attempt of a case, or say why there is none.

A ladder per decline class, under caps. A model that learns takes the ladder's place later; the refusals before it
stay. Sources of the rules: `stripe.md` 4-6 in the project's notes, restated in `docs/network-rules.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from billing.case import NO_SILENT_RETRY, RecoveryCase
from billing.policy import SENTENCES, Mode, Policy


@dataclass(frozen=True, slots=True)
class Wait:
    """`until` is when to act; None means not at all, for the reason given."""

    until: datetime | None
    because: str


def refuse(case: RecoveryCase, policy: Policy) -> str | None:
    """Why this case gets no attempt at all for now, None if it may have one."""
    if not case.live:
        return f"the case has ended: {case.because}"
    if not policy.mode.charges:
        return f"mode {policy.mode}: {SENTENCES[policy.mode]}"
    if case.disputed_at:
        return "a charge of this customer is disputed"
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
    if made >= policy.max_attempts and not case.card_changed:
        return f"{made} attempts were made, {policy.max_attempts} is the cap"
    if case.decline_class in NO_SILENT_RETRY and not case.card_changed:
        return f"no silent retry: {case.decline_because}"
    if case.max_tries is not None and case.tries_of_card >= case.max_tries and not case.card_changed:
        return f"after this answer of the bank at most {case.max_tries} attempts are made: {case.decline_because}"
    if policy.mode is Mode.OWN and case.stripe_next_attempt:
        return f"Stripe itself will try at {_minute(case.stripe_next_attempt)}: two drivers never"
    return None


def next_attempt(case: RecoveryCase, policy: Policy, now: datetime) -> Wait:
    """When to try this invoice again, or why not."""
    if because := refuse(case, policy):
        return Wait(None, because)
    last = max((attempt.at for attempt in case.executed), default=None)
    changed = case.method_changed_at if case.card_changed else None
    if changed and (last is None or last < changed):
        return _in_bounds(case, policy, max(now, changed + policy.after_card_change), now, "the card was changed")
    # The last failure may be of an attempt that Stripe or the customer made.
    tried = max(filter(None, (last, case.last_failed_at)))
    floor = max(filter(None, (case.retry_not_before, tried + policy.min_gap, held_until(case, policy))))
    for rung, wait in enumerate(policy.ladders.get(case.decline_class, ()), start=1):
        due = max(case.failed_at + wait, floor)
        # A rung that was missed by more than a day, or that an attempt has used up, is left out, not caught up.
        if (last is None or case.failed_at + wait > last) and due > now - policy.min_gap:
            because = f"rung {rung} of the ladder for {case.decline_class}, {wait.days} days after the failure"
            if floor > case.failed_at + wait:
                because += f"; not before {_minute(floor)}, for the bank's advice, a promise or the distance"
            return _in_bounds(case, policy, due, now, because)
    return Wait(None, f"the ladder for {case.decline_class} is finished; waiting for the customer until the deadline")


def held_until(case: RecoveryCase, policy: Policy) -> datetime | None:
    """How long the customer is left alone: to the end of the day that he named, and the policy's grace."""
    return case.promised_until + policy.promise_grace if case.promised_until else None


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
