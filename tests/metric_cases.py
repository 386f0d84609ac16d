"""Runs worked cases in the neutral format through the product's own functions.

`python -m tests.metric_cases FILE [--json]` prints `N passed, N failed`; with `--json` one object per period or row,
holding what was computed under the keys that the case asks for. Nothing is computed here: this file only translates.
Exit code 0 when every case passes, 1 when one does not, 2 when the file or a case of it cannot be read; the others
run all the same.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from billing.ledger import mrr
from billing.ledger.movement import CashKind, Outcome
from billing.ledger.neutral import discounts_of, read_instant, read_items
from billing.report.benchmark import matching, position
from billing.report.bridge import NotBalanced, percent
from billing.report.performance import Cohort, Failure, performance
from billing.report.retention import Sums, compounded, ends, warns
from config.benchmarks import benchmarks
from tests.metric_cases_answer import SHORT, Answer, Json, points
from tests.metric_cases_bridge import at_of, bridges, flags_of, policy_of

UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


# ---------------------------------------------------------------- prices


def normalized(case: Json, defaults: Json) -> Iterator[Answer]:
    for row in case["rows"]:
        policy = policy_of(flags_of({"policy": row.get("policy") or case.get("policy")}, defaults))
        usage = {item: tuple(charged) for item, charged in (row.get("usage") or {}).items()}
        currency = row.get("currency")
        discounts = discounts_of(row, currency=str(currency).lower() if currency else None)
        level = mrr.level(read_items(row["items"]), discounts, policy, at_of(row), usage)
        figures: dict[str, Any] = {
            "expected_mrr": level.total,
            "expected_alloc": {priced.item.id: priced.minor for priced in level.items},
        }
        expected = {name: row[name] for name in figures if name in row}
        yield Answer(str(row.get("name", "")), {name: figures[name] for name in expected}, expected)


# ---------------------------------------------------------------- formulas


def formulas(case: Json, _: Json) -> Iterator[Answer]:
    for row in case["rows"]:
        figures = _formula(str(row.get("formula", "")), row["inputs"])(row["inputs"])
        computed = {name: figures.get(name) for name in row["expected"]}
        yield Answer(str(row.get("name", "")), computed, row["expected"])


def _formula(name: str, inputs: Json) -> Callable[[Json], dict[str, Any]]:
    """By what is given: customers, a rate over periods, or the lines of a bridge."""
    if "customers" in inputs:
        return _of_customers
    if name.startswith("compound") or ("start" not in inputs and RATES & inputs.keys()):
        return _compound
    if name != "nrr_grr" and "start" not in inputs:
        raise ValueError(f"no formula {name!r}")
    return _nrr_grr


def _nrr_grr(inputs: Json) -> dict[str, Any]:
    sums = Sums(**{SHORT.get(name, name): value for name, value in inputs.items()})
    return {
        "end": sums.end,
        "retained": sums.retained,
        "nrr": percent(sums.nrr),
        "grr": percent(sums.grr),
        "gap_points": points(sums.gap),
        "gap_flag": warns(sums.gap),
    }


def _of_customers(inputs: Json) -> dict[str, Any]:
    found = ends((start, end) for start, end in inputs["customers"])
    return {
        "start": found.start,
        "end": found.end,
        "aggregate_min": percent(found.grr_of_totals),
        "per_customer": percent(found.grr),
        "grr": percent(found.grr),
        "nrr": percent(found.nrr),
        "crr": percent(found.logo_retention),
        "logo_retention": percent(found.logo_retention),
        "gap_points": points(found.gap),
        "gap_flag": warns(found.gap),
    }


def _compound(inputs: Json) -> dict[str, Any]:
    named = {RATE.get(name, name): Fraction(str(value)) for name, value in inputs.items()}
    each = named["rate"] / 100 if named["rate"] > 10 else named["rate"]
    multiple = compounded(1, each, int(named["periods"]))
    end = mrr.half_up(named.get("start", Fraction(1)) * multiple)
    return {"end": end, "multiple": f"{float(multiple):.3f}", "nrr": percent(multiple)}


RATE = {"nrr": "rate", "growth": "rate", "years": "periods", "months": "periods", "n": "periods"}
RATES = frozenset({"rate", "nrr", "growth"})


# ---------------------------------------------------------------- recovery by month of failure


def recovery_cohorts(case: Json, _: Json) -> Iterator[Answer]:
    zone = case.get("tz") or "UTC"
    after = _instant(case["as_of"], zone) + (timedelta(days=1) if len(case["as_of"]) == 10 else timedelta(0))
    told = [each for each in case["cases"] if each.get("outcome") != "void"]  # opened in error: never a case
    found = performance([_failure(each, zone) for each in told], after, zone)
    for month, expected in case["expected"].items():
        cohort = found.get(month, Cohort())
        yield Answer(month, {name: _of_cohort(cohort, name) for name in expected}, expected)


def _failure(value: Json, zone: str) -> Failure:
    outcome, cash = Outcome(value.get("outcome") or "open"), int(value.get("cash") or 0)
    came = cash if outcome is Outcome.RECOVERED else 0
    recovered = value.get("recovered_cash", came)
    return Failure(
        failed_at=_instant(value["first_failed"], zone),
        mrr=int(value["mrr"]),
        outcome=outcome,
        closed_at=_instant(value["closed"], zone) if value.get("closed") else None,
        recovered=value.get("recovered_mrr"),
        source=value.get("source"),
        after_trial=any("trial" in name and told is True for name, told in value.items()),
        cash={CashKind.FAILED: cash, CashKind.RECOVERED: int(recovered)} if cash else {},
    )


def _of_cohort(cohort: Cohort, name: str) -> Any:
    """`recovered` is an amount, `recovered_cases` and its like a count, `rate_...` a percentage."""
    counted = name.removeprefix("cases_").removeprefix("n_").removesuffix("_cases").removesuffix("_n")
    if counted != name and counted in set(Outcome):
        return cohort.counts[Outcome(counted)]
    if name.startswith("cash_") and name.removeprefix("cash_") in set(CashKind):
        return cohort.cash[CashKind(name.removeprefix("cash_"))]
    value = getattr(cohort, name, None)
    return percent(value) if "rate" in name and value is not None else value


def _instant(text: str, zone: str) -> datetime:
    """A local day is its midnight."""
    if len(text) == 10:
        return datetime.combine(date.fromisoformat(text), time(), ZoneInfo(zone)).astimezone(UTC)
    return read_instant(text)


# ---------------------------------------------------------------- published figures


def compared(case: Json, _: Json) -> Iterator[Answer]:
    for row in case["rows"]:
        acv = Fraction(str(row["acv"])) if row.get("acv") is not None else None
        rows = matching(benchmarks(), row["metric"], row["dimension"], acv, row.get("segment"), row.get("source"))
        figures: dict[str, Any] = {}
        if rows:
            figures = {"segment": rows[0].segment, "position": str(position(Fraction(str(row["value"])), rows[0]))}
        yield Answer(str(row.get("name", "")), {name: figures.get(name) for name in row["expected"]}, row["expected"])


KINDS: dict[str, Callable[[Json, Json], Iterator[Answer]]] = {
    "bridge": bridges,
    "normalize": normalized,
    "formula": formulas,
    "recovery_cohorts": recovery_cohorts,
    "benchmark": compared,
}


# ---------------------------------------------------------------- the command


class Unreadable(ValueError):
    """A file is no file of cases; the message says what is missing."""


def main(arguments: list[str]) -> int:
    """0 when every case passes, 1 when one does not, 2 when the file or a case cannot be read."""
    as_json = "--json" in arguments
    files = [each for each in arguments if each != "--json"]
    if len(files) != 1:
        sys.stderr.write("usage: python -m tests.metric_cases FILE [--json]\n")
        return 2
    try:
        cases, defaults = read(Path(files[0]))
    except Unreadable as wrong:
        sys.stderr.write(f"{files[0]}: {wrong}\n")
        return 2
    failed = unreadable = 0
    for number, case in enumerate(cases, start=1):
        try:
            wrong_here = [
                f"{case['id']} {answer.name}: {answer.difference}" for answer in _told(case, defaults, as_json)
            ]
        except NotBalanced as wrong:
            wrong_here = [f"{case['id']}: {wrong}"]
        except UNREADABLE as wrong:
            unreadable += 1
            wrong_here = [_unreadable(files[0], number, case, wrong, as_json)]
        failed += bool(wrong_here)
        if not as_json:
            sys.stdout.writelines(f"{line}\n" for line in wrong_here)
    if not as_json:
        sys.stdout.write(f"{len(cases) - failed} passed, {failed} failed\n")
    return 2 if unreadable else int(failed > 0)


def read(file: Path) -> tuple[list[Json], Json]:
    """The cases of a file and its default flags. Raises Unreadable."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as wrong:
        raise Unreadable(str(wrong)) from wrong
    cases = told.get("cases") if isinstance(told, dict) else None
    if not isinstance(cases, list):
        raise Unreadable("no list under `cases`")
    return cases, told.get("default_policy") or {}


