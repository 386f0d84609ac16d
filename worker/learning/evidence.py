"""Closed cases as arrays: how well each hypothesis foretold each answer of the bank.

The same arithmetic as `billing/retry/belief.py`, which weighs one case in plain Python; here it runs over a hundred
thousand cases at once. A test holds the two together. Cases are grouped by the tables of curves that they read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from billing.retry import belief as beliefs
from billing.retry import curves
from billing.retry.belief import PASSES, TINY, Facts, Try
from billing.retry.calendars import local_hours
from billing.retry.curves import SLOT_H
from billing.retry.model import BLOCK, CAUSES, FUNDS, OUTAGE, SLOTS_A_DAY, STALE, Model

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Deck = tuple[tuple[curves.Funds, float], ...]
MOST_TRIES = 16  # what a case tells after so many is not needed
Shares = dict[tuple[str, ...], float]  # factor by which a share was moved
CAUSE = {cause: index for index, cause in enumerate(CAUSES)}


@dataclass(frozen=True, slots=True)
class Group:
    """Cases that read the same tables; rows are cases, columns are attempts (0 is the failed charge)."""

    region: str
    credit: bool
    deck: Deck
    start: int
    facts: list[Facts]
    answers: dict[tuple[str, str], Ints]  # (card or debit, kind of the first answer) -> rows
    hours: Floats
    slots: Ints
    ok: NDArray[np.bool_]
    made: NDArray[np.bool_]
    causes: Floats  # weight of each cause by the first answer, the shares of the model included
    heard: NDArray[np.float32]  # (case, attempt, cause): what each later answer says
    shares: Floats  # (case, curve): what the case says of pay-days and household, without the shares of the model
    tables: tuple[Floats, Floats] | None = None  # `level` and `fade` (curve, slot) in place of the deck's

    def curves(self) -> tuple[Floats, Floats]:
        """`level` and `fade` by curve and slot."""
        own = [curve for curve, _ in self.deck]
        return self.tables or (np.array([each.level for each in own]), np.array([each.fade for each in own]))


def groups(cases: Sequence[Facts], model: Model) -> Iterator[Group]:
    """The cases that have at least one retry, or none: all of them speak for the answers of banks."""
    by_table: dict[tuple[str, bool, int], list[Facts]] = defaultdict(list)
    for facts in cases:
        first = local_hours(facts.tries[0].at, facts.utc_offset_h or 0.0)
        key = model.region(facts.country, facts.funding), facts.funding == "credit", curves.block_of(int(first // 24))
        by_table[key].append(facts)
    for (region, credit, start), members in by_table.items():
        yield _group(members, model, region, credit, start)


def _group(members: list[Facts], model: Model, region: str, credit: bool, start: int) -> Group:
    deck = beliefs.deck_of(model, region, credit, start)
    heard_of = _hearing(model)
    wide = max(min(len(facts.tries), MOST_TRIES) for facts in members)
    hours, made = np.zeros((len(members), wide)), np.zeros((len(members), wide), dtype=bool)
    ok, heard = np.zeros((len(members), wide), dtype=bool), np.ones((len(members), wide, len(CAUSES)), dtype=np.float32)
    shift = np.array([model.funds["debit_delay_h"] if facts.debit else 0.0 for facts in members])
    for row, facts in enumerate(members):
        tries, offset = told(facts), facts.utc_offset_h or 0.0
        for column, attempt in enumerate(tries):
            hours[row, column], ok[row, column], made[row, column] = local_hours(attempt.at, offset), attempt.ok, True
        kind = "debit" if facts.debit else "card"
        for column, (before, attempt) in enumerate(pairwise(tries), start=1):
            if not attempt.ok:
                heard[row, column] = heard_of(kind, before, attempt)
    slots = ((hours + shift[:, None]) / SLOT_H).astype(np.int64) - start * SLOTS_A_DAY
    slots = np.clip(slots, 0, curves.SPAN_DAYS * SLOTS_A_DAY - 1)
    causes = np.array([list(beliefs.causes_of(facts, facts.tries[0], model).values()) for facts in members])
    shares = np.array([beliefs.shares_of(facts, model, deck, int(slots[row, 0])) for row, facts in enumerate(members)])
    own = np.array([share for _, share in deck])
    answers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, facts in enumerate(members):
        answers["debit" if facts.debit else "card", model.answer(facts.tries[0].code)].append(row)
    rows = {answer: np.array(at) for answer, at in answers.items()}
    return Group(region, credit, deck, start, members, rows, hours, slots, ok, made, causes, heard, shares / own)


def told(facts: Facts) -> tuple[Try, ...]:
    """The attempts that speak of the card that failed: those before its details were renewed."""
    updated = facts.card_updated_at
    return tuple(each for each in facts.tries if updated is None or each.at < updated)[:MOST_TRIES]


def _hearing(model: Model) -> Callable[[str, Try, Try], Floats]:
    """What an answer after another one says of each cause; there are few different ones."""
    known: dict[tuple[str | None, ...], Floats] = {}

    def heard(kind: str, before: Try, attempt: Try) -> Floats:
        key = kind, before.code, before.advice, attempt.code, attempt.advice
        if key not in known:
            factors = beliefs.heard_of(model, kind, before, attempt)
            known[key] = np.array([factors[cause] for cause in CAUSES])
        return known[key]

    return heard


@dataclass(slots=True)
class Walk:
    """After all attempts, by case: likelihood of everything under each hypothesis; columns as `columns` of a group."""

    funds: Floats  # (case, curve)
    blocks: Floats  # (case, kind of block)
    outage: Floats
    lenient: Floats
    never: Floats  # (case, cause)
    foretold: list[tuple[Floats, NDArray[np.bool_]]]  # chance, came; when weights were given


def walk(group: Group, model: Model, weights: Weights | None = None) -> Walk:
    """Go through the attempts of all cases at once; with `weights`, note what was foretold of each attempt."""
    count, approves = len(group.facts), model.other["approves"]
    level, fade = group.curves()
    halves = np.array([kind.half_days for kind in model.blocks])
    funds, gone_funds = np.ones((count, len(level))), np.zeros((count, len(level)))
    enough = np.zeros((count, len(level)))
    blocks, gone_blocks = np.ones((count, len(halves))), np.zeros((count, len(halves)))
    caution = np.full((count, len(halves)), model.block["caution"])
    outage, lenient, never = np.ones(count), np.ones(count), np.ones((count, len(CAUSES)))
    foretold = []
    over_at = np.vectorize(lambda hours: curves.outage_over(model, hours))
    for column in range(1, group.hours.shape[1]):
        at = np.flatnonzero(group.made[:, column])
        if not len(at):
            break
        here, there = group.slots[at, column - 1], group.slots[at, column]
        days = (group.hours[at, column] - group.hours[at, column - 1]) / 24
        spoke = np.array([beliefs.of_hour(model, hours) for hours in group.hours[at, column].tolist()])
        lives = 1 - np.minimum(1.0, model.other["gone_a_day"] * np.maximum(0.0, days))
        had = level[:, there].T + (enough[at] - level[:, here].T) * fade[:, there].T / fade[:, here].T
        chance = approves * spoke[:, None] * had
        left = caution[at] * 0.5 ** (days[:, None] / halves)
        passes = approves * spoke[:, None] / (1 + np.exp(left - model.block["ease"]))
        over = over_at(group.hours[at, column - 1] - group.hours[at, 0])
        ends = over_at(group.hours[at, column] - group.hours[at, 0])
        mends = approves * spoke * (ends - over) / np.maximum(1 - over, TINY)
        came = group.ok[at, column]
        if weights is not None:
            good = (weights.funds[at] * funds[at] * chance).sum(1) * lives + weights.outage[at] * outage[at] * mends
            good += (weights.blocks[at] * blocks[at] * passes).sum(1) * lives
            good += weights.lenient[at] * lenient[at] * PASSES * spoke
            all_ = (weights.funds[at] * (funds[at] + gone_funds[at])).sum(1) + weights.outage[at] * outage[at]
            all_ += (weights.blocks[at] * (blocks[at] + gone_blocks[at])).sum(1) + weights.lenient[at] * lenient[at]
            all_ += (weights.never[at] * never[at]).sum(1)
            foretold.append((good / np.maximum(all_, TINY), came))
        heard = group.heard[at, column]
        no = (~came).astype(float)
        fund, block = heard[:, CAUSE[FUNDS], None], heard[:, CAUSE[BLOCK], None]
        gone_funds[at] = (gone_funds[at] + funds[at] * (1 - lives)[:, None]) * fund * no[:, None]
        funds[at] *= lives[:, None] * np.where(came[:, None], chance, (1 - chance) * fund)
        enough[at] = np.maximum(0.0, (had - chance) / np.maximum(1 - chance, TINY))
        gone_blocks[at] = (gone_blocks[at] + blocks[at] * (1 - lives)[:, None]) * block * no[:, None]
        blocks[at] *= lives[:, None] * np.where(came[:, None], passes, (1 - passes) * block)
        caution[at] = left + model.block["each_retry"]
        outage[at] *= np.where(came, mends, (1 - mends) * heard[:, CAUSE[OUTAGE]])
        lenient[at] *= np.where(came, PASSES * spoke, (1 - PASSES) * heard[:, CAUSE[STALE]])
        never[at] *= np.where(came[:, None], 0.0, heard)
    return Walk(funds + gone_funds, blocks + gone_blocks, outage, lenient, never, foretold)


@dataclass(slots=True)
class Weights:
    """The weight of each hypothesis before the retries, by case."""

    funds: Floats
    blocks: Floats
    outage: Floats
    lenient: Floats
    never: Floats


def after(before: Weights, went: Walk) -> Weights:
    """The weights once the attempts are known; they do not sum to one."""
    return Weights(
        funds=before.funds * went.funds,
        blocks=before.blocks * went.blocks,
        outage=before.outage * went.outage,
        lenient=before.lenient * went.lenient,
        never=before.never * went.never,
    )


def weights_of(group: Group, prior: Model, moved: Shares | None = None) -> Weights:
    """The weight of each hypothesis before the retries, with the shares as they are now."""
    moved = moved if moved is not None else defaultdict(lambda: 1.0)
    causes = group.causes.copy()
    for answer, rows in group.answers.items():
        causes[rows] *= np.array([moved["answer", *answer, cause] for cause in CAUSES])
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


def all_of(weights: Weights) -> Floats:
    """The weight of all hypotheses together, by case."""
    sums: Floats = weights.funds.sum(1) + weights.blocks.sum(1) + weights.never.sum(1)
    return np.asarray(np.maximum(sums + weights.outage + weights.lenient, 1e-300))
