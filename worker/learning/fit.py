"""Move the model to what a merchant's own closed cases say; the prior holds where they say little.

First the hour of deposits (`deposits.py`), then the shares (`shares.py`), then a rising map of what the chances came to
(isotonic regression: Barlow and others, 1972). scikit-learn could do the last step; it would weigh more than all of the
worker. The hours of the day are not learnt: attempts at odd hours are made for a reason (an outage, an answer that came
at night), so what they came to says little of the hour; scores fell by 0.2 to 0.4 points when they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from billing.retry.belief import Facts
from billing.retry.model import Block, Model
from worker.learning.deposits import deposits
from worker.learning.evidence import Floats, Group, Shares, groups, walk, weights_of
from worker.learning.shares import moved_by

MAP_PRIOR = 25.0  # attempts, in each step of the map
STEPS = 24  # of the map


def fit(cases: Sequence[Facts], prior: Model, version: str | None = None) -> Model:
    """The prior moved by the closed cases. Each holds all its attempts, the last of which may have been approved."""
    prior = deposits(cases, prior)
    known = [(group, walk(group, prior)) for group in groups(cases, prior)]
    moved = moved_by(known, prior)
    model = _moved(prior, moved)
    calibration = _map(*foretold([group for group, _ in known], prior, moved))
    version = version or f"{prior.version}+{len(cases)}"
    return replace(model, calibration=calibration, version=version, learnt_from=len(cases))


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


def foretold(known: list[Group], prior: Model, moved: Shares) -> tuple[Floats, Floats]:
    """Of every attempt: the chance that was foretold, whether it was approved."""
    parts = [part for group in known for part in walk(group, prior, weights_of(group, prior, moved)).foretold]
    if not parts:
        return np.zeros(0), np.zeros(0)
    said, came = (np.concatenate([part[at] for part in parts]).astype(float) for at in range(2))
    return said, came


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
