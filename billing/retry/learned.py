"""The plan of one recovery case by the model: what the case tells, in the model's words, under the policy's limits.

A plan must not move while nothing new is heard: bells, sweeps and the last look ask again and again. So it is made as
of the last refusal, never as of now; a moment that passed unused is followed by the next one, planned as of then.
`schedule.next_attempt` keeps its refusals in front; where the model has too little to go by, the ladder stays.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from billing.case import No, RecoveryCase
from billing.events.occurrences import Answer
from billing.ledger.sources import RecoveredBy
from billing.policy import Policy
from billing.retry.belief import Facts, Try
from billing.retry.calendars import at_local_hours, day_of, local_hours
from billing.retry.limits import REFUSED, case_ruling, declines_of
from billing.retry.model import Model
from billing.retry.plan import Choice, Limits, choose
from billing.retry.rules import Charging, NotBefore, budgets

# Bank debits, and the country whose accounts they draw on; the SEPA zone is taken for its middle.
DEBITS = {
    "sepa_debit": "DE",
    "us_bank_account": "US",
    "bacs_debit": "GB",
    "au_becs_debit": "AU",
    "acss_debit": "CA",
    "nz_bank_account": "NZ",
}
ONE_TRY = timedelta(minutes=30)  # what is told of one refusal by several sources lies so close together
LATE = timedelta(hours=6)  # a moment that was missed by more is planned anew
HOUR = timedelta(hours=1)
MONTH = timedelta(days=30.44)


@dataclass(frozen=True, slots=True)
class Plan:
    """When to ask the bank next, None for never; `told`: the chance that it pays, calibrated; `model`: its version."""

    at: datetime | None
    because: str
    model: str
    told: float = 0.0
    explored: bool = False


def planned(case: RecoveryCase, policy: Policy, now: datetime) -> Plan | str:
    """The best next attempt by the policy's model, or why there is nothing to ask it."""
    model, country = policy.model, country_of(case)
    if model is None:
        return "no model is in use"
    if case.decline is None:
        return "what the bank answered is not known yet"
    if country is None:
        return "the country of the card is not known"
    facts = facts_of(case, policy)
    if facts.utc_offset_h is None:
        return f"the time zone of {country} is not known, and so not the customer's local hour"
    since = facts.tries[-1].at
    choice = _followed(facts, model, _limits(case, facts, policy, since), since, now, _dice(case, facts))
    at = choice.at
    if at and at < now and (quiet := policy.retry.quiet):
        at = _after(quiet, now, facts.utc_offset_h) or at
    because = f"{choice.because} (model {model.version})"
    return Plan(at, because, model.version, choice.told, choice.explored)


def _followed(facts: Facts, model: Model, limits: Limits, since: datetime, now: datetime, dice: float) -> Choice:
    """The first moment that is not missed, of those planned one after the other."""
    while True:
        choice = _choice(facts, model, replace(limits, not_before=max(limits.not_before, since)), since, dice)
        if choice.at is None or choice.at + LATE >= now:
            return choice
        since = choice.at + LATE


@lru_cache(maxsize=1024)
def _choice(facts: Facts, model: Model, limits: Limits, since: datetime, dice: float) -> Choice:
    """The same question is asked at every event and sweep."""
    return choose(facts, model, limits, since, dice)


def _limits(case: RecoveryCase, facts: Facts, policy: Policy, since: datetime) -> Limits:
    """What the plan keeps to; rules are asked as of the last refusal, so that an answer does not lapse with time."""
    retry, because = policy.retry, ""
    made = len(case.executed) + case.stripe_attempts
    left = [policy.max_attempts - made]
    if case.max_tries is not None:
        left.append(case.max_tries - case.tries_of_card)
    floors = [max(since, case.last_failed_at) + policy.min_gap]
    if case.retry_not_before:
        floors.append(case.retry_not_before)
    if isinstance(ruling := case_ruling(case, policy, since), NotBefore):
        floors.append(ruling.at)
        because = ruling.because
    if case.promised_until:
        floors.append(case.promised_until + policy.promise_grace)
    if case.refused and case.refused.until:
        floors.append(case.refused.until)
        because = case.refused.because
    if case.brand:
        charging = Charging(case.amount, case.brand, invoice=case.invoice, changed_at=case.method_changed_at)
        left += [each.remaining for each in budgets(policy.rules, charging, declines_of(case), since)]
    floor = max(floors)
    return Limits(
        not_before=floor,
        deadline=case.deadline,
        attempts_left=max(0, min(left)),
        because=because if floor > floors[0] else "",
        attempt_cost=retry.attempt_cost,
        refused_cost=retry.returned_debit_cost if facts.debit else 0.0,
        refusal_share=retry.goodwill_cost,
        after_update=policy.after_card_change,
        quiet=retry.quiet,
        avoid=(case.stripe_next_attempt, policy.stripe_distance) if case.stripe_next_attempt else None,
        explore=retry.explore,
    )


