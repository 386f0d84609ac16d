"""Recoveries as a period's bridge needs them: which losses of a period were undone within it, and what of that lives.

The sums of months cannot tell: of several recoveries of one lost subscription a period counts the largest (3.3, rule
9), and whether a loss was of the same period depends on where the period begins. So the recoveries stand beside the
months, each for as long as no later one takes its place, and a period reads the few that stand at its end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from billing.ledger.movement import Line, Movement, Step

FOREVER = 999_912  # of `until`: the row stands until something happens


class Restored(NamedTuple):
    """One lost subscription's recoveries of one month from losses of one month, as they stand from `since` on.

    They stand until before `until`, when a later recovery undoes as much: whatever period holds both reads that one.
    """

    customer: str
    currency: str
    number: int  # of the last of them, in the order of the customer's movements
    since: int
    until: int
    month: int
    lost_month: int
    lost_subscription: str
    late: int  # what came back from a loss of an earlier month; on the first row of each
    restored: int  # the most of one loss that is undone by then
    after: int  # up to its own, the latest `lost_month` of those that followed: the last of periods that begin later
    level: int  # what the subscription that pays again counts, at most what was ever restored; 0 if never the last


class Undone(NamedTuple):
    """A recovery, and the loss that it undoes."""

    number: int
    month: int
    lost_month: int
    lost_subscription: str
    loss: str
    paired: int
    minor: int
    living: str  # the subscription that pays again


def undoings(moved: Mapping[int, list[Movement]]) -> list[Undone]:
    """Every recovery among movements by month, in their order."""
    losses: dict[str, tuple[int, str]] = {}
    found: list[Undone] = []
    for month, movements in moved.items():
        for each in movements:
            line = each.line
            if line is Line.INVOLUNTARY and not each.pair:
                losses[each.key] = (month, each.subscription)
            elif line is Line.RECOVERED:
                minor, living = each.amount.minor, each.subscription
                if each.pair:
                    found.append(Undone(len(found), month, month, living, each.pair, 1, minor, living))
                elif each.loss in losses:
                    found.append(Undone(len(found), month, *losses[each.loss], each.loss, 0, minor, living))
    return found


class _Together(NamedTuple):
    """The recoveries of one subscription in one month from losses of one month."""

    last: Undone
    late: int
    restored: int
    most: int  # of any loss of the subscription so far


def restorations(
    customer: str, currency: str, undone: Sequence[Undone], steps: Mapping[int, list[Step]]
) -> Iterator[Restored]:
    """The rows of one customer's recoveries; `steps` are what its subscriptions count, by month."""
    if not undone:
        return
    levels: dict[str, dict[int, int]] = defaultdict(dict)
    for month, some in steps.items():
        for step in some:
            levels[step.subscription][month] = step.minor
    for subscription, recoveries in _by_subscription(undone).items():
        for place, each in enumerate(recoveries):
            number, month, lost_month = each.last[:3]
            late = each.late
            for since, until, after, level in _spans(each, recoveries[place + 1 :], levels[each.last.living]):
                about = (month, lost_month, subscription, late, each.restored)
                yield Restored(customer, currency, number, since, until, *about, after, level)
                late = 0


def _by_subscription(undone: Sequence[Undone]) -> dict[str, list[_Together]]:
    so_far: dict[tuple[str, str], int] = defaultdict(int)
    most: dict[str, int] = defaultdict(int)
    found: dict[str, dict[tuple[int, int], _Together]] = defaultdict(dict)
    for each in undone:
        lost = each.lost_subscription
        restored = so_far[lost, each.loss] = so_far[lost, each.loss] + each.minor
        most[lost] = max(most[lost], restored)
        key = (each.month, each.lost_month)
        before = found[lost].get(key)
        late = each.minor if each.lost_month < each.month else 0
        if before:
            late, restored = late + before.late, max(restored, before.restored)
        found[lost][key] = _Together(each, late, restored, most[lost])
    return {lost: sorted(some.values()) for lost, some in found.items()}


def _spans(each: _Together, following: Sequence[_Together], levels: Mapping[int, int]) -> Iterator[tuple[int, ...]]:
    """From when until when it stands, which `lost_month` followed by then, and its level while it can be the last."""
    month, lost_month, stop, after = each.last.month, each.last.lost_month, FOREVER, 0
    followed = {month: 0}
    for later in following:
        if later.last.lost_month >= lost_month and later.restored >= each.restored:
            stop = later.last.month
            break
        followed[later.last.month] = after = max(after, min(later.last.lost_month, lost_month))
    if stop == month and not each.late:
        return
    before = [level for at, level in levels.items() if at <= month]
    since, after = month, followed[month]
    known = level = min(before[-1] if before else 0, each.most)
    for at in sorted({*levels, *followed}) if len(followed) > 1 else levels:
        if month < at < stop:
            known, then = min(levels.get(at, known), each.most), followed.get(at, after)
            now = known if then < lost_month else 0
            if (then, now) != (after, level):
                yield since, at, after, level
                since, after, level = at, then, now
    yield since, stop, after, level if after < lost_month else 0
