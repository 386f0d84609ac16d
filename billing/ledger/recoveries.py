"""Every recovery as one value: how much came back, who brought it, what shows that, and how long it lasted.

One source per case, by the fixed priority of `RecoveredBy`. How long it lasted is asked of the levels: recovered
revenue that is cancelled a week later was recovered and did not last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.ledger.movement import Book, Line, Movement, Step
from billing.ledger.vocabulary import Confidence
from billing.money import Amount

MARKS = (30, 60, 90)  # days


@dataclass(frozen=True, slots=True)
class Recovery:
    """`live` is what of `amount` still counted after so many days, None for a day that has not come yet."""

    movement: str
    customer: str
    subscription: str  # the one that pays again
    case: str | None
    at: datetime
    amount: Amount
    after_loss: bool
    source: str | None
    evidence: str
    confidence: Confidence
    live: tuple[tuple[int, int | None], ...]
    live_now: int


def recoveries(book: Book) -> tuple[Recovery, ...]:
    """All recoveries of a book in its order; `live_now` is at the book's last instant."""
    steps: dict[tuple[str, str], list[Step]] = defaultdict(list)
    for step in book.steps:
        steps[step.customer, step.subscription].append(step)
    sources = {case.key: case.source for case in book.cases}
    found = []
    for movement in book.movements:
        if movement.line is Line.RECOVERED:
            own = steps[movement.customer, movement.subscription]
            source = sources.get(movement.case or "") if movement.pair else _named(movement.reason)
            found.append(_recovery(movement, own, source, book.until))
    return tuple(found)


def _recovery(movement: Movement, steps: Sequence[Step], source: str | None, until: datetime) -> Recovery:
    def live(at: datetime) -> int | None:
        then = at + timedelta.resolution
        return still_live(movement.amount, movement.subscription, steps, then) if at <= until else None

    return Recovery(
        movement=movement.key,
        customer=movement.customer,
        subscription=movement.subscription,
        case=movement.case,
        at=movement.effective_at,
        amount=movement.amount,
        after_loss=movement.pair is None,
        source=source,
        evidence=movement.evidence,
        confidence=movement.confidence,
        live=tuple((days, live(movement.effective_at + timedelta(days=days))) for days in MARKS),
        live_now=live(until) or 0,
    )


def _named(reason: str) -> str | None:
    """The reason of a recovery after the loss is its source, when one is known."""
    return None if reason in ("paid_after_loss", "bought_again") else reason


def still_live(recovered: Amount, subscription: str, steps: Sequence[Step], before: datetime) -> int:
    """What of a recovery the subscription that pays again still counts just before an instant, in its own currency.

    Everything that says "still live" asks here; `steps` are the customer's, in the order of time.
    """
    then = (step.minor for step in reversed(steps) if step.subscription == subscription and step.at < before)
    return min(recovered.minor, next(then, 0))
