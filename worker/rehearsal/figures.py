"""Many walks added up: shares, money and cost of one policy, each with an interval from a bootstrap over customers.

Customers are drawn, not cases: the failures of one customer resemble each other. The interval says how far chance in
the choice of customers reaches; that the model may be wrong is not in it.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from worker.rehearsal.replay import Walked

Row = TypeVar("Row")
DRAWS = 400
NAMES = ("recovered", "attempts", "refused", "messages", "days")  # per case; days per recovered case
SENTENCES = {
    "recovered": "cases recovered, %",
    "attempts": "retries per case",
    "refused": "retries refused by a rule, per 100 cases",
    "messages": "messages per case",
    "days": "days until the money comes",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Money:
    """Minor units of one currency: what failed, and the share of it that was recovered."""

    failed: int
    share: Figure


@dataclass(frozen=True, slots=True)
class Result:
    """One policy over all cases. `seen`: the share of its retries, and of what it recovers, that history answers."""

    policy: str
    cases: int
    figures: dict[str, Figure]
    money: dict[str, Money]
    seen_attempts: float
    seen_recovered: float
    sums: tuple[tuple[float, ...], ...]  # by customer, in one order for all policies


def result(policy: str, walks: Sequence[Walked], seed: int) -> Result:
    """Add up the walks of one policy. The same seed draws the same customers for every policy."""
    currencies = sorted({walked.amount.currency for walked in walks})
    sums = _by_customer(walks, currencies)
    drawn = [[sum(column) for column in zip(*sample, strict=True)] for sample in _samples(sums, seed)]
    total = [sum(column) for column in zip(*sums, strict=True)]
    figures = {name: _figure(total, drawn, at) for at, name in enumerate(NAMES)}
    base = len(NAMES) + 1
    money = {}
    for at, currency in enumerate(currencies):
        part, whole = base + 2 * at, base + 2 * at + 1
        draws = sorted(row[part] / row[whole] for row in drawn if row[whole])
        share = Figure(total[part] / total[whole], *_ends(draws))
        money[currency] = Money(round(total[whole]), share)
    attempts, recovered = sum(w.attempts for w in walks), sum(w.recovered for w in walks)
    return Result(
        policy=policy,
        cases=len(walks),
        figures=figures,
        money=money,
        seen_attempts=sum(w.seen_attempts for w in walks) / attempts if attempts else 1.0,
        seen_recovered=sum(w.seen_recovered for w in walks) / recovered if recovered else 1.0,
        sums=tuple(map(tuple, sums)),
    )


def difference(of: Result, against: Result, seed: int) -> Figure:
    """Points of the recovered share between two policies over the same customers, drawn together."""
    draws = [
        100 * (sum(a[0] for a, _ in sample) - sum(b[0] for _, b in sample)) / sum(a[-1] for a, _ in sample)
        for sample in _samples(list(zip(of.sums, against.sums, strict=True)), seed)
    ]
    value = of.figures["recovered"].value - against.figures["recovered"].value
    return Figure(value, *_ends(sorted(draws)))


def _by_customer(walks: Sequence[Walked], currencies: Sequence[str]) -> list[list[float]]:
    """Rows of: the figures' parts in the order of NAMES, recovered once more, money by currency, cases last."""
    width = len(NAMES) + 2 + 2 * len(currencies)
    rows: dict[str, list[float]] = defaultdict(lambda: [0.0] * width)
    for walked in walks:
        row = rows[walked.customer]
        parts = (walked.recovered, walked.attempts, walked.refused, walked.messages, walked.days, walked.recovered)
        for at, part in enumerate(parts):
            row[at] += part
        at = len(NAMES) + 1 + 2 * currencies.index(walked.amount.currency)
        row[at] += walked.recovered * walked.amount.minor
        row[at + 1] += walked.amount.minor
        row[-1] += 1
    return [rows[customer] for customer in sorted(rows)]


def _samples(rows: list[Row], seed: int) -> list[list[Row]]:
    dice = random.Random(seed)  # noqa: S311 - the same draw again, not a secret
    return [dice.choices(rows, k=len(rows)) for _ in range(DRAWS)]


def _figure(total: list[float], drawn: list[list[float]], at: int) -> Figure:
    return Figure(_value(total, at), *_ends(sorted(_value(row, at) for row in drawn)))


def _value(row: list[float], at: int) -> float:
    cases, recovered = row[-1], row[0]
    match NAMES[at]:
        case "recovered" | "refused":
            return 100 * row[at] / cases
        case "days":
            return row[at] / recovered if recovered else 0.0
        case _:
            return row[at] / cases


def _ends(draws: list[float]) -> tuple[float, float]:
    if not draws:
        return 0.0, 0.0
    return draws[int(0.025 * len(draws))], draws[min(len(draws) - 1, int(0.975 * len(draws)))]
