"""The product's retry engine in the simulated worlds of failing cards, next to fixed schedules and an oracle.

    python -m benchmarks.retry_worlds [--worlds ../shared/worlds] [--cases 4000] [--seeds 1] [--hidden 6 7 8]
        [--only us_smb_debit] [--learn 1000 4000 10000] [--without-rules mastercard-advice-02] [--expected]
        [--picture FILE] [--json]

Score: share of the gap between never retrying and an oracle, in per cent, with a 95 % interval over cases. `--learn`
adds a column for each number of closed cases of the same merchant, of another seed, that the model learnt from.
`make_policy()` gives an object of the interface that `world.py` asks for, cold: from `config/recovery_priors.toml`.
The network rules are today's, whatever the year of the world. These worlds are a model, not the truth.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from benchmarks.calibration_picture import pooled, svg
from benchmarks.expected_worlds import Played, expected_world
from billing.events.snapshots import Decline
from billing.money import Amount
from billing.retry import plan
from billing.retry.belief import Facts, Try
from billing.retry.model import Model
from billing.retry.plan import Choice, Limits
from billing.retry.rules import Charging, Declined, NetworkRule, Never, NotBefore, budgets, ruled
from config.network_rules import network_rules
from config.priors import priors

TODAY = date(2026, 11, 22)
RETURNED_DEBIT = 350.0  # minor units that a bank asks for a returned debit
# The worlds name Visa's category; the product reads the network's code, which stands for it.
VISA_CODES = {
    "lost_card": "41",
    "stolen_card": "43",
    "pickup_card": "04",
    "invalid_account": "14",
    "transaction_not_allowed": "57",
    "revocation_of_authorization": "R1",
    "stop_payment_order": "R0",
    "account_closed": "46",
    "insufficient_funds": "51",
    "try_again_later": "19",
    "processing_error": "96",
    "issuer_not_available": "91",
    "card_velocity_exceeded": "65",
    "withdrawal_count_limit_exceeded": "61",
    "fraudulent": "59",
    "expired_card": "54",
    "authentication_required": "1A",
}
VISA_GENERIC = "05"


def rules_in_force(without: frozenset[str] = frozenset()) -> tuple[NetworkRule, ...]:
    """Today's rules, as if they had held always: the worlds play in 2024. `without`: names of rules left out."""
    valid = (rule for rule in network_rules() if rule.since <= TODAY and (rule.until is None or rule.until > TODAY))
    return tuple(replace(rule, since=date.min, until=None) for rule in valid if rule.name not in without)


class WorldPolicy:
    """The engine as a policy of `world.py`; keeps what it said, to be held against what came."""

    name = "reprieve"

    def __init__(
        self,
        model: Model,
        learn_after: tuple[int, ...] = (),
        without_rules: frozenset[str] = frozenset(),
        **limits: Any,
    ) -> None:
        self.model = model
        self.learns = bool(learn_after)
        self.seconds: list[float] = []
        self.said: list[tuple[float, float, bool]] = []  # believed, told, approved
        self.cases: list[Facts] = []  # closed ones, with every answer
        self._learn_at, self._limits = list(learn_after), limits
        self._rules = rules_in_force(without_rules)
        self._planned: dict[str, Choice] = {}
        self._seen: dict[str, Facts] = {}

    def next_attempt(self, view: Any, attempts: list[Any], now: datetime) -> datetime | None:
        began = time.perf_counter()
        choice = self._choose(view, attempts, now.replace(tzinfo=UTC))
        self.seconds.append(time.perf_counter() - began)
        self._planned[view.id] = choice
        return choice.at.replace(tzinfo=None) if choice.at else None

    def observe(self, view: Any, attempt: Any, ok: bool) -> None:
        choice = self._planned[view.id]
        self.said.append((choice.chance, choice.told, bool(ok)))
        if ok:
            facts = self._seen[view.id]
            self._seen[view.id] = replace(facts, tries=(*facts.tries, Try(attempt.at.replace(tzinfo=UTC), ok=True)))
        else:
            facts = self._seen[view.id]
            self._seen[view.id] = replace(facts, tries=(*facts.tries, _try(view, attempt)))

    def closed(self, view: Any, outcome: str, now: datetime) -> None:
        self._planned.pop(view.id, None)
        if facts := self._seen.pop(view.id, None):
            self.cases.append(facts)
        if self._learn_at and len(self.cases) >= self._learn_at[0]:
            from worker.learning.fit import fit  # numpy is needed for learning only

            self._learn_at.pop(0)
            self.model = fit(self.cases, priors())

    def _choose(self, view: Any, attempts: list[Any], now: datetime) -> Choice:
        facts = facts_of(view, attempts)
        self._seen[view.id] = facts
        charging = _charging(view, facts)
        declined = [_declined(charging.amount, view, attempt) for attempt in attempts]
        not_before, because = now, ""
        match ruled(self._rules, charging, declined, now):
            case Never(because=because):
                return Choice(None, because)
            case NotBefore(at=at, because=because):
                not_before = at
        left = min((budget.remaining for budget in budgets(self._rules, charging, declined, not_before)), default=15)
        limits = Limits(
            not_before=not_before,
            deadline=facts.deadline,
            attempts_left=left,
            because=because,
            refused_cost=RETURNED_DEBIT if facts.debit else 0.0,
            **self._limits,
        )
        return plan.choose(facts, self.model, limits, now)


