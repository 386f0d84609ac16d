"""Move the shares of the model to what a merchant's own closed cases say; the prior holds where they say little.

Expectation-maximisation of a mixture whose weights depend on what is known of each case: every share is multiplied by
(how often the outcomes speak for it + prior) / (how often it was expected + prior), a few rounds long. Few cases leave
the prior as it is (the pseudo-counts below); no case can make a share vanish. What the chances then came to is laid
over them as a rising map (isotonic regression: Barlow and others, 1972). scikit-learn could do the last step; it would
weigh more than all of the worker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from billing.retry.belief import Facts
from billing.retry.model import BLOCK, CAUSES, FUNDS, OUTAGE, SLOTS_A_DAY, STALE, Block, Model
from worker.learning.evidence import CAUSE, Floats, Group, Walk, Weights, groups, walk

ROUNDS = 8
PRIOR = 40.0  # cases that the prior of each share counts for
HOURS_PRIOR = 500.0  # approvals
MAP_PRIOR = 25.0  # attempts, in each step of the map
MOST = 20.0  # a share moves by at most this factor, either way
STEPS = 24  # of the map

Shares = dict[tuple[str, ...], float]  # factor by which a share was moved


def fit(cases: Sequence[Facts], prior: Model, version: str | None = None) -> Model:
    """The prior moved by the closed cases. Each holds all its attempts, the last of which may have been approved."""
    known = [(group, walk(group, prior)) for group in groups(cases, prior)]
    moved: Shares = defaultdict(lambda: 1.0)
    for _ in range(ROUNDS):
        _round(known, prior, moved)
    model = _moved(prior, moved)
    said, came, hours = foretold([group for group, _ in known], prior, moved)
    model = replace(model, hours=_hours(prior, said, came, hours), calibration=_map(said, came))
    return replace(model, version=version or f"{prior.version}+{len(cases)}", learnt_from=len(cases))


def _round(known: list[tuple[Group, Walk]], prior: Model, moved: Shares) -> None:
    seen: Shares = defaultdict(float)
    expected: Shares = defaultdict(float)
    for group, went in known:
        before = _weights(group, prior, moved)
        after = Weights(
            funds=before.funds * went.funds,
            blocks=before.blocks * went.blocks,
            outage=before.outage * went.outage,
            lenient=before.lenient * went.lenient,
            never=before.never * went.never,
        )
        _count(group, prior, before, expected)
        _count(group, prior, after, seen)
    for share, number in expected.items():
        factor = moved[share] * (seen[share] + PRIOR) / (number + PRIOR)
        moved[share] = min(max(factor, 1 / MOST), MOST)


def _weights(group: Group, prior: Model, moved: Shares) -> Weights:
    """The weight of each hypothesis before the retries, with the shares as they are now."""
    names = [_answer(facts, prior) for facts in group.facts]
    factors = {name: np.array([moved["answer", *name, cause] for cause in CAUSES]) for name in set(names)}
    causes = group.causes * np.array([factors[name] for name in names])
    own = [share * moved["rule", group.region, c.rule] * moved["tight", c.tightness.name] for c, share in group.deck]
    funds = group.shares * np.array(own)
    funds *= (causes[:, CAUSE[FUNDS]] / np.maximum(funds.sum(1), 1e-12))[:, None]
    kinds = np.array([kind.share * moved["block", kind.name] for kind in prior.blocks])
    never = causes.copy()
    never[:, [CAUSE[FUNDS], CAUSE[BLOCK], CAUSE[OUTAGE]]] = 0.0
    return Weights(
        funds=funds,
        blocks=causes[:, CAUSE[BLOCK], None] * (kinds / kinds.sum()),
        outage=causes[:, CAUSE[OUTAGE]],
        lenient=causes[:, CAUSE[STALE]] * prior.other["stale_passes"],
        never=never,
    )


def _answer(facts: Facts, prior: Model) -> tuple[str, str]:
    return ("debit" if facts.debit else "card"), prior.answer(facts.tries[0].code)


def _count(group: Group, prior: Model, weights: Weights, counts: Shares) -> None:
    """Add how many cases stand for each share, the weights of each case summing to one."""
    total = weights.funds.sum(1) + weights.blocks.sum(1) + weights.outage + weights.lenient + weights.never.sum(1)
    one = 1 / np.maximum(total, 1e-300)
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
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, facts in enumerate(group.facts):
        rows[_answer(facts, prior)].append(row)
    for name, at in rows.items():
        for cause, number in zip(CAUSES, by_cause[at].sum(0).tolist(), strict=True):
            counts["answer", *name, cause] += number


def _moved(prior: Model, moved: Shares) -> Model:
    """The model with the shares where they are now."""
    learnt: dict[str, dict[str, dict[str, float]]] = {}
    for (what, *names), factor in moved.items():
        if what == "answer":
            kind, answer, cause = names
            learnt.setdefault(kind, {}).setdefault(answer, {})[cause] = factor
    return replace(
        prior,
        learnt=learnt,
        paydays={
            region: {rule: share * moved["rule", region, rule] for rule, share in rules.items()}
            for region, rules in prior.paydays.items()
        },
        tightness=tuple(replace(row, share=row.share * moved["tight", row.name]) for row in prior.tightness),
        blocks=_to_one([replace(kind, share=kind.share * moved["block", kind.name]) for kind in prior.blocks]),
    )


def _to_one(blocks: list[Block]) -> tuple[Block, ...]:
    total = sum(kind.share for kind in blocks)
    return tuple(replace(kind, share=kind.share / total) for kind in blocks)


def foretold(known: list[Group], prior: Model, moved: Shares) -> tuple[Floats, Floats, Floats]:
    """Of every attempt: the chance that was foretold, whether it was approved, its local hour."""
    parts = [part for group in known for part in walk(group, prior, _weights(group, prior, moved)).foretold]
    if not parts:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    said, came, hours = (np.concatenate([part[at] for part in parts]).astype(float) for at in range(3))
    return said, came, hours


def _hours(prior: Model, said: Floats, came: Floats, hours: Floats) -> tuple[float, ...]:
    """Approval by hour of the day: how many came against how many were foretold, near the prior where few are known."""
    slots = (hours % 24 / (24 / SLOTS_A_DAY)).astype(int)
    overall = (came.sum() + HOURS_PRIOR) / (said.sum() + HOURS_PRIOR)
    factors = []
    for slot, before in enumerate(prior.hours):
        here = slots == slot
        ratio = (came[here].sum() + HOURS_PRIOR) / (said[here].sum() + HOURS_PRIOR) / overall
        factors.append(float(min(1.05, before * ratio)))
    return tuple(factors)


def _map(said: Floats, came: Floats) -> tuple[tuple[float, float], ...]:
    """Rising pairs (said, came to), by steps of equal number, pooled where they would fall."""
    if len(said) < STEPS * 10:
        return ()
    order = np.argsort(said)
    blocks: list[list[float]] = []  # (number, sum of said, sum of came)
    for step in np.array_split(order, STEPS):
        number, mean = float(len(step)), float(said[step].mean())
        hits = float((came[step].sum() + MAP_PRIOR * mean) * number / (number + MAP_PRIOR))
        blocks.append([number, mean * number, hits])
        while len(blocks) > 1 and blocks[-2][2] / blocks[-2][0] >= blocks[-1][2] / blocks[-1][0]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    return tuple((mass / number, min(1.0, hits / number)) for number, mass, hits in blocks)
