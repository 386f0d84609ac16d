"""What one failed payment may be, and how likely: every hypothesis weighed by everything that is known of the case.

Evidence is the answer of the bank to each attempt (a repeated answer counts little, issuers repeat themselves), what is
known of the invoice and the customer, and time itself: the moment of the failure speaks against rules under which
money had just come, and each refused attempt against all that predicted an approval. Exact Bayes over some fifty
hypotheses; nothing is fitted here, `worker/learning` moves the shares of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from math import log, prod

from billing.retry import curves
from billing.retry.calendars import collected_on, local_hours
from billing.retry.curves import SLOT_H, Funds
from billing.retry.model import BLOCK, CAUSES, FUNDS, OUTAGE, SLOTS_A_DAY, STALE, Block, Model

HINTS_H = {"24": 1, "25": 24, "26": 48, "27": 96, "28": 144, "29": 192, "30": 240}  # Mastercard: retry after
PASSES = 0.8  # a lenient issuer lets a stale card pass
RARE = 0.005  # share of an answer that the model does not list for a cause
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt whose answer is known; `code` and `advice` as the bank gave them."""

    at: datetime
    ok: bool = False
    code: str | None = None
    advice: str | None = None  # Mastercard's advice code, None for other brands


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one failed payment; None and empty: not known."""

    tries: tuple[Try, ...]  # the failed charge first, then every attempt of whomever, in order of time
    deadline: datetime
    amount: int  # minor units
    utc_offset_h: float | None = None
    country: str | None = None
    brand: str | None = None
    funding: str | None = None  # credit, debit, prepaid; bank for a direct debit
    interval: str | None = None
    tenure_months: int | None = None
    past_failures: int = 0
    past_recoveries: tuple[tuple[int, int], ...] = ()  # (day of the month, weekday) of former late payments
    card_updated_at: datetime | None = None

    @property
    def debit(self) -> bool:
        return self.funding == "bank"


@dataclass(slots=True)
class Belief:
    """Weights (they sum to 1, `gone` included) after the last attempt; times are local hours since the epoch."""

    start: int  # first day of the tables
    last: float  # local hours of the last attempt
    first: float
    shift: float  # hours until a debit reaches the account
    funds: list[Funds]
    funds_weight: list[float]
    funds_enough: list[float]  # chance of enough money just after the last attempt failed
    blocks: list[Block]
    block_weight: list[float]
    block_caution: list[float]  # just after the last attempt
    outage: float
    lenient: float  # the card is stale, and its issuer may let it pass
    never: dict[str, float]  # causes that no retry mends, and `gone`
    updated: bool  # new card details came and were not tried yet
    likelihood: float  # of all attempts, relative to the shares of the model

    def slot(self, hours: float) -> int:
        """The slot of the tables, kept within them."""
        last = curves.SPAN_DAYS * SLOTS_A_DAY - 1
        return max(0, min(int((hours + self.shift) / SLOT_H) - self.start * SLOTS_A_DAY, last))


def believe(facts: Facts, model: Model) -> Belief:
    """The belief after all that is known. A card that was updated after the last attempt starts anew."""
    tries = [attempt for attempt in facts.tries if not attempt.ok]
    offset = facts.utc_offset_h or 0.0
    first = local_hours(tries[0].at, offset)
    weights = causes_of(facts, tries[0], model)
    belief = _first(facts, model, weights, first)
    for before, attempt in pairwise(tries):
        _refused(belief, before, attempt, facts, model, local_hours(attempt.at, offset))
    belief.updated = facts.card_updated_at is not None and tries[-1].at < facts.card_updated_at
    return belief


def causes_of(facts: Facts, first: Try, model: Model) -> dict[str, float]:
    """The weight of each cause by the first answer and by what is known of the invoice."""
    kind, answer = ("debit" if facts.debit else "card"), model.answer(first.code)
    answers, learnt = model.answers[kind], model.learnt.get(kind, {}).get(answer, {})
    new = facts.tenure_months is not None and facts.tenure_months < 4
    known = (("funding", facts.funding), ("interval", facts.interval), ("tenure", "new" if new else None))
    factors = [model.lean.get(name, {}).get(value or "", {}) for name, value in known]
    advice = model.advice.get(_advice(first.advice), {})
    weights = {}
    for cause in CAUSES:
        weight = model.causes[cause] * answers[cause].get(answer, RARE) * advice.get(cause, 1.0)
        for factor in (*factors, learnt):
            weight *= factor.get(cause, 1.0)
        weights[cause] = weight
    return weights


def _advice(code: str | None) -> str:
    return "later" if code in HINTS_H else code or ""


def _first(facts: Facts, model: Model, weights: dict[str, float], first: float) -> Belief:
    start = curves.block_of(int(first // 24))
    deck = deck_of(model, model.region(facts.country, facts.funding), facts.funding == "credit", start)
    belief = Belief(
        start=start,
        last=first,
        first=first,
        shift=model.funds["debit_delay_h"] if facts.debit else 0.0,
        funds=[],
        funds_weight=[],
        funds_enough=[],
        blocks=list(model.blocks),
        block_weight=[weights[BLOCK] * kind.share for kind in model.blocks],
        block_caution=[model.block["caution"]] * len(model.blocks),
        outage=weights[OUTAGE],
        lenient=weights[STALE] * model.other["stale_passes"],
        never={cause: weights[cause] for cause in CAUSES if cause not in (FUNDS, BLOCK, OUTAGE)} | {"gone": 0.0},
        updated=False,
        likelihood=1.0,
    )
    slot = max(0, min(int(first / SLOT_H) - start * SLOTS_A_DAY, len(deck[0][0].level) - 1))
    shares = shares_of(facts, model, deck, slot)
    total = sum(shares) or 1.0
    floor = 0.002 * total
    for (curve, _), share in zip(deck, shares, strict=True):
        if share >= floor:
            belief.funds.append(curve)
            belief.funds_weight.append(weights[FUNDS] * share / total)
            belief.funds_enough.append(0.0)
    _normalise(belief)
    return belief


@lru_cache(maxsize=512)
def deck_of(model: Model, region: str, credit: bool, start: int) -> tuple[tuple[Funds, float], ...]:
    """Every pay-day rule of the region with every household, and its share."""
    rules, hour = model.paydays[region], model.deposit_hour(region)
    return tuple(
        (curves.funds(model, rule, kind, credit, start, hour), share * household.share)
        for rule, share in rules.items()
        for kind, household in enumerate(model.tightness)
        if share > 0
    )


def shares_of(facts: Facts, model: Model, deck: tuple[tuple[Funds, float], ...], slot: int) -> list[float]:
    """The weight of each pay-day rule and household, by the moment of the failure and what is known of the customer."""
    failures = min(facts.past_failures, 4) - (model.funds["debit_eases"] if facts.debit else 0)
    rank = {row.name: model.funds["past_failures"] ** (at * failures) for at, row in enumerate(model.tightness)}
    shares = [share * (1 - curve.level[slot]) * rank[curve.tightness.name] for curve, share in deck]
    marks, hint = facts.past_recoveries, HINTS_H.get(facts.tries[0].advice or "", 0)
    if not marks and hint < 24:
        return shares
    told: dict[str, float] = {}  # by rule
    for index, (curve, _) in enumerate(deck):
        if curve.rule not in told:
            seen = collected_on(curve.rule) if marks else {}
            told[curve.rule] = prod(seen.get(mark, 1.0) for mark in marks) * (
                _fits(curve, slot, hint) if hint >= 24 else 1.0
            )
        shares[index] *= told[curve.rule]
    return shares


def _fits(curve: Funds, slot: int, hint: int) -> float:
    """Whether the issuer's hint (retry after so many hours) points at the rule's next pay-day."""
    for day in range(12):
        at = slot + day * SLOTS_A_DAY
        if at + SLOTS_A_DAY < len(curve.level) and curve.level[at + SLOTS_A_DAY] - curve.level[at] > 0.1:
            wait = day * 24 + 12
            return 2.5 if abs(log(wait / hint)) < 0.4 else 0.7
    return 0.8


# ---------------------------------------------------------------- after an attempt


def chance_at(belief: Belief, model: Model, hours: float) -> float:
    """The chance that an attempt at that local hour succeeds."""
    if belief.updated:
        return model.other["after_update"]
    total = sum(
        weight * chance for weight, chance in zip(belief.funds_weight, funds_chances(belief, model, hours), strict=True)
    )
    total += sum(
        weight * chance for weight, chance in zip(belief.block_weight, block_chances(belief, model, hours), strict=True)
    )
    total *= alive(belief, model, hours)
    total += belief.outage * outage_chance(belief, model, hours) + belief.lenient * PASSES
    return total * of_hour(model, hours)


def of_hour(model: Model, hours: float) -> float:
    """What the hour and the day of the week do to an approval."""
    weekend = model.other["weekend"] if hours // 24 % 7 >= 5 else 1.0
    return model.hours[int(hours % 24 / SLOT_H)] * weekend


def alive(belief: Belief, model: Model, hours: float) -> float:
    """The chance that the account was not given up since the last attempt."""
    return 1.0 - min(1.0, model.other["gone_a_day"] * max(0.0, hours - belief.last) / 24)


def funds_chances(belief: Belief, model: Model, hours: float) -> list[float]:
    """By hypothesis, before the hour's own effect."""
    here, there, approves = belief.slot(belief.last), belief.slot(hours), model.other["approves"]
    return [
        approves * (curve.level[there] + (enough - curve.level[here]) * curve.fade[there] / curve.fade[here])
        for curve, enough in zip(belief.funds, belief.funds_enough, strict=True)
    ]


