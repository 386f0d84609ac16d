"""What becomes of subscription and invoice when the recovery window passed without the money.

`due_ends` plans it for a case that was lost by its deadline, `last_look` is asked once more with what Stripe shows
right before anything is changed. A policy without a table `[end]` leaves everything as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from billing.case import RecoveryCase, State, ends_of
from billing.events.occurrences import InvoiceRead
from billing.events.snapshots import Item, Subscription
from billing.money import Amount
from billing.subscription_evidence import paused_by_choice


class Part(StrEnum):
    """The two things that have an end; the invoice's comes second."""

    SUBSCRIPTION = "subscription"
    INVOICE = "invoice"


class End(StrEnum):
    LEAVE = "leave"
    CANCEL = "cancel"
    UNPAID = "unpaid"
    PAUSE = "pause"
    DOWNGRADE = "downgrade"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


SENTENCES: dict[End, str] = {
    End.LEAVE: "Nothing is changed at Stripe.",
    End.CANCEL: "The subscription is cancelled at once; the invoice stays open, and Stripe stops collecting it.",
    End.UNPAID: "The subscription goes on unpaid: its next invoices stay drafts. Stripe has no request that sets its "
    "status `unpaid`, so this is `pause_collection` with `keep_as_draft`.",
    End.PAUSE: "The subscription is paused: its next invoices are voided (`pause_collection` with `void`).",
    End.DOWNGRADE: "The subscription moves to the named price from its next period on, without proration.",
    End.VOID: "The invoice is voided: it counts as if it had never been sent, and nobody can pay it any more.",
    End.UNCOLLECTIBLE: "The invoice is written off, which Stripe calls `uncollectible`; it can still be paid.",
}
OF_SUBSCRIPTION = frozenset({End.LEAVE, End.CANCEL, End.UNPAID, End.PAUSE, End.DOWNGRADE})
OF_INVOICE = frozenset({End.LEAVE, End.VOID, End.UNCOLLECTIBLE})

NOTHING, STUCK = "nothing", "stuck"  # outcomes of a part besides the end that was made


class Others(StrEnum):
    """What a still open case of another subscription of the same customer means for the end of this one."""

    KEEP = "keep"  # wait until it is over: who is about to pay is kept
    ACT = "act"


@dataclass(frozen=True, slots=True)
class Ending:
    """`prices` are ids or lookup keys of prices to move down to, one for each currency and interval."""

    subscription: End = End.LEAVE
    invoice: End = End.LEAVE
    prices: tuple[str, ...] = ()
    wait: timedelta = timedelta(0)  # after the deadline
    others: Others = Others.KEEP
    rescue: timedelta = timedelta(days=30)  # so long after the end a new payment method offers to reopen

    def of(self, part: Part) -> End:
        return self.subscription if part is Part.SUBSCRIPTION else self.invoice


@dataclass(frozen=True, slots=True)
class Price:
    """A price at Stripe; `unit_amount` in minor units, None when it is tiered."""

    id: str
    currency: str
    interval: str | None
    interval_count: int
    active: bool
    unit_amount: str | None = None
    licensed: bool = True


LEAVE_ALL = Ending()

# ---------------------------------------------------------------- the plan

CLOCKS_AGREE = timedelta(hours=1)  # what we do at the deadline is dated by Stripe's clock
TOO_LATE = timedelta(days=30)  # an end that could not be made for so long is left to people


class Due(NamedTuple):
    part: Part
    end: End
    at: datetime
    because: str


def lost_by_deadline(case: RecoveryCase) -> bool:
    """Whether our own deadline ended the case: neither Stripe before it, nor the customer, nor an operator."""
    if case.state is not State.LOST or case.expired_at is None:
        return False
    return min(ends_of(case))[0] >= case.expired_at - CLOCKS_AGREE


