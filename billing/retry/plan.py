"""When to ask the bank again: the attempt of the highest expected value over all that is left of the window.

Each candidate time is valued as "try then, and if refused go on every few days until the window ends", with the best
number of days; the first step of the best such plan is taken, and all is weighed anew after each answer. One step of
improvement on the best fixed schedule (rollout; Bertsekas, Dynamic Programming and Optimal Control, 6.4): as far as the
belief is right, the choice cannot be worse than any evenly spaced schedule. A full dynamic program over the belief
would be better by little and slower by much.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.retry import belief as beliefs
from billing.retry import curves, reasons
from billing.retry.belief import Belief, Facts
from billing.retry.calendars import at_local_hours, local_hours
from billing.retry.curves import GAPS, NOON, SLOT_H
from billing.retry.model import SLOTS_A_DAY, Model

SOON_H = (1.0, 2.0, 4.0, 8.0, 12.0, 18.0)  # candidates after an outage, besides the earliest moment
DAYTIME_H = (7.5, 10.5, 16.5, 19.5)  # local hours that noon is compared with, once the day is chosen
NOON_H = NOON * SLOT_H + 1.5
EVERY_DAY = 14  # later candidates are every other day: they are weighed again before they come
DEBIT_GAPS = (5, 7)  # days: a debit is answered after days
HELD_MOST = 3.0  # days; longer waits are hints at one day, not distances
NEXT = 6  # candidates by which the plans that may follow are compared
LIKELY = 0.005  # hypotheses below this weight do not decide
NEARLY = 0.97  # of the best value: what an exploring attempt may cost at most
USED = 0.6  # share of its later attempts that a plan saves when one of them succeeds

Row = tuple[float, "array[float]", "array[float]", float, "array[float]", "array[float]"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the plan must keep to; money in minor units.

    `quiet`: local hours (from, to) without attempts. `avoid`: an attempt that somebody else has planned, and the
    distance to keep from it. `explore`: share of attempts that may be made at another hour of the day to learn from it.
    """

    not_before: datetime  # network rules, policy
    deadline: datetime
    attempts_left: int
    because: str = ""  # which rule says not before
    attempt_cost: float = 6.0  # of one attempt
    refused_cost: float = 0.0  # besides, when it is refused: a returned debit
    refusal_share: float = 0.004  # of the amount: what a refusal costs in trust of bank and customer
    after_update: timedelta = timedelta(minutes=30)
    quiet: tuple[float, float] | None = None
    avoid: tuple[datetime, timedelta] | None = None
    explore: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The next attempt, or None, and the three strongest reasons.

    `chance`: that it succeeds, as believed; `told`: the same, calibrated; `gain`: expected, in minor units.
    """

    at: datetime | None
    because: str
    chance: float = 0.0
    told: float = 0.0
    gain: float = 0.0
    explored: bool = False


def choose(facts: Facts, model: Model, limits: Limits, now: datetime, dice: float = 1.0) -> Choice:
    """The best next attempt. `dice` in [0, 1): below `limits.explore`, another good hour of the day may be tried."""
    earliest = max(now, limits.not_before)
    if limits.attempts_left <= 0:
        return Choice(None, limits.because or "no attempt is left under the limits")
    if earliest >= limits.deadline:
        return Choice(None, "the deadline comes before the next attempt may be made")
    belief = beliefs.believe(facts, model)
    view = _View(belief, facts, model, limits, earliest)
    if belief.updated:
        soon = max(earliest, now + limits.after_update)
        hours = next((each for each in [local_hours(soon, view.offset), *view.candidates()] if view.free(each)), None)
    else:
        hours = view.best()
    if hours is None:
        return Choice(None, reasons.not_worth(belief, facts))
    explored = False
    if dice < limits.explore and (other := view.another_hour(hours, dice / limits.explore)):
        hours, explored = other, True
    chance = beliefs.chance_at(belief, model, hours)
    at = max(at_local_hours(hours, view.offset), earliest)
    told = model.calibrated(chance)
    because = reasons.why(belief, facts, hours, told, limits.because if earliest > now else "")
    because += "; this hour is tried to learn from it" if explored else ""
    gain = (chance if belief.updated else view.value(hours)) * facts.amount
    return Choice(at, because, chance, told, gain, explored)


def _gaps(facts: Facts, limits: Limits) -> tuple[int, ...]:
    """The days that may stand between attempts.

    A bank repeats itself: whom a rule makes wait now it will after the next refusal, by up to `HELD_MOST` days.
    """
    if facts.debit:
        return DEBIT_GAPS
    held = limits.not_before - facts.tries[-1].at if limits.because else timedelta()
    least = min(held / timedelta(days=1), HELD_MOST)
    return tuple(gap for gap in GAPS if gap >= least)


class _View:
    """A belief laid out for fast look-up: values are shares of the amount, times are local hours."""

    def __init__(self, belief: Belief, facts: Facts, model: Model, limits: Limits, earliest: datetime) -> None:
        self.belief, self.model, self.limits = belief, model, limits
        self.offset = facts.utc_offset_h or 0.0
        self.now = local_hours(earliest, self.offset)
        self.end = local_hours(limits.deadline, self.offset)
        self.gaps = _gaps(facts, limits)
        amount = max(facts.amount, 1)
        self.cost = (limits.attempt_cost + limits.refused_cost) / amount + limits.refusal_share
        self.last_day = int((self.end + belief.shift - NOON_H) // 24) - belief.start
        here = belief.slot(belief.last)
        self.likely = [
            (weight, curve, (enough - curve.level[here]) / curve.fade[here])
            for weight, curve, enough in zip(belief.funds_weight, belief.funds, belief.funds_enough, strict=True)
            if weight > LIKELY
        ]
        kept = sum(weight for weight, _, _ in self.likely)
        self.scale = sum(belief.funds_weight) / kept if kept else 1.0
        self.gap = self.gaps[0]
        self.rows: list[Row] = []

    def go_on_every(self, gap: int) -> None:
        """How many days stand between the attempts that would follow."""
        self.gap, which = gap, GAPS.index(gap)
        self.rows = [
            (weight, curve.level, curve.fade, off, curve.worth[which], curve.left[which])
            for weight, curve, off in self.likely
        ]

    def best(self) -> float | None:
        """The best candidate, None when no attempt is worth its cost."""
        candidates = [hours for hours in self.candidates() if self.free(hours)]
        if not candidates:
            return None
        valued = []
        for gap in self.gaps:
            self.go_on_every(gap)
            valued.append((max(self.value(hours) for hours in candidates[:NEXT]), -gap))
        self.go_on_every(-max(valued)[1])
        value, best = max((self.value(hours), -hours) for hours in candidates)
        if value <= 0:
            return None
        others = [(self.value(hours), -hours) for hours in self.hours_of(-best)]
        return -max([(value, best), *others])[1]

    def candidates(self) -> list[float]:
        """Now, soon where an outage may end, and noon (or a free hour) of the days that are left."""
        hours = [self.now]
        if self.belief.outage > 0.01:
            hours += [self.now + wait for wait in SOON_H if self.now + wait < self.end]
        midnight, day = self.now // 24 * 24, 0
        while midnight < self.end:
            of_day = (midnight + hour for hour in (NOON_H, *DAYTIME_H))
            hours += [each for each in of_day if self.now < each < self.end and self.free(each)][:1]
            day += 1
            midnight += 24 if day < EVERY_DAY else 48
        return hours

    def hours_of(self, hours: float) -> list[float]:
        """Other hours of the same day, unless the moment was chosen for being soon."""
        daytime = (NOON_H, *DAYTIME_H)
        if hours % 24 not in daytime:
            return []
        others = [hours // 24 * 24 + other for other in daytime]
        return [other for other in others if other != hours and self.now <= other < self.end and self.free(other)]

    def another_hour(self, hours: float, dice: float) -> float | None:
        """One of the other hours of the day that are nearly as good; all are as likely."""
        least = NEARLY * self.value(hours)
        good = [other for other in self.hours_of(hours) if self.value(other) >= least]
        return good[int(dice * len(good))] if good else None

    def free(self, hours: float) -> bool:
        """Outside quiet hours, and at a distance from an attempt of somebody else."""
        if quiet := self.limits.quiet:
            begins, ends = quiet
            if (hours - begins) % 24 < (ends - begins) % 24:
                return False
        if avoid := self.limits.avoid:
            at, distance = avoid
            return abs(hours - local_hours(at, self.offset)) * 3600 >= distance.total_seconds()
        return True

    def value(self, hours: float) -> float:
        """Of an attempt then, and of going on every `gap` days, less what the attempts cost."""
        belief, model, gap = self.belief, self.model, self.gap
        spoke, lives = beliefs.of_hour(model, hours), beliefs.alive(belief, model, hours)
        approves = model.other["approves"] * spoke
        slot = belief.slot(hours)
        day = min(slot // SLOTS_A_DAY, curves.SPAN_DAYS - 1)
        steps = max(0, min((self.last_day - day) // gap, self.limits.attempts_left - 1))
        end = day + steps * gap
        success = later = 0.0
        for weight, level, fade, off, worth, left in self.rows:
            chance = weight * approves * (level[slot] + off * fade[slot])
            success += chance
            later += (weight - chance) * (worth[day] - left[day] / left[end] * worth[end])
        success, later = success * self.scale * lives, later * self.scale * lives
        waited = (hours - belief.last) / 24
        for weight, kind, caution in zip(belief.block_weight, belief.blocks, belief.block_caution, strict=True):
            caution *= 0.5 ** (waited / kind.half_days)
            chance = weight * lives * curves.passes_block(model, caution) * spoke
            success += chance
            table = curves.after_block(model, kind, gap)
            after = table[min(steps, len(table) - 1)][curves.cell_of(caution + model.block["each_retry"])]
            later += (weight * lives - chance) * after
        if belief.outage > 0.001:
            over = beliefs.outage_chance(belief, model, hours) * spoke
            success += belief.outage * over
            later += belief.outage * (1 - over) * self._after_outage(hours, steps)
        success += belief.lenient * beliefs.PASSES * spoke
        attempts = steps * max(0.0, 1 - success - USED * later)
        waits = 1 - model.other["later_costs_a_day"] * max(0.0, hours - self.now) / 24
        return waits * (success + max(0.0, later - self.cost * attempts)) - self.cost

    def _after_outage(self, hours: float, steps: int) -> float:
        if not steps:
            return 0.0
        over = curves.outage_over(self.model, hours - self.belief.first)
        ends = curves.outage_over(self.model, self.end - self.belief.first)
        return self.model.other["approves"] * (ends - over) / max(1 - over, beliefs.TINY)
