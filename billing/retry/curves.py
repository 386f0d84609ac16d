"""How likely money is there, by hypothesis: tables over the calendar, worked out once and read by every case.

An account is short or has enough. Pay-days and other money fill it, spending empties it; the chance that it has enough
at slot t, given the chance r at slot s, is `level[t] + (r - level[s]) * fade[t] / fade[s]`, so one look-up per
hypothesis answers any pair of times. What comes after a failure is valued by a simple rule, an attempt every `gap` days
until the window ends, also by look-up. Everything here is a plain Markov chain with two states (Norris, Markov Chains,
1.1), in slots of three hours on the customer's clock. numpy could fill the tables faster; it would weigh more.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import lru_cache
from math import erf, exp, log, sqrt

from billing.retry.calendars import is_payday
from billing.retry.model import SLOTS_A_DAY, Block, Model, Tightness

SLOT_H = 24 // SLOTS_A_DAY
BLOCK_DAYS = 32  # tables are made for failures of so many days at once
SPAN_DAYS = BLOCK_DAYS + 60  # and reach so much further than the first of them
WARM_DAYS = 36  # run before, so that nothing depends on where a table starts
GAPS = (1, 2, 3, 5, 7)  # days between the attempts of the rule that values what comes later
NOON = 4  # slot of the day in which that rule tries


@dataclass(frozen=True, slots=True, eq=False)
class Funds:
    """One pay-day rule and household over one block of days."""

    rule: str
    tightness: Tightness
    level: array[float]  # chance of enough money, by slot, for somebody of whom nothing is known
    fade: array[float]  # how much of a difference from `level` is left, relative to the first slot
    worth: tuple[array[float], ...]  # by gap, by day: discounted chance of success after a failure at noon
    left: tuple[array[float], ...]  # by gap, by day: discounted chance that none succeeded, relative


def block_of(day: int) -> int:
    """The first day of the block of tables that a failure on `day` reads."""
    return day - day % BLOCK_DAYS


@lru_cache(maxsize=4096)
def funds(model: Model, rule: str, kind: int, credit: bool, start: int, hour: float) -> Funds:
    """The tables for the block of days from `start`; `kind` is the index of the household, `hour` that of deposits."""
    household = model.tightness[kind]
    payday, other = steps(model, rule, household, credit, hour)
    level, fade = array("d"), array("d")
    enough = 0.0
    for day in range(start - WARM_DAYS, start):
        for fill, keeps in payday if is_payday(rule, day) else other:
            enough = fill + enough * keeps
    difference = 1.0
    for day in range(start, start + SPAN_DAYS):
        for fill, keeps in payday if is_payday(rule, day) else other:
            enough = fill + enough * keeps
            difference *= keeps
            level.append(enough)
            fade.append(difference)
    worth, left = _later(model, level, fade)
    return Funds(rule, household, level, fade, worth, left)


Steps = list[tuple[float, float]]  # by slot of the day: the chance to be filled, what is kept of a difference


def steps(model: Model, rule: str, household: Tightness, credit: bool, hour: float) -> tuple[Steps, Steps]:
    """A pay-day, slot by slot, and any other day."""
    fills, leaks = household.fills, household.leaks
    if credit:
        fills *= model.funds["credit_fills"]
    if rule == "none":
        leaks *= 2.0  # money without a fixed day still comes
    leak, stay = 1 - exp(-leaks / SLOTS_A_DAY), exp(-household.spends / SLOTS_A_DAY)
    payday = [_step(comes, leak, stay) for comes in _arrivals(hour, model.funds["deposit_doubt"], fills)]
    return payday, [_step(0.0, leak, stay)] * SLOTS_A_DAY


def _step(comes: float, leak: float, stay: float) -> tuple[float, float]:
    """One slot: the chance to be filled, and how much of a difference in being full is kept."""
    fill = 1 - (1 - comes) * (1 - leak)
    return fill, 1 - (1 - stay) * (1 - comes) - fill


def _arrivals(hour: float, doubt: float, fills: float) -> list[float]:
    """The chance that a pay-day's money fills the account in each slot, given that it did not before."""
    before, chances = 0.0, []
    for slot in range(SLOTS_A_DAY):
        edge = 1.0 if slot == SLOTS_A_DAY - 1 else 0.5 * (1 + erf(((slot + 1) * SLOT_H - hour) / (doubt * sqrt(2))))
        chances.append(fills * (edge - before) / (1 - fills * before))
        before = edge
    return chances


def _later(
    model: Model, level: array[float], fade: array[float]
) -> tuple[tuple[array[float], ...], tuple[array[float], ...]]:
    approves, keeps = model.other["approves"], daily(model)
    worths, lefts = [], []
    for gap in GAPS:
        worth, left = array("d", bytes(8 * SPAN_DAYS)), array("d", [1.0] * SPAN_DAYS)
        kept = keeps**gap
        for day in range(SPAN_DAYS - gap - 1, -1, -1):
            here, there = day * SLOTS_A_DAY + NOON, (day + gap) * SLOTS_A_DAY + NOON
            refused = 1 - approves * (level[there] - level[here] * fade[there] / fade[here])
            worth[day] = kept * (1 - refused + refused * worth[day + gap])
            left[day] = kept * refused * left[day + gap]
        worths.append(worth)
        lefts.append(left)
    return tuple(worths), tuple(lefts)


def daily(model: Model) -> float:
    """What of a later success's worth is left per day of waiting."""
    return exp(-model.other["gone_a_day"] - model.other["later_costs_a_day"])


# ---------------------------------------------------------------- the issuer's caution

CAUTION_STEP, CAUTION_MOST = 0.25, 12.0
DAYS_MOST = 64


def passes_block(model: Model, caution: float) -> float:
    """The chance that an issuer of this caution approves."""
    return model.other["approves"] / (1 + exp(caution - model.block["ease"]))


@lru_cache(maxsize=64)
def after_block(model: Model, kind: Block, gap: int) -> tuple[array[float], ...]:
    """By steps left, by caution in steps: discounted chance of success of an attempt every `gap` days."""
    cells = int(CAUTION_MOST / CAUTION_STEP) + 1
    keeps, halves, adds = daily(model) ** gap, 0.5 ** (gap / kind.half_days), model.block["each_retry"]
    rows = [array("d", bytes(8 * cells))]
    for _ in range(DAYS_MOST // gap):
        before, row = rows[-1], array("d")
        for cell in range(cells):
            caution = cell * CAUTION_STEP * halves
            chance = passes_block(model, caution)
            row.append(keeps * (chance + (1 - chance) * before[cell_of(caution + adds)]))
        rows.append(row)
    return tuple(rows)


def cell_of(caution: float) -> int:
    return int(min(caution, CAUTION_MOST) / CAUTION_STEP + 0.5)


# ---------------------------------------------------------------- outages


def outage_over(model: Model, hours: float) -> float:
    """The chance that an outage has ended so many hours after the failure."""
    if hours <= 0:
        return 0.0
    return 0.5 * (1 + erf(log(hours / model.outage["median_hours"]) / (model.outage["spread"] * sqrt(2))))
