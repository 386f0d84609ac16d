"""Is what a model says worth believing? Its chances against what came of attempts that it has not seen.

Asked with the product's own engine, attempt by attempt, as it would have spoken before each of them. Calibration error:
the mean distance of chance and outcome over ten bins of chance (ECE; Naeini and others, 2015); some of it is the luck
of few attempts, which is worked out and allowed for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import log, pi, sqrt
from typing import Any

from billing.retry import belief as beliefs
from billing.retry.belief import Facts
from billing.retry.calendars import local_hours
from billing.retry.model import Model

BINS = 10
MOST_ASKED = 12_000  # attempts: they are enough to see what matters
FEWEST = 100  # attempts, below which nothing can be said
MOST_ECE = 0.02
LUCK = 1.5  # so many times the error that luck alone is expected to make
WORSE = 0.01  # share of the loss of the model in use: what is lost to luck

Foretold = tuple[float, bool]  # chance, and whether the bank approved


@dataclass(frozen=True, slots=True)
class Found:
    """`told`: mean chance; `came`: share approved; `luck`: the calibration error to expect of a perfect model."""

    attempts: int
    told: float
    came: float
    ece: float
    luck: float
    loss: float

    @property
    def drifted(self) -> bool:
        """Whether more or fewer came than luck explains."""
        if self.attempts < FEWEST:
            return False
        doubt = sqrt(max(self.told * (1 - self.told), 0.01) / self.attempts)
        return abs(self.told - self.came) > max(MOST_ECE, 3 * doubt)

    def to_json(self) -> dict[str, Any]:
        return {name: round(value, 4) for name, value in asdict(self).items()} | {"drifted": self.drifted}


def asked(cases: Sequence[Facts], model: Model) -> Found:
    """What the model says of the newest attempts of these cases."""
    return measured(list(_newest(cases, model)))


def _newest(cases: Sequence[Facts], model: Model) -> Iterator[Foretold]:
    number = 0
    for facts in reversed(cases):
        for pair in foretold(facts, model):
            yield pair
            number += 1
        if number >= MOST_ASKED:
            return


def foretold(facts: Facts, model: Model) -> Iterator[Foretold]:
    """Of each retry: the chance that was told before it, and what came."""
    for index in range(1, len(facts.tries)):
        attempt = facts.tries[index]
        updated = facts.card_updated_at
        known = replace(
            facts, tries=facts.tries[:index], card_updated_at=updated if updated and updated <= attempt.at else None
        )
        belief = beliefs.believe(known, model)
        chance = beliefs.chance_at(belief, model, local_hours(attempt.at, facts.utc_offset_h or 0.0))
        yield min(1.0, max(0.0, model.calibrated(min(1.0, chance)))), attempt.ok


def measured(pairs: Iterable[Foretold]) -> Found:
    """Calibration and loss (mean negative log-likelihood) of chances against what came."""
    bins = [[0, 0.0, 0] for _ in range(BINS)]
    loss = 0.0
    for told, came in pairs:
        row = bins[min(int(told * BINS), BINS - 1)]
        row[0], row[1], row[2] = row[0] + 1, row[1] + told, row[2] + came
        loss -= log(max(told if came else 1 - told, 1e-4))
    number = sum(row[0] for row in bins)
    if not number:
        return Found(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    chances = [(count, said / count) for count, said, _ in bins if count]
    return Found(
        attempts=int(number),
        told=sum(row[1] for row in bins) / number,
        came=sum(row[2] for row in bins) / number,
        ece=sum(abs(said - came) for _, said, came in bins) / number,
        luck=sum(sqrt(2 / pi * count * chance * (1 - chance)) for count, chance in chances) / number,
        loss=loss / number,
    )


def verdict(new: Found, present: Found) -> str | None:
    """Why the new model must not be used, None if it may; both were asked about the same attempts."""
    if new.attempts < FEWEST:
        return f"only {new.attempts} attempts to check it with, {FEWEST} are wanted"
    allowed = MOST_ECE + LUCK * new.luck
    if new.ece > allowed:
        return f"its chances are {100 * new.ece:.1f} points off what came, {100 * allowed:.1f} are allowed"
    if new.loss > present.loss * (1 + WORSE):
        return f"it foretells worse than the model in use (loss {new.loss:.3f} against {present.loss:.3f})"
    return None