def due_ends(case: RecoveryCase, ending: Ending, grace: timedelta, now: datetime) -> tuple[Due, ...]:
    """What is to be done at the end of this case and has not been; `grace` is what a promise gets after its day."""
    if not lost_by_deadline(case) or case.voided_at or case.uncollectible_at:
        return ()
    if case.disputed_at or case.operator.held or case.operator.outside:
        return ()
    released = case.operator.hold_told_at
    at = max(filter(None, (case.deadline + ending.wait, _left_alone(case, grace), _dispute_over(case), released)))
    if now > at + TOO_LATE:
        return ()
    wanted = [part for part in Part if ending.of(part) is not End.LEAVE and part.value not in dict(case.endings)]
    because = f"the window passed without payment: {case.policy} says"
    return tuple(
        Due(part, ending.of(part), at, f"{because} {part} {ending.of(part)}")
        for part in wanted
        if part is Part.INVOICE or (case.subscription and not case.ended_at)
    )


def _left_alone(case: RecoveryCase, grace: timedelta) -> datetime | None:
    return case.promised_until + grace if case.promised_until else None


def _dispute_over(case: RecoveryCase) -> datetime | None:
    return max((dispute.at for dispute in case.disputes), default=None)


# ---------------------------------------------------------------- the last look


class Turn(StrEnum):
    GO = "go"
    LATER = "later"  # ask again at `until`
    HOLDS = "holds"  # it is so already, by whatever means
    NOTHING = "nothing"  # and never: something else was decided meanwhile
    PERSON = "person"  # the policy cannot be carried out as it is written


class Verdict(NamedTuple):
    turn: Turn
    because: str
    until: datetime | None = None


OVER = frozenset({"canceled", "incomplete_expired"})
BEHIND = frozenset({"past_due", "unpaid"})
SOON, DAY = timedelta(minutes=10), timedelta(days=1)


def last_look(
    due: Due,
    case: RecoveryCase,
    expected: Amount,
    seen: InvoiceRead,
    ending: Ending,
    others: Sequence[RecoveryCase],
    prices: Sequence[Price],
    subscription_waits: bool,
    now: datetime,
) -> Verdict:
    """Whether this end is to be made now, by what Stripe shows.

    `case` already holds what `seen` says, `expected` is the amount that was owed before, `others` are the customer's
    cases, `prices` are those that the policy names, `subscription_waits`: the other part of this end has not come to
    its own end yet.
    """
    if due.at > now:
        return Verdict(Turn.LATER, "the customer is left alone until then", due.at)
    stop = _changed(case, expected, seen) or _under_way(case, seen, now) or _other_cases(case, ending, others, now)
    if due.part is Part.INVOICE:
        return stop or _invoice_turn(case, ending, seen, subscription_waits, now)
    return stop or _subscription_turn(due.end, seen.subscription, prices)


def already(due_end: End, seen: InvoiceRead, price: str | None = None) -> bool:
    """Whether Stripe shows that this end was made."""
    subscription = seen.subscription
    match due_end:
        case End.VOID:
            return seen.invoice.status == "void"
        case End.UNCOLLECTIBLE:
            return seen.invoice.status == "uncollectible"
        case End.CANCEL:
            return subscription is not None and subscription.status in OVER
        case End.UNPAID:
            return subscription is not None and subscription.pause_behavior == "keep_as_draft"
        case End.PAUSE:
            return subscription is not None and subscription.pause_behavior == "void"
        case End.DOWNGRADE:
            return subscription is not None and price in {item.price for item in subscription.items}
        case _:
            return True


def _changed(case: RecoveryCase, expected: Amount, seen: InvoiceRead) -> Verdict | None:
    invoice = seen.invoice
    if invoice.customer and case.customer and invoice.customer != case.customer:
        return Verdict(Turn.NOTHING, "the invoice belongs to another customer than the case says")
    if invoice.status != "open":
        return Verdict(Turn.NOTHING, f"the invoice is {invoice.status} at Stripe")
    if invoice.remaining != expected:
        return Verdict(Turn.NOTHING, f"{invoice.remaining} is owed, {expected} was owed before: a person should look")
    return None


def _under_way(case: RecoveryCase, seen: InvoiceRead, now: datetime) -> Verdict | None:
    if seen.processing:
        return Verdict(Turn.LATER, "a payment of this invoice is under way at Stripe", now + DAY)
    if case.in_flight:
        return Verdict(Turn.LATER, "an attempt of ours has no known end yet", now + SOON)
    if planned := seen.invoice.next_payment_attempt:
        return Verdict(Turn.LATER, f"Stripe itself will try at {planned:%Y-%m-%d %H:%M} UTC", max(planned, now) + DAY)
    return None


