"""Whether a fitted model may take the place of the one that works now: judged on cases that it did not learn from.

A model that fails keeps nobody from working: the one before it, in the end the prior, stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from billing.retry.belief import Facts
from billing.retry.model import Model
from worker.learning.evidence import Floats, groups
from worker.learning.fit import foretold

FEWEST = 200  # attempts to judge by
WORST_ECE = 0.04
BINS = 10
SLACK = 0.002  # of the log loss: as good as


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a model foretold attempts that it did not know; lower is better for both figures."""

    attempts: int
    log_loss: float
    ece: float


def judge(model: Model, cases: Sequence[Facts]) -> Verdict:
    """Log loss and expected calibration error of the chances that the model would have told."""
    said, came, _ = foretold(list(groups(cases, model)), model, defaultdict(lambda: 1.0))
    told = np.clip(np.array([model.calibrated(chance) for chance in said.tolist()]), 1e-4, 1 - 1e-4)
    if not len(told):
        return Verdict(0, 0.0, 0.0)
    loss = -float(np.mean(came * np.log(told) + (1 - came) * np.log(1 - told)))
    return Verdict(len(told), loss, _ece(told, came))


def _ece(told: Floats, came: Floats) -> float:
    bins = np.minimum((told * BINS).astype(int), BINS - 1)
    return float(sum(abs((told - came)[bins == each].sum()) for each in range(BINS)) / len(told))


def objection(fitted: Model, now: Model, unseen: Sequence[Facts]) -> str | None:
    """Why the fitted model must not be activated, None if it may."""
    new, old = judge(fitted, unseen), judge(now, unseen)
    if new.attempts < FEWEST:
        return f"only {new.attempts} attempts to judge by, {FEWEST} are wanted"
    if new.ece > WORST_ECE:
        return f"calibration error {new.ece:.3f}, at most {WORST_ECE} is allowed"
    if new.log_loss > old.log_loss + SLACK:
        return f"it foretells worse than {now.version}: log loss {new.log_loss:.4f} against {old.log_loss:.4f}"
    return None