def make_policy(model: Model | None = None, **options: Any) -> WorldPolicy:
    """The product's engine, cold unless a model is given. `learn_after`: it learns from its own cases
    when so many are closed; `without_rules`: names of network rules that are left out; others: see `plan.Limits`."""
    return WorldPolicy(model or priors(), **options)


def facts_of(view: Any, attempts: list[Any]) -> Facts:
    """What the product would know of the case."""
    return Facts(
        tries=tuple(_try(view, attempt) for attempt in attempts),
        deadline=view.deadline.replace(tzinfo=UTC),
        amount=round(view.amount * 100),
        utc_offset_h=view.utc_offset_h,
        country=view.country,
        brand=view.brand,
        funding=view.funding,
        interval=view.interval,
        tenure_months=view.tenure_months,
        past_failures=view.prior_failures,
        past_recoveries=tuple(view.past_recovery_days),
        card_updated_at=view.card_updated_at.replace(tzinfo=UTC) if view.card_updated_at else None,
    )


def _try(view: Any, attempt: Any) -> Try:
    advice = attempt.advice if view.brand == "mastercard" else None
    return Try(attempt.at.replace(tzinfo=UTC), False, attempt.decline_code, advice)


def _charging(view: Any, facts: Facts) -> Charging:
    brand = "sepa_debit" if facts.debit else view.brand
    return Charging(
        Amount(facts.amount, view.currency), brand, view.country, None, view.id, changed_at=facts.card_updated_at
    )


def _declined(amount: Amount, view: Any, attempt: Any) -> Declined:
    code = attempt.decline_code
    network = VISA_CODES.get(code, VISA_GENERIC) if view.brand == "visa" else None
    advice = attempt.advice if view.brand == "mastercard" else None
    decline = Decline("card_declined", code, None, network, advice or None)
    return Declined(attempt.at.replace(tzinfo=UTC), amount, decline, view.id)


# ---------------------------------------------------------------- measuring


def net(world: Any, result: Any) -> Any:
    """Money won by each case, less fees, costs, lost goodwill and the price of waiting: numpy array, major units."""
    won = result.amount * result.recovered
    costs = result.attempt_cost + result.fees + result.goodwill + result.dispute
    return won * (1 - world.p["delay_cost"] * result.days) - costs


def calibration(said: list[tuple[float, float, bool]], bins: int = 10) -> tuple[float, list[tuple[int, float, float]]]:
    """(expected calibration error, by bin: attempts, mean told, share approved)."""
    sums = [[0, 0.0, 0] for _ in range(bins)]
    for _, told, came in said:
        row = sums[min(int(told * bins), bins - 1)]
        row[0], row[1], row[2] = row[0] + 1, row[1] + told, row[2] + came
    error = sum(abs(told - came) for _, told, came in sums) / max(1, len(said))
    return error, [(int(count), told / count, came / count) for count, told, came in sums if count]


def played(world: Any, policy: Any) -> Played:
    """What came of a policy in one run of the world, or is to be expected of all."""
    if hasattr(world, "expected"):
        expected: Played = world.expected(policy, net)
        return expected
    result = world.run(policy)
    summary = result.summary()
    return Played(net(world, result), summary["retries_per_case"], summary["violations_per_1k"])


def measure(
    modules: Any, name: str | int, seed: int, cases: int, learn: list[int], expected: bool = False, **options: Any
) -> dict[str, Any]:
    """One world: the engine cold and after learning, the fixed schedules, the oracle.

    `expected`: without the luck of a run; then only schedules that keep the rules are compared, and nothing is said of
    calibration.
    """
    module, baselines = modules
    params = name if isinstance(name, str) else module.hidden_params(name)
    world = (expected_world(module) if expected else module.World)(seed, params, cases)
    never, oracle = (played(world, policy).net for policy in (baselines.Never(), baselines.Oracle(world)))
    schedules = [each for each in baselines.baselines(world) if isinstance(each, baselines.Fixed)]
    fixed = {each.name: played(world, each) for each in schedules if each.guard or not expected}
    scores = {each: score(came.net, never, oracle)[0] for each, came in fixed.items()}
    policy = make_policy(**options)
    cold = played(world, policy)
    row: dict[str, Any] = {"world": str(name), "seed": seed, "cases": cases, "violations": cold.violations}
    row["score"], *row["interval"] = score(cold.net, never, oracle)
    row["best_fixed"], row["fixed"] = max((value, each) for each, value in scores.items())
    row["better"] = better(cold.net, fixed[row["fixed"]].net, never, oracle)
    row |= {"attempts": cold.attempts, "of_14_in_27": cold.attempts / fixed["uniform_14in27+upd"].attempts}
    row["ece"], row["bins"] = (None, []) if expected else calibration(policy.said)
    row["p95_ms"] = 1000 * sorted(policy.seconds)[int(0.95 * len(policy.seconds))]
    row["learnt"] = {}
    if learn:
        from worker.learning.fit import fit  # numpy is needed for learning only

        teacher = make_policy(**options)
        module.World(seed + 1000, params, max(learn)).run(teacher)
        for number in learn:
            pupil = make_policy(fit(teacher.cases[:number], priors()), **options)
            came = played(world, pupil)
            ece, bins = (None, []) if expected else calibration(pupil.said)
            learnt = {"score": score(came.net, never, oracle)[0], "better": better(came.net, cold.net, never, oracle)}
            row["learnt"][number] = learnt | {"ece": ece, "bins": bins}
    return row


