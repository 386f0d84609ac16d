"""A recovery case: one unpaid invoice from its first failure to its end.

The case keeps *evidence*: the earliest instant at which each thing is known to have happened. Its state is worked
out from that evidence by `state_of`, never stepped along by events, so the same set of events gives the same case in
any order and with any repetition. `move` is the one place where a state may change, and refuses what the table below
does not list.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from billing.actions import KEY_PREFIX
from billing.declines import DeclineClass
from billing.events.occurrences import Answer
from billing.events.snapshots import Card, Decline
from billing.ledger.sources import STAFF_PREFIX, RecoveredBy
from billing.money import Amount
from billing.operator import NOBODY, Operator


class State(StrEnum):
    OPEN = "open"
    RECOVERING = "recovering"
    NEEDS_CUSTOMER = "needs_customer"
    HELD = "held"
    PAUSED = "paused"
    RECOVERED = "recovered"
    LOST = "lost"
    CANCELLED = "cancelled"
    FORGIVEN = "forgiven"


SENTENCES: dict[State, str] = {
    State.OPEN: "The payment failed and a next step exists.",
    State.RECOVERING: "An attempt was made or a message was sent, and the money has not come yet.",
    State.NEEDS_CUSTOMER: "Only the customer can mend this payment: no silent retry.",
    State.HELD: "Held because of a dispute or by an operator: nothing is sent.",
    State.PAUSED: "Collection is paused at Stripe: nothing is sent.",
    State.RECOVERED: "The invoice was paid.",
    State.LOST: "The recovery window ended, or the subscription ended for non-payment.",
    State.CANCELLED: "The customer ended the subscription.",
    State.FORGIVEN: "The invoice was voided or written off.",
}

LIVE = frozenset({State.OPEN, State.RECOVERING, State.NEEDS_CUSTOMER, State.HELD, State.PAUSED})
ENDED = frozenset(State) - LIVE

# From each state, the states it may become. A live case may become anything; an ended one may only be corrected
# by better evidence: an earlier end that we heard of later, or money that came after all.
TRANSITIONS: dict[State, frozenset[State]] = {
    **{live: frozenset(State) - {live} for live in LIVE},
    State.LOST: frozenset({State.RECOVERED, State.CANCELLED, State.FORGIVEN}),
    State.CANCELLED: frozenset({State.RECOVERED, State.LOST, State.FORGIVEN}),
    State.FORGIVEN: frozenset({State.RECOVERED, State.LOST, State.CANCELLED}),
    State.RECOVERED: frozenset(),
}


class ForbiddenTransition(ValueError):
    """A case cannot move between these two states."""


def move(old: State, new: State) -> State:
    """`new`, if a case in `old` may become it."""
    if new is not old and new not in TRANSITIONS[old]:
        raise ForbiddenTransition(f"a case that is {old} cannot become {new}")
    return new


# Stripe may tell of a failure and of its consequence in either order, and by events some hours apart.
EARLIER = timedelta(days=1)

# Of a message: taken for the customer, or named in one that was (billing/notices/sequence.py, MERGED).
TOLD = frozenset({"accepted", "merged"})

# A bank that said one of these will say it again until the customer does something.
NO_SILENT_RETRY = frozenset({DeclineClass.NEEDS_CUSTOMER, DeclineClass.AUTHENTICATION, DeclineClass.DEAD_CARD})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One of our own payment attempts on the invoice; `answer` is None while nobody knows."""

    n: int
    at: datetime
    answer: Answer | None = None
    backup: bool = False  # of another saved payment method than the one that Stripe would take

    @property
    def alive(self) -> bool:
        return self.answer in (None, Answer.PROCESSING, Answer.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Told:
    """What a payment intent was told to have come to, before it is known whose it is; no decline: under way."""

    intent: str
    at: datetime
    decline: Decline | None = None
    card: Card | None = None


@dataclass(frozen=True, slots=True)
class No:
    """One refusal of the bank that we heard of, whoever had asked; no code: only that it refused is known."""

    at: datetime
    code: str | None = None
    advice: str | None = None  # the network's

    @property
    def order(self) -> tuple[datetime, str, str]:
        return self.at, self.code or "", self.advice or ""


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier failure of the same customer; `paid_at`: None when the money had not come before this case."""

    failed_at: datetime
    paid_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Dispute:
    """The newest that is known about the dispute, or the fraud warning, of one charge of the customer."""

    charge: str
    at: datetime
    open: bool
    since: datetime | None = None  # the first time that it was told to be open


@dataclass(frozen=True, slots=True)
class Refusal:
    """A network rule forbade a planned attempt; `until`: when it may be asked again, None never for this method."""

    at: datetime
    rule: str
    until: datetime | None
    because: str


@dataclass(frozen=True, slots=True)
class RecoveryCase:
    """One unpaid invoice. All instants are aware UTC; None means: not known to have happened."""

    account: str
    livemode: bool
    invoice: str
    customer: str | None
    subscription: str | None
    amount: Amount  # what is still owed
    policy: str  # name@version, kept for the life of the case
    failed_at: datetime
    last_failed_at: datetime
    deadline: datetime
    state: State = State.OPEN
    because: str = ""
    number: str | None = None
    mrr: Amount | None = None
    mrr_seen_at: datetime | None = None
    arm: str | None = None  # of the holdout experiment
    collection_method: str | None = None
    stripe_attempts: int = 0
    # evidence
    paid_at: datetime | None = None
    paid_by_key: str | None = None  # idempotency key of the call that paid it, when Stripe named one
    paid_outside: bool = False
    voided_at: datetime | None = None
    uncollectible_at: datetime | None = None
    uncollectible_lost: bool = False
    ended_at: datetime | None = None  # the subscription's end
    end_told_by_customer: bool = False
    end_asked_at: datetime | None = None  # when the end was decided, unless Stripe decided it for non-payment
    unpaid_at: datetime | None = None  # the first time since the failure
    unpaid_before: tuple[datetime, ...] = ()  # it, before the failure as known so far; an earlier one may be told yet
    expired_at: datetime | None = None  # the recovery window passed
    paused_at: datetime | None = None
    pause_seen_at: datetime | None = None
    disputes: tuple[Dispute, ...] = ()  # in order of charge
    decline: Decline | None = None
    decline_at: datetime | None = None
    decline_class: DeclineClass = DeclineClass.UNKNOWN
    decline_because: str = ""
    retry_not_before: datetime | None = None
    max_tries: int | None = None  # of ours after this decline
    refusal: Refusal | None = None  # the newest
    brand: str | None = None  # of the card that was tried last
    brand_at: datetime | None = None
    country: str | None = None  # of the issuer
    funding: str | None = None  # of that card: credit, debit, prepaid
    country_at: datetime | None = None
    method: str | None = None  # what the next charge would use: card, sepa_debit, us_bank_account ...
    method_at: datetime | None = None
    interval: str | None = None  # of the subscription
    began_at: datetime | None = None  # the subscription did
    noes: tuple[No, ...] = ()  # every refusal as it was told, in order of time; one may be told twice
    past: tuple[Past, ...] = ()  # in order of time
    action_required_at: datetime | None = None
    method_changed_at: datetime | None = None
    fresh_method: str | None = None  # the one that came then
    method_brought_at: datetime | None = None  # the last time that the customer, not the network, gave or chose one
    endings: tuple[tuple[str, str], ...] = ()  # (part, outcome) of what the policy wanted at the end, in order of part
    promised_at: datetime | None = None  # when the customer last named a day
    promised_until: datetime | None = None  # the end of that day
    looked_at: datetime | None = None
    processing_at: datetime | None = None  # a payment was seen under way, and nothing newer says otherwise
    processing_seen_at: datetime | None = None
    stripe_next_attempt: datetime | None = None
    stripe_seen_at: datetime | None = None
    stripe_seen_attempts: int = 0  # of Stripe's, as that snapshot counts them
    payment_intents: tuple[str, ...] = ()  # known to pay this invoice
    unlinked: tuple[Told, ...] = ()  # of the customer's payments whose invoice is not known yet
    attempts: tuple[Attempt, ...] = ()
    notices: tuple[tuple[str, str], ...] = ()  # (step, outcome), in order of step
    notices_at: tuple[tuple[str, datetime], ...] = ()  # (step, when it ended), in order of step
    sold: tuple[str, ...] = ()  # ids of the prices and products that the subscription had
    operator: Operator = NOBODY  # what people of the company decided

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def window_ends(self) -> datetime:
        """When the policy's window ends; `deadline` is later where a person extended it."""
        return self.operator.window_ends or self.deadline

    @property
    def closed_at(self) -> datetime | None:
        """When the case ended, None while it is live."""
        if self.live:
            return None
        return self.paid_at or min(ends_of(self))[0]

    @property
    def executed(self) -> tuple[Attempt, ...]:
        """The attempts that reached the bank, or may have."""
        return tuple(attempt for attempt in self.attempts if attempt.answer is not Answer.NOT_EXECUTED)

    @property
    def in_flight(self) -> bool:
        """An attempt of ours was sent and its end is not known."""
        return any(attempt.alive for attempt in self.attempts)

    @property
    def under_way(self) -> bool:
        """Stripe was seen with a payment of the invoice whose end is not known, ours or not."""
        return self.processing_at is not None and self.processing_at >= self.last_failed_at

    @property
    def card_changed(self) -> bool:
        """Whether the payment method changed after the last failure."""
        last = max(self.last_failed_at, self.decline_at or self.last_failed_at)
        return self.method_changed_at is not None and self.method_changed_at >= last

    def promise_broken(self, now: datetime) -> bool:
        """Whether the day that the customer named has passed without the money."""
        return self.live and self.promised_until is not None and now >= self.promised_until

    @property
    def refused(self) -> Refusal | None:
        """The refusal that still stands: the payment method did not change after it."""
        if self.refusal and (self.method_changed_at is None or self.method_changed_at < self.refusal.at):
            return self.refusal
        return None

    @property
    def backup_tried(self) -> bool:
        """Whether another saved payment method was tried since the payment method last changed."""
        since = self.method_changed_at
        return any(attempt.backup and (since is None or attempt.at >= since) for attempt in self.executed)

    @property
    def tries_of_card(self) -> int:
        """How often we tried the present payment method."""
        since = self.method_changed_at
        return sum(since is None or attempt.at >= since for attempt in self.executed)

    @property
    def disputed_at(self) -> datetime | None:
        """Since when a charge of the customer is disputed, None when none is."""
        return min((dispute.at for dispute in self.disputes if dispute.open), default=None)

    @property
    def disputed_since(self) -> datetime | None:
        """When the first of the open disputes was first told of."""
        return min((dispute.since or dispute.at for dispute in self.disputes if dispute.open), default=None)

    @property
    def ended_by_customer(self) -> bool:
        """Whether the subscription's end was the customer's decision: told, or taken before the payment failed."""
        asked_before = self.end_asked_at is not None and self.end_asked_at < self.failed_at
        return self.end_told_by_customer or asked_before

    def notice(self, step: str) -> str | None:
        """The outcome of a message step, None if it did not end yet."""
        return dict(self.notices).get(step)

    @property
    def recovered_by(self) -> RecoveredBy | None:
        """Who brought the money, by the priority of `RecoveredBy`, so that one case has one source.

        A case does not keep who replaced a card, so what the books give to the card updater is Stripe's retry here.
        """
        if self.paid_at is None:
            return None
        # The key that Stripe echoes says more than our own reading, which only sees that the money came.
        read_so = any(attempt.answer is Answer.PAID for attempt in self.attempts)
        if self.paid_by_key.startswith(KEY_PREFIX) if self.paid_by_key else read_so:
            return RecoveredBy.OUR_RETRY
        if self.paid_outside:
            return RecoveredBy.OUTSIDE_STRIPE
        if self.paid_by_key is None:
            return RecoveredBy.STRIPE_RETRY
        if self.paid_by_key.startswith(STAFF_PREFIX):
            return RecoveredBy.STAFF
        asked = any(outcome in TOLD for _, outcome in self.notices)
        return RecoveredBy.OUR_MESSAGE if asked else RecoveredBy.CUSTOMER


def _live_state(case: RecoveryCase) -> tuple[State, str]:
    if case.disputed_at:
        return State.HELD, "the customer disputed a charge: nothing is sent until an operator decides"
    if case.operator.outside:
        return State.HELD, "being marked as paid outside Stripe: nothing is sent"
    if case.operator.held:
        return State.HELD, "an operator holds this case: nothing is sent until it is released"
    if case.paused_at:
        return State.PAUSED, "collection of the subscription is paused at Stripe"
    if case.decline_class in NO_SILENT_RETRY and not case.card_changed:
        return State.NEEDS_CUSTOMER, case.decline_because
    if case.attempts or any(outcome in TOLD for _, outcome in case.notices):
        return State.RECOVERING, "waiting for the money after an attempt or a message"
    return State.OPEN, case.decline_because or "the payment failed"


def ends_of(case: RecoveryCase) -> list[tuple[datetime, int, State, str]]:
    """Every end without payment that is known: (instant, rank in a tie, state, because)."""
    ends: list[tuple[datetime, int, State, str]] = []
    if case.ended_at and case.ended_by_customer:
        ends.append((case.ended_at, 0, State.CANCELLED, "the customer ended the subscription"))
    elif case.ended_at:
        ends.append((case.ended_at, 1, State.LOST, "the subscription ended for non-payment"))
    if case.unpaid_at and case.unpaid_at >= case.failed_at - EARLIER:
        ends.append((case.unpaid_at, 2, State.LOST, "Stripe marked the subscription unpaid"))
    if case.voided_at:
        ends.append((case.voided_at, 3, State.FORGIVEN, "the invoice was voided"))
    if case.uncollectible_at and case.uncollectible_lost:
        ends.append((case.uncollectible_at, 4, State.LOST, "the invoice was given up after its last attempt"))
    elif case.uncollectible_at:
        ends.append((case.uncollectible_at, 4, State.FORGIVEN, "the invoice was written off"))
    if case.expired_at:
        ends.append((case.expired_at, 5, State.LOST, "the recovery window passed without payment"))
    return ends


def state_of(case: RecoveryCase) -> tuple[State, str]:
    """(state, because) that the evidence says. Money ends every doubt; else the earliest end wins, ties by rank."""
    if case.paid_at:
        return State.RECOVERED, f"the invoice was paid at {case.paid_at:%Y-%m-%d %H:%M} UTC ({case.recovered_by})"
    if ends := ends_of(case):
        _, _, state, because = min(ends)
        return state, because
    return _live_state(case)


def settle(case: RecoveryCase) -> RecoveryCase:
    """The case with the state that its evidence says, moved through the transition table."""
    state, because = state_of(case)
    return replace(case, state=move(case.state, state), because=because)
