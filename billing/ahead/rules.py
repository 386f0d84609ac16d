"""Which warning a renewal deserves, and when; or why none. Pure: what is known comes in, what follows goes out.

A warning is about the renewal that would fail, never about a date alone: a card that expires after its last charge is
nobody's trouble.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

from billing.ahead.renewal import Standing, good_until
from billing.ahead.warnings import CardExpiring, RenewalComing, Updater, Warn, Warnings
from billing.money import Amount
from billing.notices.sequence import Step

TOO_LATE = timedelta(hours=12)  # before the renewal: nobody reads and acts so fast
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Due:
    """Warn from `at` on. `subject` names what it is about: one warning for it, ever."""

    step: Step
    subject: str
    at: datetime
    because: str


@dataclass(frozen=True, slots=True)
class Not:
    """No warning, and why."""

    because: str


def due(step: Step, stands: Standing, warnings: Warnings, now: datetime) -> Due | Not:
    """Whether this renewal deserves a warning of this kind, as far as is known at `now`."""
    rule = warnings.of(step)
    if not rule.on:
        return Not("the policy has this kind of warning switched off")
    if stands.renewal.at - now < TOO_LATE:
        return Not("the renewal is past, or too near to be of use")
    return RULES[step](stands, rule)


def _card_expiring(stands: Standing, rule: Warn) -> Due | Not:
    if not isinstance(rule, CardExpiring):
        raise TypeError("the rule of another kind of warning")
    renewal, method, end = stands.renewal, stands.method, good_until(stands.method)
    if method is None or method.card is None or end is None:
        return Not("what pays this renewal is not a card whose expiry is known")
    if renewal.at < end:
        return Not("the card is still good at the renewal")
    if _small(renewal.amount, rule):
        return Not("the renewal is below the amount that the policy warns of")
    expires = f"{method.card.exp_year}-{method.card.exp_month:02}"
    at, said = renewal.at - rule.days_before * DAY, f"{rule.days_before} days before it"
    if rule.updater is not Updater.IGNORE and method.card.brand in rule.updater_brands:
        if rule.updater is Updater.TRUST:
            return Not("the network's updater is expected to replace the card")
        began = (end - DAY).replace(day=1)
        days = min(rule.days_before, rule.updater_days_before)
        at, said = max(renewal.at - days * DAY, began), f"{days} days before it, so that the updater had its time"
    because = f"the card expires in {expires} and a renewal follows on {renewal.at:%Y-%m-%d}: {said}"
    return Due(Step.CARD_EXPIRING, f"{method.id}:{expires}", at, because)


def _renewal_coming(stands: Standing, rule: Warn) -> Due | Not:
    if not isinstance(rule, RenewalComing):
        raise TypeError("the rule of another kind of warning")
    renewal = stands.renewal
    if renewal.trial:
        return Not("a trial ends, which is no renewal")
    if renewal.amount is not None and renewal.amount.minor <= 0:
        return Not("nothing will be charged")
    least = rule.min_amount.get(renewal.amount.currency) if renewal.amount else None
    large = renewal.amount is not None and least is not None and renewal.amount.minor >= least
    if renewal.months < rule.months and not large:
        return Not("the period is short and the amount is not large")
    why = f"a period of {renewal.months} months" if renewal.months >= rule.months else f"{renewal.amount} is much"
    because = f"renews on {renewal.at:%Y-%m-%d}, {why}: {rule.days_before} days before it"
    return _of_renewal(Step.RENEWAL_COMING, stands, rule, because)


def _method_missing(stands: Standing, rule: Warn) -> Due | Not:
    renewal = stands.renewal
    if stands.method is not None:
        return Not("there is a payment method")
    if not stands.known:
        return Not("it is not known what the customer's default is")
    if renewal.amount is not None and (renewal.amount.minor <= 0 or _small(renewal.amount, rule)):
        return Not("nothing, or too little, will be charged")
    because = f"nothing to pay the renewal of {renewal.at:%Y-%m-%d} with: {rule.days_before} days before it"
    return _of_renewal(Step.METHOD_MISSING, stands, rule, because)


def _of_renewal(step: Step, stands: Standing, rule: Warn, because: str) -> Due:
    renewal = stands.renewal
    return Due(step, f"{renewal.subscription}:{renewal.at:%Y-%m-%d}", renewal.at - rule.days_before * DAY, because)


def _small(amount: Amount | None, rule: Warn) -> bool:
    return amount is not None and amount.minor < rule.min_amount.get(amount.currency, 0)


RULES: dict[Step, Callable[[Standing, Warn], Due | Not]] = {
    Step.CARD_EXPIRING: _card_expiring,
    Step.RENEWAL_COMING: _renewal_coming,
    Step.METHOD_MISSING: _method_missing,
}


def send_at(at: datetime, hour: int, zone: tzinfo) -> datetime:
    """The first `hour` o'clock on the customer's clock at or after `at`: never at night, never twice a day."""
    local = at.astimezone(zone)
    day = local.date() if local.time() <= time(hour) else local.date() + DAY
    return datetime.combine(day, time(hour), zone).astimezone(UTC)


def awake(now: datetime, zone: tzinfo) -> bool:
    """Whether a message that waited may go out at this hour of the customer's day."""
    return 8 <= now.astimezone(zone).hour < 20