def run(case: Json, defaults: Json) -> Iterator[Answer]:
    """The answers of one case, in the order of its periods or rows."""
    kind = case["kind"]
    if kind not in KINDS:
        raise ValueError(f"no kind {kind!r}: there are {', '.join(KINDS)}")
    yield from KINDS[kind](case, defaults)


def _told(case: Json, defaults: Json, as_json: bool) -> Iterator[Answer]:
    """Write what was computed, and yield the answers that are wrong."""
    for answer in run(case, defaults):
        if as_json:
            line = {"case": case["id"], "name": answer.name, "computed": answer.computed, **answer.beside}
            sys.stdout.write(json.dumps(line) + "\n")
        if not answer.passed:
            yield answer


def _unreadable(file: str, number: int, case: object, wrong: Exception, as_json: bool) -> str:
    """The case that cannot be run, by its id or its place in the file."""
    id = case.get("id") if isinstance(case, dict) else None
    because = f"{wrong} is missing" if isinstance(wrong, KeyError) else str(wrong)
    sys.stderr.write(f"{file}: case {id or f'number {number}'}: {because}\n")
    if as_json:
        sys.stdout.write(json.dumps({"case": id, "name": "", "computed": {}, "error": because}) + "\n")
    return f"{id or f'number {number}'}: {because}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
