"""A Stripe account with years behind it, made directly: nobody plays three years of renewals to test a back-fill.

The company of `sandbox/company.py` gets the invoices that it must have had: renewals that were paid, some of them at
the third attempt, seats that were added, subscriptions that ended by decision or unpaid. Then the last month is played
event by event.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from sandbox import SMART_RETRIES, Sandbox, company
from sandbox.clock import from_stamp
from sandbox.pricing import period_end
from sandbox.store import Obj
from sandbox.subscribing import period_of, settle_history, start_period
from tests.world import DAY

LIVE = 33 * DAY  # the past that is played: a little more than Stripe's list of events holds


def account(subscriptions: int, now: datetime, years: int = 2, seed: int = 1) -> Sandbox:
    """An account at `now`, not started yet: the same for the same arguments."""
    sandbox = Sandbox(start=now - LIVE, seed=seed, dunning=SMART_RETRIES)
    made = company.build(sandbox, subscriptions, seed, days=LIVE.days)
    dice = random.Random(f"account {seed}")  # noqa: S311 - a seed must give the same account
    with sandbox.world.lock:
        for id in made.subscriptions:
            _give_a_past(sandbox, sandbox.get(id), dice, years)
    sandbox.advance(now)
    return sandbox


def _give_a_past(sandbox: Sandbox, subscription: Obj, dice: random.Random, years: int) -> None:
    """Up to `years` more of invoices before the one it has; one in six ended since."""
    start, end = period_of(subscription)
    item, latest = subscription["items"][0], subscription["latest_invoice"]
    began = _earlier(subscription["created"], dice.randrange(years)) if years else subscription["created"]
    subscription |= {"created": began, "start_date": began, "billing_cycle_anchor": began}
    periods = [began]
    while (later := period_end(began, periods[-1], item["price"]["recurring"])) < start:
        periods.append(later)
    seats, grown = item["quantity"], dice.choice(periods) if dice.random() < 0.2 else began
    for period in (each for each in periods if each < start):
        item["quantity"] = seats if period >= grown else 1
        start_period(subscription, period)
        _tried_again(settle_history(sandbox.world, subscription, period), dice)
    item["quantity"] = seats
    start_period(subscription, start, end)
    subscription["latest_invoice"] = latest
    if dice.random() < 1 / 6:
        _ended(sandbox, subscription, sandbox.get(latest), start, dice)


def _earlier(stamp: int, years: int) -> int:
    at = from_stamp(stamp)
    return int(at.replace(year=at.year - years, day=min(at.day, 28)).timestamp())


def _tried_again(invoice: Obj, dice: random.Random) -> None:
    """One renewal in twenty was paid by a later attempt."""
    if dice.random() < 0.05:
        invoice["attempt_count"] = dice.randint(2, 5)
        invoice["status_transitions"]["paid_at"] += int(timedelta(days=dice.uniform(1, 12)).total_seconds())


def _ended(sandbox: Sandbox, subscription: Obj, latest: Obj, start: int, dice: random.Random) -> None:
    """Over before the played month: by decision, or a fortnight after its last invoice failed."""
    sandbox.world.agenda.cancel(f"renew:{subscription['id']}")
    unpaid = dice.random() < 0.3
    at = min(start + int(timedelta(days=14 if unpaid else 5).total_seconds()), sandbox.clock.stamp() - 60)
    reason = "payment_failed" if unpaid else "cancellation_requested"
    subscription |= {"status": "canceled", "ended_at": at, "canceled_at": at}
    subscription["cancellation_details"]["reason"] = reason
    if unpaid:
        latest |= {"status": "uncollectible", "amount_paid": 0, "amount_remaining": latest["amount_due"]}
        latest["attempt_count"] = 8
        latest["status_transitions"] |= {"paid_at": None, "marked_uncollectible_at": at}
