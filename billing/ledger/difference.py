"""Why two policies give two figures: the difference, subscription by subscription and cause by cause.

The first question about any recurring-revenue figure is why another system shows another one. From one policy to the
other one switch is turned at a time, in a fixed order, so that the causes of a subscription always sum to its
difference. Each turn is the real fold, never an estimate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from billing.ledger.book import book
from billing.ledger.movement import Book
from billing.ledger.policy import DEFAULT, STRIPE_LIKE, LedgerPolicy
from billing.ledger.vocabulary import LedgerEvent
from billing.money import MONTHLY, Amount

# In which order the switches are turned, and what a person reads. The order decides what is blamed on which of two
# switches that concern the same subscription; it does not change the sum.
CAUSES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("first payment not yet made", ("first_payment_gate",)),
    ("coupons that last forever", ("coupon_forever",)),
    ("coupons for some months", ("coupon_repeating",)),
    ("coupons for one invoice", ("coupon_once",)),
    ("billed by usage", ("metered",)),
    ("collection paused", ("void_pause_stops",)),
    ("marked unpaid", ("unpaid_is_loss",)),
    ("past due for too long", ("max_past_due_days", "max_overdue_days", "deadline_is_loss")),
    ("other switches", ("post_loss_recovery_days", "zone")),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """`amount` is what the other policy counts more (or less) of this subscription, for this one cause."""

    customer: str
    subscription: str
    cause: str
    amount: Amount


def differences(
    events: Iterable[LedgerEvent], at: datetime, ours: LedgerPolicy = DEFAULT, theirs: LedgerPolicy = STRIPE_LIKE
) -> tuple[Difference, ...]:
    """What `theirs` counts at an instant and `ours` does not, by subscription and cause; negative where it is less.

    Theirs = ours + the sum of the differences, in every currency, to the cent.
    """
    by_customer: dict[str, list[LedgerEvent]] = defaultdict(list)
    for event in events:
        by_customer[event.customer].append(event)
    found: list[Difference] = []
    for customer in sorted(by_customer):
        found += _of_customer(customer, by_customer[customer], at, ours, theirs)
    return tuple(found)


def _of_customer(
    customer: str, events: Sequence[LedgerEvent], at: datetime, ours: LedgerPolicy, theirs: LedgerPolicy
) -> list[Difference]:
    before = levels(book(events, ours, at))
    if before == levels(book(events, theirs, at)):
        return []
    found: list[Difference] = []
    policy = ours
    for cause, switches in CAUSES:
        turned = replace(policy, **{switch: getattr(theirs, switch) for switch in switches})
        if turned == policy:
            continue
        policy, after = turned, levels(book(events, turned, at))
        for subscription, currency in sorted(before.keys() | after.keys()):
            minor = after.get((subscription, currency), 0) - before.get((subscription, currency), 0)
            if minor:
                found.append(Difference(customer, subscription, cause, Amount(minor, currency + MONTHLY)))
        before = after
    return found


def levels(made: Book) -> dict[tuple[str, str], int]:
    """What each subscription counts at the end of a book, by id and currency; what counts nothing is left out."""
    last = {(step.subscription, step.currency): step.minor for step in made.steps}
    return {key: minor for key, minor in last.items() if minor}