def block_chances(belief: Belief, model: Model, hours: float) -> list[float]:
    days = (hours - belief.last) / 24
    return [
        curves.passes_block(model, caution * 0.5 ** (days / kind.half_days))
        for kind, caution in zip(belief.blocks, belief.block_caution, strict=True)
    ]


def outage_chance(belief: Belief, model: Model, hours: float) -> float:
    over = curves.outage_over(model, belief.last - belief.first)
    ends = curves.outage_over(model, hours - belief.first)
    return model.other["approves"] * (ends - over) / max(1 - over, TINY)


def _refused(belief: Belief, before: Try, attempt: Try, facts: Facts, model: Model, hours: float) -> None:
    """The attempt was made at `hours` and refused; an attempt with new card details says nothing about the old ones."""
    if facts.card_updated_at is not None and before.at < facts.card_updated_at <= attempt.at:
        _new_card_refused(belief, model, attempt, facts, hours)
        return
    spoke = of_hour(model, hours)
    lives = alive(belief, model, hours)
    gone = 0.0
    for index, chance in enumerate(funds_chances(belief, model, hours)):
        chance *= spoke
        weight = belief.funds_weight[index]
        gone += weight * (1 - lives)
        belief.funds_weight[index] = weight * lives * (1 - chance)
        had = chance / (model.other["approves"] * spoke)
        belief.funds_enough[index] = max(0.0, (had - chance) / max(1 - chance, TINY))
    days = (hours - belief.last) / 24
    for index, chance in enumerate(block_chances(belief, model, hours)):
        weight = belief.block_weight[index]
        gone += weight * (1 - lives)
        belief.block_weight[index] = weight * lives * (1 - chance * spoke)
        decayed = belief.block_caution[index] * 0.5 ** (days / belief.blocks[index].half_days)
        belief.block_caution[index] = decayed + model.block["each_retry"]
    belief.outage *= 1 - outage_chance(belief, model, hours) * spoke
    belief.lenient *= 1 - PASSES
    belief.never["gone"] += gone
    belief.last = hours
    _heard(belief, before, attempt, facts, model)
    _normalise(belief)


