"""What the fold yields: movements of recurring revenue, cases of failed payment, cash, and the levels behind them.

All are values with keys made from their content, so that the same facts give the same keys in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b

from billing.ledger.vocabulary import Confidence
from billing.money import Amount


class Line(StrEnum):
    """The movement types; each is one line of the bridge."""

    NEW = "new"  # a customer's first recurring revenue ever
    EXPANSION = "expansion"  # any increase of a customer who had some
    DOWNGRADE = "downgrade"  # fewer units, a smaller product, a pause, one of several subscriptions dropped
    RESTRUCTURING = "restructuring"  # the same for less: interval, renegotiation, discount, consolidation
    VOLUNTARY = "voluntary_churn"  # the last subscription ended by decision, dispute or the end of its term
    INVOLUNTARY = "involuntary_churn"  # lost because nobody paid
    RECOVERED = "recovered"  # came back by payment: beside its own loss, or undoing an earlier one
    REACTIVATION = "reactivation"  # a return from zero that is no recovery


class Outcome(StrEnum):
    """How a case stands."""

    OPEN = "open"  # unpaid, still counted, at risk
    RECOVERED = "recovered"  # the subscription is current again
    LOST = "lost"  # ended, marked unpaid or past due for too long
    VOLUNTARY = "voluntary"  # the customer ended it meanwhile
    FORGIVEN = "forgiven"  # the invoice was given up while the subscription goes on


class CashKind(StrEnum):
    """What happened to money that an invoice had asked for in vain."""

    FAILED = "failed"  # asked for the first time in vain
    RECOVERED = "recovered"  # came after all
    LOST = "lost"  # given up with the case
    RECOVERED_AFTER_LOSS = "recovered_after_loss"  # came after it had been given up
    FORGIVEN = "forgiven"  # waived
    REFUNDED = "refunded"  # came, and went back


@dataclass(frozen=True, slots=True)
class Movement:
    """One signed change of a customer's recurring revenue, in `usd/mo` or its like."""

    key: str
    line: Line
    reason: str
    effective_at: datetime
    customer: str
    subscription: str
    amount: Amount
    case: str | None = None
    pair: str | None = None  # the two halves of a recovery before the loss share one pair
    loss: str | None = None  # of a recovery after the loss: the movement that it undoes
    invoice: str | None = None
    at_risk: bool = False  # taken from, or added to, revenue at risk instead of revenue in good standing
    evidence: str = ""
    confidence: Confidence = Confidence.CERTAIN


@dataclass(frozen=True, slots=True)
class Case:
    """One failure of one subscription's payment, from the first failure to its end. Amounts are a month's revenue."""

    key: str
    customer: str
    subscription: str
    invoice: str | None
    opened_at: datetime
    opened: Amount  # the level when it failed
    outcome: Outcome = Outcome.OPEN
    closed_at: datetime | None = None
    remeasured: int = 0  # what changed while it was open, signed
    recovered: int = 0  # paid again, at most what had failed
    released: int = 0  # back to good standing at the close
    source: str | None = None  # who brought the money
    evidence: str = ""  # what shows the outcome, and who brought the money
    because: str = ""
    confidence: Confidence = Confidence.CERTAIN

    @property
    def at_close(self) -> int:
        """The level at the end of the case, just before its outcome; so far, while it is open."""
        return self.opened.minor + self.remeasured


@dataclass(frozen=True, slots=True)
class Cash:
    """One change of money asked for in vain; `amount` is positive cash."""

    key: str
    kind: CashKind
    at: datetime
    customer: str
    subscription: str
    invoice: str | None
    amount: Amount
    case: str | None = None
    source: str | None = None


class Known(StrEnum):
    """What is known of a subscription and moves nothing; a report shows it beside the figures."""

    ENDING = "ending"  # its end is decided and has not come: scheduled churn
    DEFERRED = "deferred"  # its invoices are kept as drafts: counted, and not collected for now


@dataclass(frozen=True, slots=True)
class Mark:
    """Something known of a subscription from `since` until `until` (None: still); `due` is when it will end."""

    kind: Known
    customer: str
    subscription: str
    since: datetime
    until: datetime | None = None
    due: datetime | None = None

    def holds(self, before: datetime) -> bool:
        """Whether it was so just before an instant."""
        return self.since < before and (self.until is None or self.until >= before)


@dataclass(frozen=True, slots=True)
class Step:
    """From `at` on, the subscription counts as `minor` a month, so much of it for each product."""

    at: datetime
    customer: str
    subscription: str
    currency: str
    minor: int
    products: tuple[tuple[str, int], ...] = ()
    usage: int = 0  # of it billed by what was used
    yearly: int = 0  # of it billed by the year or longer


@dataclass(frozen=True, slots=True)
class Standing:
    """From `at` on, the customer has (or no longer has) a subscription that neither ended nor was lost."""

    at: datetime
    customer: str
    alive: bool
    because: Line | None = None  # of a customer who is gone: voluntary or involuntary


@dataclass(frozen=True, slots=True)
class Book:
    """Everything the fold knows, customer by customer in the order of time. `until` is the last instant folded.

    At `next_due` something may change without an event (a past-due limit, a coupon's end): fold again then.
    """

    until: datetime
    movements: tuple[Movement, ...] = ()
    cases: tuple[Case, ...] = ()
    cash: tuple[Cash, ...] = ()
    steps: tuple[Step, ...] = ()
    standings: tuple[Standing, ...] = ()
    marks: tuple[Mark, ...] = ()
    next_due: datetime | None = None


def key_of(*content: object) -> str:
    """A short stable key of some content, on every machine the same; instants must be in UTC, as everywhere."""
    text = "\x1f".join([str(part) for part in content])
    return blake2b(text.encode(), digest_size=12).hexdigest()
