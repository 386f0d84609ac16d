"""A sequence: which messages a policy has, when each is due, by which channel, to whom and under which conditions.

A sequence is data (`[messages]` of a policy file, read by config/policies/messages.py). When a step of it is due for
one case is worked out in `due.py`; what the messages say is in config/messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from billing.case import State
from billing.declines import DeclineClass


class Step(StrEnum):
    """The messages there are; each is a table of that name in config/messages/<language>.toml."""

    PAYMENT_FAILED = "payment_failed"
    REMINDER = "reminder"
    BEFORE_DEADLINE = "before_deadline"
    LAST_DAY = "last_day"
    PROMISE_REMINDER = "promise_reminder"
    RECOVERED = "recovered"
    ENDED = "ended"
    LATE_RESCUE = "late_rescue"
    CARD_EXPIRING = "card_expiring"
    RENEWAL_COMING = "renewal_coming"
    METHOD_MISSING = "method_missing"


SENTENCES = {
    Step.PAYMENT_FAILED: "Tells that a payment failed, why as far as may be said, and how to settle it.",
    Step.REMINDER: "Says some days later that it is still open.",
    Step.BEFORE_DEADLINE: "Says how many days are left, and what happens then.",
    Step.LAST_DAY: "Says that this is the last day.",
    Step.PROMISE_REMINDER: "Reminds of the day on which the customer said the payment would come.",
    Step.RECOVERED: "Thanks for the payment, and ends what the first message began.",
    Step.ENDED: "Says that the subscription has ended for want of payment, and how to come back.",
    Step.LATE_RESCUE: "Answers a payment method that was added after the end: how to open the account again.",
    Step.CARD_EXPIRING: "Says before anything fails that the card will expire.",
    Step.RENEWAL_COMING: "Announces a large renewal, so that nobody is surprised.",
    Step.METHOD_MISSING: "Says before a renewal that there is nothing to pay it with.",
}

ASKING = frozenset({Step.PAYMENT_FAILED, Step.REMINDER, Step.BEFORE_DEADLINE, Step.LAST_DAY, Step.PROMISE_REMINDER})
AFTER_THE_END = frozenset({Step.ENDED, Step.LATE_RESCUE})
AHEAD = frozenset({Step.CARD_EXPIRING, Step.RENEWAL_COMING, Step.METHOD_MISSING})  # nothing has failed

SILENT = frozenset({State.HELD, State.PAUSED})  # live, and nothing is sent
MERGED = "merged"  # another message, which was taken, named this invoice too
# Handed over, as far as anybody can say (worker.channels.Outcome).
MAY_HAVE_REACHED = frozenset({"accepted", "unknown", MERGED})


class On(StrEnum):
    """What a step counts its time from."""

    FAILURE = "failure"
    BEFORE_RETRY = "before_retry"
    AFTER_RETRY = "after_retry"
    BEFORE_DEADLINE = "before_deadline"
    PROMISE_DAY = "promise_day"
    PROMISE_BROKEN = "promise_broken"
    RECOVERED = "recovered"
    LOST = "lost"
    LATE_RESCUE = "late_rescue"


WHEN: dict[On, str] = {
    On.FAILURE: "after the first failure",
    On.BEFORE_RETRY: "before the next attempt",
    On.AFTER_RETRY: "after an attempt of ours or Stripe's was declined",
    On.BEFORE_DEADLINE: "before the recovery window ends",
    On.PROMISE_DAY: "before the end of the day that the customer promised",
    On.PROMISE_BROKEN: "after that day and its grace passed without the money",
    On.RECOVERED: "after the payment",
    On.LOST: "after the subscription ended for want of payment",
    On.LATE_RESCUE: "after a payment method was added that comes too late",
}
BACKWARDS = frozenset({On.BEFORE_RETRY, On.BEFORE_DEADLINE, On.PROMISE_DAY})  # their time lies ahead of what they name


class Via(StrEnum):
    EMAIL = "email"
    SMS = "sms"
    CHAT = "chat"  # the team's own rooms, not the customer
    IN_APP = "in_app"  # nothing is sent: a wall begins


class Audience(StrEnum):
    BILLING = "billing"  # the address at Stripe, and the billing contacts
    OWNER = "owner"  # the account's owners; where none is known, the address at Stripe
    TEAM = "team"  # everybody known at the customer


@dataclass(frozen=True, slots=True)
class Only:
    """For which cases a step is. What stands at its default asks for nothing; amounts are minor units by currency."""

    declines: frozenset[DeclineClass] = frozenset()
    min_amount: Mapping[str, int] = field(default_factory=dict)
    max_amount: Mapping[str, int] = field(default_factory=dict)
    products: frozenset[str] = frozenset()  # ids of prices or products
    countries: frozenset[str] = frozenset()
    min_tenure: timedelta | None = None
    max_tenure: timedelta | None = None
    engaged: bool | None = None  # whether the customer did something on the recovery page since the failure


@dataclass(frozen=True, slots=True)
class Planned:
    """One step. `after` counts from `on`, or back from it for those in BACKWARDS; `wall` is for in_app steps."""

    name: str
    template: Step
    on: On = On.FAILURE
    after: timedelta = timedelta(0)
    via: tuple[Via, ...] = (Via.EMAIL,)
    audience: tuple[Audience, ...] = (Audience.BILLING,)
    only: Only = Only()
    wall: str | None = None


@dataclass(frozen=True, slots=True)
class Sequence:
    """`quiet`: hours (from, to) on the customer's clock without messages. `at_most` messages that ask reach one
    address within `per`, over all cases of its customer; 0: as many as the steps say."""

    steps: tuple[Planned, ...]
    silent: timedelta = timedelta(0)  # no message that asks before this has passed since the failure
    patient: timedelta = timedelta(0)  # the same for failures that usually mend themselves, if longer
    hold: timedelta = timedelta(0)  # a message waits for an attempt that is due within this
    at_most: int = 0
    per: timedelta = timedelta(days=7)
    quiet: tuple[float, float] | None = None
    weekdays: bool = False  # none on Saturdays and Sundays
    merge: bool = False  # one message names all open invoices of a customer


def plain(delay: timedelta) -> Sequence:
    """What a policy without `[messages]` has: word of the failure, and thanks to those who were told of it."""
    steps = (Planned("payment_failed", Step.PAYMENT_FAILED, after=delay), THANKS)
    return Sequence(steps, hold=timedelta(minutes=15))  # an attempt that is so near may make the message untrue


THANKS = Planned("recovered", Step.RECOVERED, On.RECOVERED)


def label_of(step: str, via: str, to: str) -> str:
    """What one message of a step is called in keys, rows and evidence: the usual one as its step.

    `to` stands for a contact of the customer; it is empty for the address at Stripe.
    """
    return ":".join(filter(None, (step, "" if via == Via.EMAIL else via, to)))


def track_of(label: str) -> str:
    """Who is written to, and by which way, under this label."""
    return label.partition(":")[2]


def person_of(label: str) -> str:
    """The contact who is written to under this label; empty for the customer's own address and number."""
    last = label.rpartition(":")[2] if ":" in label else ""
    return "" if last in list(Via) else last


def span(time: timedelta) -> str:
    """`3 days`, `1 day`, `12 hours`, `at once`: a span of time as people say it."""
    if not time:
        return "at once"
    for unit, name in ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute")):
        if time >= unit:
            number = round(time / unit, 2)
            return f"{number:g} {name}{'' if number == 1 else 's'}"
    return f"{time.total_seconds():g} seconds"