def _heard(belief: Belief, before: Try, attempt: Try, facts: Facts, model: Model) -> None:
    """Weigh the bank's answer: one that repeats itself says little, a new one as much as the first."""
    factor = heard_of(model, "debit" if facts.debit else "card", before, attempt)
    belief.funds_weight = [weight * factor[FUNDS] for weight in belief.funds_weight]
    belief.block_weight = [weight * factor[BLOCK] for weight in belief.block_weight]
    belief.outage *= factor[OUTAGE]
    belief.lenient *= factor[STALE]
    belief.never = {cause: weight * factor.get(cause, factor[FUNDS]) for cause, weight in belief.never.items()}


def heard_of(model: Model, kind: str, before: Try, attempt: Try) -> dict[str, float]:
    """How likely each cause makes this answer after that one; `kind` is card or debit."""
    answers, answer, repeats = model.answers[kind], model.answer(attempt.code), model.other["same_again"]
    again, fresh = answer == model.answer(before.code), _advice(attempt.advice) != _advice(before.advice)
    advice = model.advice.get(_advice(attempt.advice), {}) if fresh else {}
    factor = {}
    for cause in CAUSES:
        share = answers[cause].get(answer, RARE)
        factor[cause] = (repeats + (1 - repeats) * share if again else (1 - repeats) * share) * advice.get(cause, 1.0)
    # Whoever has money again may be refused for another reason, which the answer then names.
    factor[FUNDS] += (1 - repeats) * 0.05 * answers[BLOCK].get(answer, 0.0)
    return factor


def _new_card_refused(belief: Belief, model: Model, attempt: Try, facts: Facts, hours: float) -> None:
    """The details are good now, so what is left are the reasons of a card that works: funds and the issuer."""
    fresh = _first(facts, model, causes_of(facts, attempt, model), hours)
    for name in ("start", "last", "first", "funds", "funds_weight", "funds_enough", "block_weight", "block_caution"):
        setattr(belief, name, getattr(fresh, name))
    belief.outage, belief.lenient, belief.never = fresh.outage, fresh.lenient, fresh.never
    _normalise(belief)


def _weights(belief: Belief) -> Iterator[float]:
    yield from belief.funds_weight
    yield from belief.block_weight
    yield belief.outage
    yield belief.lenient
    yield from belief.never.values()


def _normalise(belief: Belief) -> None:
    total = sum(_weights(belief))
    if total <= 0:
        belief.never["gone"] = total = 1.0
    belief.likelihood *= total
    belief.funds_weight = [weight / total for weight in belief.funds_weight]
    belief.block_weight = [weight / total for weight in belief.block_weight]
    belief.outage /= total
    belief.lenient /= total
    belief.never = {cause: weight / total for cause, weight in belief.never.items()}
