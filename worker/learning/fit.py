"""Move the model to what a merchant's own closed cases say; the prior holds where they say little.

First the hour of deposits (`deposits.py`), then the shares (`shares.py`), then the hours of the day and a rising map of
what the chances came to (isotonic regression: Barlow and others, 1972). scikit-learn could do the last step; it would
weigh more than all of the worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from billing.retry.belief import Facts
from billing.retry.model import SLOTS_A_DAY, Block, Model
from worker.learning.deposits import deposits
from worker.learning.evidence import Floats, Group, Shares, groups, walk, weights_of
from worker.learning.shares import moved_by

HOURS_PRIOR = 500.0  # approvals
MAP_PRIOR = 25.0  # attempts, in each step of the map
STEPS = 24  # of the map


def fit(cases: Sequence[Facts], prior: Model, version: str | None = None) -> Model:
    """The prior moved by the closed cases. Each holds all its attempts, the last of which may have been approved."""
    prior = deposits(cases, prior)
    known = [(group, walk(group, prior)) for group in groups(cases, prior)]
    moved = moved_by(known, prior)
    model = _moved(prior, moved)
    said, came, hours = foretold([group for group, _ in known], prior, moved)
    model = replace(model, hours=_hours(prior, said, came, hours), calibration=_map(said, came))
    return replace(model, version=version or f"{prior.version}+{len(cases)}", learnt_from=len(cases))


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
    parts = [part for group in known for part in walk(group, prior, weights_of(group, prior, moved)).foretold]
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