def _dice(case: RecoveryCase, facts: Facts) -> float:
    """In [0, 1), and the same whenever the same attempt is planned."""
    digest = hashlib.sha256(f"{case.account}/{case.invoice}/{len(facts.tries)}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _after(quiet: tuple[float, float], now: datetime, offset: float) -> datetime | None:
    """The end of the quiet hours in which `now` lies, None outside them."""
    begins, ends = quiet
    hours = local_hours(now, offset)
    if (hours - begins) % 24 >= (ends - begins) % 24:
        return None
    return at_local_hours(hours + (ends - hours) % 24, offset)


# ---------------------------------------------------------------- what the case tells


def facts_of(case: RecoveryCase, policy: Policy) -> Facts:
    """The case as the model reads it."""
    country, debit = country_of(case), case.method in DEBITS
    offset = offset_of(policy, country, case.failed_at)
    recovered = [past.paid_at + timedelta(hours=offset or 0) for past in case.past if past.paid_at]
    return Facts(
        tries=tries_of(case),
        deadline=case.deadline,
        amount=case.amount.minor,
        utc_offset_h=offset,
        country=country,
        brand=case.brand,
        funding="bank" if debit else case.funding,
        interval=case.interval,
        tenure_months=int((case.failed_at - case.began_at) / MONTH) if case.began_at else None,
        past_failures=len(case.past),
        past_recoveries=tuple((at.day, day_of(at.date()) % 7) for at in recovered),
        card_updated_at=case.method_changed_at,
    )


def ended_facts(case: RecoveryCase, policy: Policy) -> Facts:
    """A closed case with its last answer, for learning; money that no retry brought says nothing of retries."""
    facts = facts_of(case, policy)
    ours = [attempt.at for attempt in case.attempts if attempt.answer is Answer.PAID]
    paid_at = max(ours, default=_paid_by_schedule(case))
    if paid_at is None or paid_at <= facts.tries[-1].at:
        return facts
    return replace(facts, tries=(*facts.tries, Try(paid_at, True)))


def _paid_by_schedule(case: RecoveryCase) -> datetime | None:
    """When an attempt of Stripe's schedule paid; that nobody is known to have asked is not enough to say so."""
    planned_at, paid_at = case.stripe_next_attempt, case.paid_at
    if case.recovered_by is not RecoveredBy.STRIPE_RETRY or planned_at is None or paid_at is None:
        return None
    return paid_at if abs(paid_at - planned_at) < LATE else None


def tries_of(case: RecoveryCase) -> tuple[Try, ...]:
    """Every refusal that is known, once each: what several sources say of one lies close together."""
    newest = case.decline
    told = {
        *case.noes,
        No(case.failed_at),
        No(case.last_failed_at),
        *(No(attempt.at) for attempt in case.attempts if attempt.answer in REFUSED),
    }
    if newest and case.decline_at:
        told.add(No(case.decline_at, newest.decline_code or newest.code, newest.network_advice_code))
    refusals: list[list[No]] = []
    for no in sorted(told, key=lambda no: no.order):
        if refusals and no.at - refusals[-1][0].at < ONE_TRY:
            refusals[-1].append(no)
        else:
            refusals.append([no])
    return tuple(_try(each, case.brand) for each in refusals)


def _try(told: list[No], brand: str | None) -> Try:
    said = max(told, key=lambda no: (no.code is not None, no.advice is not None, no.order))
    return Try(told[0].at, False, said.code, said.advice if brand == "mastercard" else None)


def country_of(case: RecoveryCase) -> str | None:
    return DEBITS.get(case.method or "", case.country)


def offset_of(policy: Policy, country: str | None, at: datetime) -> float | None:
    """Hours that the clocks of most people of the country are ahead of UTC; None without time-zone data."""
    zone = policy.zones.get(country or "")
    if zone is None:
        return None
    try:
        ahead = at.astimezone(ZoneInfo(zone)).utcoffset()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
    return None if ahead is None else ahead / HOUR
