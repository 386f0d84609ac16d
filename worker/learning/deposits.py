"""At what hour wages reach the accounts of a merchant's customers: the one habit of banks that is worth learning.

Whether an attempt at noon of a pay-day finds the money or comes too early decides more than all other numbers of the
model together (`benchmarks/README.md`). The hour is the likeliest of a few by every second closed case, the shares
moved for each hour as far as the cases want it; it is believed only if it foretells the other cases better. Other hours
make other tables: those of `billing/retry/curves.py`, for all hours at once; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from billing.retry import curves
from billing.retry.belief import Facts
from billing.retry.calendars import is_payday
from billing.retry.curves import SPAN_DAYS, WARM_DAYS
from billing.retry.model import SLOTS_A_DAY, Model
from worker.learning.evidence import Floats, Group, Shares, Walk, after, all_of, groups, walk, weights_of
from worker.learning.shares import Known, moved_by

HOURS = (10.0, 13.0, 16.0, 19.0)  # attempts are made by day, so they cannot tell earlier ones apart
MOST_CASES = 3000  # of those with a retry: they are enough to tell hours apart
ROUNDS = 4
SURE = 2.0  # so many times its own doubt a gain must be


def deposits(cases: Sequence[Facts], prior: Model) -> Model:
    """The prior with the hour of deposits that the cases speak for."""
    telling = [facts for facts in cases if len(facts.tries) > 1]
    telling = telling[:: max(1, -(-len(telling) // MOST_CASES))]
    models = [prior, *(_paid_at(hour, prior) for hour in HOURS)]
    seen = _by_hour(telling[::2], models)
    moved = [moved_by(known, prior, ROUNDS) for known in seen]
    best = int(np.argmax([_told(*each, prior).sum() for each in zip(seen, moved, strict=True)]))
    usual, other = _by_hour(telling[1::2], [prior, models[best]])
    gain = _told(other, moved[best], prior) - _told(usual, moved[0], prior)
    return models[best] if gain.sum() > SURE * np.sqrt((gain**2).sum()) else prior


def _paid_at(hour: float, prior: Model) -> Model:
    return replace(prior, funds={**prior.funds, "deposit_hour": hour}, deposits={})


def _by_hour(cases: Sequence[Facts], models: Sequence[Model]) -> list[Known]:
    """By model, the cases and how its tables foretold them."""
    known: list[list[tuple[Group, Walk]]] = [[] for _ in models]
    for group in groups(cases, models[0]):
        first = group.slots[:, 0]
        broke = 1 - group.curves()[0][:, first]
        for at, (level, fade) in enumerate(zip(*tables(group, models), strict=True)):
            shares = group.shares * ((1 - level[:, first]) / broke).T
            went = walk(replace(group, tables=(level, fade)), models[at])
            known[at].append((replace(group, shares=shares), went))
    return list(known)


def _told(known: Known, moved: Shares, prior: Model) -> Floats:
    """By case: the logarithm of how likely the answers of the bank were."""
    found = [np.zeros(0)]
    for group, went in known:
        before = weights_of(group, prior, moved)
        found.append(np.log(all_of(after(before, went)) / all_of(before)))
    return np.concatenate(found)


def tables(group: Group, models: Sequence[Model]) -> tuple[Floats, Floats]:
    """`level` and `fade` of the curves of the group, as (model, curve, slot)."""
    curves_ = [curve for curve, _ in group.deck]
    at = [model.deposit_hour(group.region) for model in models]
    steps = [
        [curves.steps(model, each.rule, each.tightness, group.credit, hour) for each in curves_]
        for model, hour in zip(models, at, strict=True)
    ]
    payday, other = (_day(np.array([[each[kind] for each in row] for row in steps])) for kind in range(2))
    level = np.zeros((len(models), len(curves_), SPAN_DAYS, SLOTS_A_DAY))
    fade = np.zeros_like(level)
    enough, difference = np.zeros((*level.shape[:2], 1)), np.ones((*level.shape[:2], 1))
    for day in range(group.start - WARM_DAYS, group.start + SPAN_DAYS):
        paid = np.array([is_payday(each.rule, day) for each in curves_])[:, None]
        fills, keeps = (np.where(paid, *each) for each in zip(payday, other, strict=True))
        today = fills + enough * keeps
        enough = today[:, :, -1:]
        if day >= group.start:
            level[:, :, day - group.start], fade[:, :, day - group.start] = today, difference * keeps
            difference = difference * keeps[:, :, -1:]
    flat = (len(models), len(curves_), SPAN_DAYS * SLOTS_A_DAY)
    return level.reshape(flat), fade.reshape(flat)


def _day(steps: Floats) -> tuple[Floats, Floats]:
    """From (model, curve, slot, (fill, keeps)) of each step to the same since the day began."""
    fills: Floats = steps[..., 0].copy()
    keeps: Floats = np.multiply.accumulate(steps[..., 1], axis=-1)
    for slot in range(1, SLOTS_A_DAY):
        fills[..., slot] += fills[..., slot - 1] * steps[..., slot, 1]
    return fills, keeps
