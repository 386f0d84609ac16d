"""What the warnings did: told customers against the control, with how sure that is, and what cannot be said yet.

Every customer counts once for a kind, by the first thing that was to be warned of: several renewals of one customer are
no independent observations. Compared are those who were to be told with those who were not, whether or not a message
arrived: that is what switching the warning on does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import NamedTuple

from billing.ahead.experiment import Arm
from billing.money import Amount
from billing.notices.sequence import Step
from billing.report.interval import Interval, Share, newcombe

FEWEST = 100  # ended renewals in each arm; with fewer even a large effect is hidden by chance
POINTS = 0.05  # the difference that is worth knowing
BOTH_SIDES, POWER = 1.96, 0.84  # normal quantiles for 95 % confidence and 80 % power


@dataclass(frozen=True, slots=True)
class Seen:
    """One renewal that was warned of, or would have been. `outcome` is None while it is still to come."""

    customer: str
    arm: Arm
    at: datetime  # when the arm was drawn
    outcome: str | None = None  # paid, failed, gone
    mended: bool = False  # another way to pay was given before the renewal
    by_updater: bool = False  # by the network, not by the customer
    mrr: Amount | None = None
    sent: str | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One arm: customers whose renewal has ended, and those whose renewal is still to come."""

    ended: int
    open: int
    sent: int
    mended: Share
    by_updater: int
    failed: Share
    gone: Share
    mrr: tuple[Amount, ...]  # of the ended ones, by currency
    mrr_failed: tuple[Amount, ...]


class Difference(NamedTuple):
    """Told minus control, as a share of customers."""

    points: float
    interval: Interval

    @property
    def shown(self) -> bool:
        """Whether chance alone would hardly do it."""
        return self.interval.low > 0 or self.interval.high < 0


@dataclass(frozen=True, slots=True)
class Results:
    step: Step
    told: Side
    control: Side
    mended: Difference | None  # None while one arm has nobody
    failed: Difference | None
    gone: Difference | None
    verdict: str


def results(step: Step, seen: Iterable[Seen]) -> Results:
    """The comparison of one kind of warning."""
    first: dict[str, Seen] = {}
    for each in sorted(seen, key=lambda each: each.at):
        first.setdefault(each.customer, each)
    told = _side([each for each in first.values() if each.arm is Arm.TOLD])
    control = _side([each for each in first.values() if each.arm is Arm.CONTROL])
    both = bool(told.ended and control.ended)
    mended = _difference(told.mended, control.mended) if both else None
    failed = _difference(told.failed, control.failed) if both else None
    gone = _difference(told.gone, control.gone) if both else None
    return Results(step, told, control, mended, failed, gone, _verdict(told, control, failed, gone))


def _side(seen: Sequence[Seen]) -> Side:
    ended = [each for each in seen if each.outcome is not None]
    mended = [each for each in ended if each.mended]
    failed = [each for each in ended if each.outcome == "failed"]
    return Side(
        ended=len(ended),
        open=len(seen) - len(ended),
        sent=sum(each.sent == "accepted" for each in seen),
        mended=Share(len(mended), len(ended)),
        by_updater=sum(each.by_updater for each in mended),
        failed=Share(len(failed), len(ended)),
        gone=Share(sum(each.outcome == "gone" for each in ended), len(ended)),
        mrr=_sums(ended),
        mrr_failed=_sums(failed),
    )


def _sums(seen: Sequence[Seen]) -> tuple[Amount, ...]:
    """By currency; currencies are never added."""
    sums: Counter[str] = Counter()
    for each in seen:
        if each.mrr is not None:
            sums[each.mrr.unit] += each.mrr.minor
    return tuple(Amount(minor, unit) for unit, minor in sorted(sums.items()))


def _difference(told: Share, control: Share) -> Difference:
    return Difference(told.rate - control.rate, newcombe(told, control))


def needed(rate: float, points: float = POINTS) -> int:
    """Customers in each arm that are needed to see this difference, four times in five."""
    spread = max(rate * (1 - rate), 0.01)
    return ceil(2 * (BOTH_SIDES + POWER) ** 2 * spread / points**2)


def _verdict(told: Side, control: Side, failed: Difference | None, gone: Difference | None) -> str:
    if not told.ended + told.open + control.ended + control.open:
        return "Nobody was to be warned yet."
    if not control.ended + control.open:
        return "There is no control group, so nothing can be said of what the messages do."
    if failed is None or min(told.ended, control.ended) < FEWEST:
        said = f"{told.ended} told and {control.ended} control renewals have ended, {FEWEST} of each are wanted"
        return f"Nothing can be concluded yet: {said}."
    low, high = 100 * failed.interval.low, 100 * failed.interval.high
    between = f"between {low:+.1f} and {high:+.1f} points"
    if not failed.shown:
        number = needed(control.failed.rate)
        said = (
            f"No effect on failed renewals is shown ({between}); about {number} in each arm would show one of 5 points."
        )
    elif failed.points < 0:
        said = f"Fewer renewals fail when customers are told: {between}."
    else:
        said = f"More renewals fail when customers are told: {between}. Switch it off."
    if gone is not None and gone.shown and gone.points > 0:
        said += f" More of the told left before the renewal ({100 * gone.points:+.1f} points): weigh that."
    return said