def _other_cases(case: RecoveryCase, ending: Ending, others: Sequence[RecoveryCase], now: datetime) -> Verdict | None:
    """Later invoices of the same subscription are no reason to keep it; those of another one may be."""
    if ending.others is Others.ACT:
        return None
    for other in others:
        if other.live and other.invoice != case.invoice and other.subscription != case.subscription:
            return Verdict(Turn.LATER, f"{other.invoice} of the same customer is still open: kept", now + DAY)
    return None


def _invoice_turn(
    case: RecoveryCase, ending: Ending, seen: InvoiceRead, subscription_waits: bool, now: datetime
) -> Verdict:
    outcome = dict(case.endings).get(Part.SUBSCRIPTION)
    if case.subscription and ending.subscription is not End.LEAVE and not case.ended_at:
        if outcome is None and subscription_waits:
            return Verdict(Turn.LATER, "the subscription comes first", now + SOON)
        if outcome in (None, NOTHING, STUCK):
            return Verdict(Turn.NOTHING, "nothing was done about the subscription, so nothing about its invoice")
    elif seen.subscription and seen.subscription.status not in (*BEHIND, *OVER):
        return Verdict(Turn.NOTHING, f"the subscription is {seen.subscription.status} by now")
    return Verdict(Turn.GO, f"{ending.invoice}")


def _subscription_turn(end: End, subscription: Subscription | None, prices: Sequence[Price]) -> Verdict:
    if subscription is None:
        return Verdict(Turn.NOTHING, "the invoice belongs to no subscription")
    if subscription.status in OVER or subscription.status == "unpaid":
        return Verdict(Turn.HOLDS, f"the subscription is {subscription.status} already")
    if subscription.status not in BEHIND:
        return Verdict(Turn.NOTHING, f"the subscription is {subscription.status} by now")
    if subscription.cancel_at_period_end or subscription.cancel_at:
        return Verdict(Turn.NOTHING, "its end was asked for already")
    if paused_by_choice(subscription):
        return Verdict(Turn.NOTHING, "somebody paused its collection")
    if end is not End.DOWNGRADE:
        return Verdict(Turn.GO, f"{end}")
    price = price_for(subscription, prices)
    if isinstance(price, str):
        return Verdict(Turn.PERSON, price)
    if price.id == subscription.items[0].price:
        return Verdict(Turn.HOLDS, f"it is at price {price.id} already")
    return Verdict(Turn.GO, f"{end} to {price.id}")


def price_for(subscription: Subscription, prices: Sequence[Price]) -> Price | str:
    """The price to move down to: same currency and interval, not dearer; or why there is none."""
    if len(subscription.items) != 1 or not subscription.items_complete:
        return f"it has {len(subscription.items)} items: a person has to say which one goes down"
    item = subscription.items[0]
    same = [price for price in prices if price.active and price.licensed and _fits(price, item, subscription.currency)]
    if not same:
        each = f"{subscription.currency} per {item.interval_count} {item.interval}"
        return f"none of the prices that the policy names is one in {each}"
    price = same[0]
    if item.unit_amount and price.unit_amount and Fraction(price.unit_amount) > Fraction(item.unit_amount):
        return f"price {price.id} is dearer than the present one"
    return price


def _fits(price: Price, item: Item, currency: str | None) -> bool:
    return (price.currency, price.interval, price.interval_count) == (currency, item.interval, item.interval_count)


# ---------------------------------------------------------------- after the end


def unsettled(case: RecoveryCase) -> str:
    """Why nobody may be asked for the money of a lost case any more, or not now; empty when he may."""
    if case.voided_at:
        return "the invoice was voided: nobody can pay it any more"
    if case.amount.minor <= 0:
        return "nothing is owed any more"
    if case.disputed_at:
        return "the customer disputed a charge"
    if case.operator.outside:
        return "it is being marked as paid outside Stripe"
    return "an operator holds this case" if case.operator.held else ""


def rescued_at(case: RecoveryCase, ending: Ending) -> datetime | None:
    """When the customer of a lost case brought a payment method, if that was soon enough after the end."""
    brought, ended = case.method_brought_at, case.closed_at
    if case.state is not State.LOST or case.disputed_at or brought is None or ended is None:
        return None
    return brought if ended < brought <= ended + ending.rescue else None
