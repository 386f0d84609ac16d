"""How far the shares of a model are moved by closed cases: expectation-maximisation of a mixture.

Every share is multiplied by (how often the outcomes speak for it + prior) / (how often it was expected + prior), a few
rounds long; the weights of the mixture depend on what is known of each case. Few cases leave the prior as it is; no
case can make a share vanish.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from billing.retry.model import BLOCK, CAUSES, FUNDS, OUTAGE, STALE, Model
from worker.learning.evidence import CAUSE, Group, Shares, Walk, Weights, after, all_of, weights_of

ROUNDS = 8
PRIOR = 40.0  # cases that the prior of each share counts for
MOST = 20.0  # a share moves by at most this factor, either way

Known = Sequence[tuple[Group, Walk]]


def moved_by(known: Known, prior: Model, rounds: int = ROUNDS) -> Shares:
    """The factor of each share."""
    moved: Shares = defaultdict(lambda: 1.0)
    for _ in range(rounds):
        _round(known, prior, moved)
    return moved


def _round(known: Known, prior: Model, moved: Shares) -> None:
    seen: Shares = defaultdict(float)
    expected: Shares = defaultdict(float)
    for group, went in known:
        before = weights_of(group, prior, moved)
        _count(group, prior, after(before, went), seen)
        _count(group, prior, before, expected)
    for share, number in expected.items():
        factor = moved[share] * (seen[share] + PRIOR) / (number + PRIOR)
        moved[share] = min(max(factor, 1 / MOST), MOST)


def _count(group: Group, prior: Model, weights: Weights, counts: Shares) -> None:
    """Add how many cases stand for each share, the weights of each case summing to one."""
    one = 1 / all_of(weights)
    funds, blocks = (weights.funds * one[:, None]).sum(0), (weights.blocks * one[:, None]).sum(0)
    for (curve, _), number in zip(group.deck, funds.tolist(), strict=True):
        counts["rule", group.region, curve.rule] += number
        counts["tight", curve.tightness.name] += number
    for kind, number in zip(prior.blocks, blocks.tolist(), strict=True):
        counts["block", kind.name] += number
    by_cause = weights.never.copy()
    by_cause[:, CAUSE[FUNDS]] = weights.funds.sum(1)
    by_cause[:, CAUSE[BLOCK]] = weights.blocks.sum(1)
    by_cause[:, CAUSE[OUTAGE]] = weights.outage
    by_cause[:, CAUSE[STALE]] += weights.lenient
    by_cause *= one[:, None]
    for answer, rows in group.answers.items():
        for cause, number in zip(CAUSES, by_cause[rows].sum(0).tolist(), strict=True):
            counts["answer", *answer, cause] += number
