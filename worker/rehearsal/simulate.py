"""A policy beside the present one and beside none: on the merchant's closed cases, or in an invented world.

Honest about what it rests on: an attempt near one that was made is answered by history, every other by the model, and
the shares of both are told. What the customer did is left as it was, so better messages cannot show here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection

from billing.policy import Policy
from billing.retry.model import Model
from config.policies import in_mode
from config.priors import priors
from worker.rehearsal import invented
from worker.rehearsal.figures import Figure, Result, difference, result
from worker.rehearsal.history import closed_cases
from worker.rehearsal.real import model_of
from worker.rehearsal.replay import Bank, Past, by_history_and_model, walk
from worker.store import Owner

CAVEAT = "These worlds are a model, not the truth."
ENOUGH = 500  # closed cases below which the prior decides most of it
DOUBTS = 9  # other priors that are tried, each as plausible as the shipped one
DOUBT_CASES = 150
NEVER = "never"


@dataclass(frozen=True, slots=True)
class Simulation:
    """`results`: the policy, what it is held against, and never retrying; `ahead`: points of the first before each
    other one. `doubt`: recovered share under other priors, lowest and highest; None where no model takes part."""

    where: str
    closed: int | None  # closed cases there are; None in an invented world
    results: tuple[Result, ...]
    ahead: tuple[tuple[str, Figure], ...]
    doubt: tuple[float, float] | None
    model: str | None
    seed: int

    @property
    def thin(self) -> bool:
        return self.closed is not None and self.closed < ENOUGH


def on_history(db: Connection, owner: Owner, policies: Sequence[Policy], most: int, seed: int) -> Simulation:
    """Replay the closed cases of an account. Raises LookupError when there are none."""
    history = closed_cases(db, owner, most, seed)
    if not history.past:
        raise LookupError(f"{owner.account} has no closed case yet: try `--world mixed`")
    model = model_of(db, owner)
    policies = [replace(policy, model=model) for policy in policies]
    results = compared(history.past, policies, by_history_and_model(model), seed)
    few = history.past if len(history.past) <= DOUBT_CASES else history.past[:: len(history.past) // DOUBT_CASES]
    tried = [
        100 * sum(walk(each, policies[0], by_history_and_model(other)).recovered for each in few) / len(few)
        for other in other_priors(model, seed)
    ]
    return Simulation(
        where=f"{len(history.past)} of {history.closed} closed cases of {owner.account}",
        closed=history.closed,
        results=results,
        ahead=_ahead(results, seed),
        doubt=(min(tried), max(tried)),
        model=model.version,
        seed=seed,
    )


def in_world(name: str, policies: Sequence[Policy], cases: int, seed: int) -> Simulation:
    """Play an invented world. Raises LookupError for a name that is none."""
    past, bank = invented.world(name, cases, seed)
    results = compared(past, policies, bank, seed)
    return Simulation(
        f"{cases} invented cases of the world {name}", None, results, _ahead(results, seed), None, None, seed
    )


def compared(past: Sequence[Past], policies: Sequence[Policy], bank: Bank, seed: int) -> tuple[Result, ...]:
    """Each policy over the same failures, and never retrying at the end."""
    found = [result(policy.id, [walk(each, policy, bank) for each in past], seed) for policy in policies]
    never = replace(in_mode(policies[0], "notify"), name=NEVER)
    return (*found, result(NEVER, [walk(each, never, bank) for each in past], seed))


def charging(policy: Policy) -> Policy:
    """The policy as if it alone made the retries, whatever the mode of the account is; with the shipped prior."""
    return replace(in_mode(policy, "own"), model=priors())


def other_priors(model: Model, seed: int) -> list[Model]:
    """Priors that are as plausible: every share of a cause half as large or twice as large, more or less."""
    dice = random.Random(f"prior {seed}")  # noqa: S311 - the same doubt again, not a secret
    return [
        replace(
            model,
            version=f"{model.version}~{number}",
            causes={cause: share * dice.lognormvariate(0, 0.4) for cause, share in model.causes.items()},
            tightness=tuple(replace(kind, share=kind.share * dice.lognormvariate(0, 0.4)) for kind in model.tightness),
            blocks=tuple(
                replace(kind, half_days=kind.half_days * dice.lognormvariate(0, 0.3)) for kind in model.blocks
            ),
        )
        for number in range(DOUBTS)
    ]


def _ahead(results: Sequence[Result], seed: int) -> tuple[tuple[str, Figure], ...]:
    return tuple((other.policy, difference(results[0], other, seed)) for other in results[1:])


def shared_worlds(folder: Path, names: Sequence[str], cases: int, seed: int) -> list[str]:
    """The product's engine in the worlds of a folder that holds `world.py`: one line each, of the benchmark's.

    Raises LookupError when the folder or the benchmark, which is not installed with the product, is missing.
    """
    import importlib
    import sys

    if not (folder / "world.py").is_file():
        raise LookupError(f"no world.py in {folder}")
    try:
        benchmark = importlib.import_module("benchmarks.retry_worlds")
        sys.path.insert(0, str(folder))
        modules = importlib.import_module("world"), importlib.import_module("baselines")
    except ImportError as error:
        raise LookupError(f"the benchmark of the worlds needs the whole repository and numpy: {error}") from None
    wanted = names or list(modules[0].PUBLIC)
    return [benchmark.line(benchmark.measure(modules, name, seed, cases, [])) for name in wanted]