def better(one: Any, other: Any, never: Any, oracle: Any) -> tuple[float, float]:
    """(by how much one scores better than the other on the same cases, and the standard error of that)."""
    more, gap = one - other, (oracle - never).sum()
    return 100 * float(more.sum() / gap), 100 * float((more**2).sum() ** 0.5 / gap)


def score(of: Any, never: Any, oracle: Any) -> tuple[float, float, float]:
    """Per cent of the gap closed, and the ends of its 95 % interval (delta method for a ratio of sums over cases)."""
    gain, gap = of - never, oracle - never
    share = gain.sum() / gap.sum()
    error = float(((gain - share * gap) ** 2).sum() ** 0.5 / gap.sum())
    return 100 * float(share), 100 * (float(share) - 1.96 * error), 100 * (float(share) + 1.96 * error)


def line(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    learnt = "".join(
        f"  {number}: {each['score']:.1f} ({each['better'][0]:+.1f} +/- {each['better'][1]:.1f}{_ece(each)})"
        for number, each in row["learnt"].items()
    )
    return (
        f"{row['world']:20}{row['seed']:>3}  {row['score']:5.1f} [{low:5.1f}, {high:5.1f}]  best fixed "
        f"{row['best_fixed']:5.1f} ({row['fixed']}; {row['better'][0]:+.1f} +/- {row['better'][1]:.1f})  attempts "
        f"{row['attempts']:.2f} ({100 * row['of_14_in_27']:.0f} %)  violations {row['violations']:.0f}{_ece(row)}  "
        f"p95 {row['p95_ms']:.2f} ms{learnt}"
    )


def _ece(measured: dict[str, Any]) -> str:
    return "" if measured["ece"] is None else f", ECE {measured['ece']:.3f}"


def picture(rows: list[dict[str, Any]]) -> str:
    """The calibration of all runs, cold and after the most that was learnt, as SVG."""
    series = {"cold": pooled([row["bins"] for row in rows])}
    if most := max((number for row in rows for number in row["learnt"]), default=0):
        learnt = [row["learnt"][most]["bins"] for row in rows if most in row["learnt"]]
        series[f"after {most:,} closed cases"] = pooled(learnt)
    worlds = ", ".join(dict.fromkeys(row["world"] for row in rows))
    return svg(series, f"Told and came: {worlds}")


def main() -> int:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--worlds", type=Path, default=Path(__file__).parents[2] / "shared" / "worlds")
    asked.add_argument("--cases", type=int, default=4000)
    asked.add_argument("--seeds", type=int, nargs="+", default=[1])
    asked.add_argument("--hidden", type=int, nargs="*", default=[])
    asked.add_argument("--only", nargs="*", help="of the public worlds")
    asked.add_argument("--learn", type=int, nargs="*", default=[])
    asked.add_argument("--without-rules", nargs="*", default=[], help="names of network rules to leave out")
    asked.add_argument("--expected", action="store_true", help="without the luck of a run (expected_worlds.py)")
    asked.add_argument("--picture", type=Path, help="write the calibration of all runs as SVG")
    asked.add_argument("--json", action="store_true")
    options = asked.parse_args()
    if not (options.worlds / "world.py").is_file():
        print(f"no world.py in {options.worlds}: name the folder of the worlds with --worlds", file=sys.stderr)
        return 2
    sys.path.insert(0, str(options.worlds))
    modules = importlib.import_module("world"), importlib.import_module("baselines")
    public = modules[0].PUBLIC if options.only is None else options.only
    without = frozenset(options.without_rules)
    rows = []
    for name in (*public, *options.hidden):
        for seed in options.seeds:
            rows.append(
                measure(modules, name, seed, options.cases, options.learn, options.expected, without_rules=without)
            )
            if not options.json:
                print(line(rows[-1]), flush=True)
    if options.picture:
        options.picture.write_text(picture(rows))
    if options.json:
        print(json.dumps(rows))
    else:
        mean = sum(row["score"] for row in rows) / len(rows)
        print(f"mean {mean:.1f}, best fixed {sum(row['best_fixed'] for row in rows) / len(rows):.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
