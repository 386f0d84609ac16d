"""A recovery policy: versioned data that says how far recovery may go for a case.

A case keeps the policy it was opened with (`name@version`). The values come from `config/policies/*.toml`, checked by
`config/policies.py`; nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from billing.ahead.warnings import NONE, Warnings
from billing.assist import EVERYBODY, Assist
from billing.declines import DeclineClass, DeclineTable
from billing.ending import LEAVE_ALL, Ending
from billing.entitlement import Access
from billing.notices.sequence import Sequence, plain
from billing.retry.model import Model
from billing.retry.rules import NetworkRule


class Mode(StrEnum):
    """Who drives the retries; never two at once (design.md decision 6)."""

    OBSERVE = "observe"
    NOTIFY = "notify"
    WEAVE = "weave"
    OWN = "own"

    @property
    def sends(self) -> bool:
        return self is not Mode.OBSERVE

    @property
    def charges(self) -> bool:
        return self in (Mode.WEAVE, Mode.OWN)


SENTENCES: dict[Mode, str] = {
    Mode.OBSERVE: "record and report, send nothing",
    Mode.NOTIFY: "send messages while Stripe retries",
    Mode.WEAVE: "retry at a distance from Stripe's own attempts",
    Mode.OWN: "retry alone, after Stripe's own retries were switched off",
}


class Strategy(StrEnum):
    """What chooses the time of an attempt."""

    LADDER = "ladder"
    LEARNED = "learned"


@dataclass(frozen=True, slots=True)
class Retry:
    """How attempts are timed. Costs are in minor units of the invoice's currency.

    `quiet`: hours (from, to) on the customer's clock without silent attempts. `explore`: share of attempts that may be
    made at another, nearly as good hour of the same day, so that the model goes on learning.
    """

    strategy: Strategy = Strategy.LADDER
    quiet: tuple[float, float] | None = None
    explore: float = 0.0
    attempt_cost: float = 6.0
    returned_debit_cost: float = 350.0  # what a bank asks for a debit that it sends back
    goodwill_cost: float = 0.004  # share of the amount: what each refusal costs in trust of bank and customer


@dataclass(frozen=True, slots=True)
class Policy:
    """`ladders` gives, per decline class, the waits from the first failure to each retry, in rising order."""

    name: str
    version: int
    mode: Mode
    window: timedelta  # from the first failure to the deadline
    ladders: Mapping[DeclineClass, tuple[timedelta, ...]]
    declines: DeclineTable
    max_attempts: int = 8  # on one invoice, Stripe's own attempts included
    min_gap: timedelta = timedelta(hours=24)  # between two attempts
    stripe_distance: timedelta = timedelta(hours=24)  # from an attempt that Stripe has planned
    after_card_change: timedelta = timedelta(minutes=5)
    notice_delay: timedelta = timedelta(hours=1)  # silent time before the first message
    promise_grace: timedelta = timedelta(days=1)  # after the day that a customer named
    rules: tuple[NetworkRule, ...] = ()  # of the networks; those of the day hold, whatever the policy's version
    retry: Retry = Retry()
    ahead: Warnings = NONE  # before anything failed; switched off unless the policy says otherwise
    zones: Mapping[str, str] = field(default_factory=dict)  # country -> time zone in which most of its people live
    model: Model | None = None  # the one in use when the question is asked; never stored with the policy
    messages: Sequence | None = None  # None: one message after `notice_delay`, and thanks
    home: str | None = None  # country of the merchant's account: which fees of the networks are at stake
    backup_methods: bool = False  # charge another saved method of the customer once the default one cannot be
    assist: Assist = EVERYBODY  # which cases need a person
    end: Ending = LEAVE_ALL  # when the window passed without payment
    access: Access | None = None  # what a customer may use meanwhile; None: the policy says nothing of it

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def sequence(self) -> Sequence:
        """Which messages it sends, and when."""
        return self.messages or plain(self.notice_delay)
