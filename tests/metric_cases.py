"""Runs worked cases in the neutral format through the product's own functions.

`python -m tests.metric_cases FILE [--json]` prints `N passed, N failed`; with `--json` one object per period or row,
holding what was computed under the keys that the case asks for. Nothing is computed here: this file only translates.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from billing.ledger import mrr
from billing.ledger.book import book
from billing.ledger.movement import Book, CashKind, Outcome
from billing.ledger.neutral import read_discounts, read_events, read_instant, read_items, read_policy
from billing.ledger.policy import DEFAULT, PRESETS, LedgerPolicy
from billing.ledger.vocabulary import LedgerEvent, known_at
from billing.report.benchmark import matching, position
from billing.report.bridge import Basis, Bridge, bridge, percent
from billing.report.currency import Currency
from billing.report.performance import Failure, performance
from billing.report.period import Period
from billing.report.products import ProductRow, by_product
from billing.report.retention import Sums, compounded, ends, warns
from config.benchmarks import benchmarks

Json = Mapping[str, Any]  # decoded JSON
NEGATIVE = frozenset({"downgrade", "restructuring", "voluntary_churn", "gross_involuntary_churn"})
SHORT = {
    "recovered": "recovered_involuntary_churn",
    "involuntary_churn": "gross_involuntary_churn",
    "contraction": "downgrade",
    "churn": "voluntary_churn",
    "new": "new_business",
}


@dataclass(frozen=True)
class Answer:
    """What one period or row came to, beside what the case asks for: two mappings with the same keys."""

    name: str
    computed: dict[str, Any]
    expected: dict[str, Any]
    beside: dict[str, Any] = field(default_factory=dict)  # computed_activity, computed_segments ...
    beside_expected: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.computed == self.expected and self.beside == self.beside_expected


# ---------------------------------------------------------------- bridge


def bridges(case: Json, defaults: Json) -> Iterator[Answer]:
    flags = _flags(case, defaults)
    policy = _policy(flags)
    events = read_events(case["events"])
    last = max([event.at for event in events] + [_dates(each).closes for each in case["periods"]])
    for each in case["periods"]:
        yield _period(each, events, policy, flags, last)
    if "restatement" in case:
        asked = case["restatement"]
        yield Answer("restatement", _restated(asked, events, policy, flags), asked["expected"])
    if "expected_cases" in case:
        asked = case["expected_cases"]
        found = _cases(book(events, policy, last), {key for each in asked for key in each})
        yield Answer("cases", {}, {}, {"computed_cases": found}, {"computed_cases": asked})


def _period(each: Json, events: list[LedgerEvent], policy: LedgerPolicy, flags: Json, last: datetime) -> Answer:
    period, currency = _dates(each), _currency(each, events, flags)
    known = known_at(events, read_instant(each["known_at"])) if each.get("known_at") else events
    made = book(known, policy, last)
    display = str(each.get("display") or flags.get("recovery_display") or "gross_up")
    expected = dict(each.get("expected") or {})
    beside: dict[str, Any] = {}
    if "expected_activity" in each:
        activity = bridge(made, period, currency, Basis.ACTIVITY)
        beside["activity"] = {name: _signed(activity, name) for name in each["expected_activity"]}
    if "expected_segments" in each:
        beside["segments"] = {
            name: {
                "customers": part["customers"],
                "expected": _figures(bridge(made, period, currency, customers=part["customers"]), part["expected"]),
            }
            for name, part in each["expected_segments"].items()
        }
    if "expected_products" in each:
        rows = by_product(made, period, currency)
        beside["products"] = {
            product: {name: getattr(rows.get(product, ProductRow()), name) for name in asked}
            for product, asked in each["expected_products"].items()
        }
    if "expected_cash_after_loss" in each:
        late = [each for each in made.cash if each.kind is CashKind.RECOVERED_AFTER_LOSS and period.holds(each.at)]
        beside["cash_after_loss"] = sum(each.amount.minor for each in late)
    whole = bridge(made, period, currency)
    shown = whole.net() if display.startswith("net") else whole
    return Answer(
        str(each.get("name", "")),
        _figures(shown, expected),
        expected,
        {f"computed_{name}": _flat(name, value) for name, value in beside.items()},
        {f"computed_{name}": _flat(name, each[f"expected_{name}"]) for name in beside},
    )


def _flat(name: str, value: Any) -> Any:
    return {each: part["expected"] for each, part in value.items()} if name == "segments" else value


def _signed(made: Bridge, name: str) -> Any:
    """A line of the activity basis, losses negative."""
    line = SHORT.get(name, name)
    return -_figure(made, line) if line in NEGATIVE else _figure(made, line)


def _figures(made: Bridge, asked: Json) -> dict[str, Any]:
    return {name: _figure(made, name) for name in asked}


def _figure(made: Bridge, name: str) -> Any:
    match name:
        case "nrr" | "grr":
            return percent(getattr(made, name))
        case "gap" | "gap_points":
            return _points(made.gap)
        case "gap_flag":
            return warns(made.gap)
        case "crr" | "logo_retention":
            return percent(made.logo_retention)
        case "nrr_if_all_at_risk_lost" | "nrr_if_at_risk_lost":
            return percent(made.nrr_if_at_risk_lost)
        case "late_recovery_memo":
            return made.late_recovery
        case "ppa" | "prior_period_adjustment":
            return made.prior_period
        case _:
            return getattr(made, name, None)


def _restated(asked: Json, events: list[LedgerEvent], policy: LedgerPolicy, flags: Json) -> dict[str, Any]:
    """What the closed period was printed with, and the next one beside it."""
    closed, following = _dates(asked["closed"]), _dates(asked["next"])
    as_closed = book(known_at(events, read_instant(asked["closed_at"])), policy, closed.closes)
    closed_end = bridge(as_closed, closed, _currency(asked["closed"], events, flags)).end
    made = book(events, policy, following.closes)
    after = bridge(made, following, _currency(asked["next"], events, flags)).after_close(closed_end)
    figures = {
        "closed_end": after.closed_start,
        "prior_period_adjustment": after.prior_period,
        "next_start_restated": after.start,
        "next_end": after.end,
        "next_nrr": percent(after.nrr),
        "next_grr": percent(after.grr),
    }
    return {name: figures.get(name) for name in asked["expected"]}


def _cases(made: Book, keys: set[str]) -> list[dict[str, Any]]:
    """The cases of the ledger under the keys that the case names them by."""
    found = []
    for each in made.cases:
        figures = {
            "cust": each.customer,
            "sub": each.subscription,
            "opened": str(each.opened_at.date()),
            "closed": str(each.closed_at.date()) if each.closed_at else None,
            "outcome": str(each.outcome),
            "mrr": each.opened.minor,
            "recovered": each.recovered,
            "source": each.source,
        }
        found.append({name: value for name, value in figures.items() if name in keys})
    return found


def _dates(each: Json) -> Period:
    return Period(date.fromisoformat(each["start"]), date.fromisoformat(each["end"]), each.get("tz") or "UTC")


def _flags(case: Json, defaults: Json) -> dict[str, Any]:
    own = case.get("policy") or {}
    return {**defaults, **({"preset": own} if isinstance(own, str) else own)}


def _policy(flags: Json) -> LedgerPolicy:
    """A named preset as it is, or the file's flags over our default."""
    preset = flags.get("preset") or flags.get("name")
    return PRESETS[preset] if preset else read_policy(flags, DEFAULT)


def _currency(each: Json, events: list[LedgerEvent], flags: Json) -> Currency:
    """The reporting currency with the period's rates; without rates a company of one currency reports in its own."""
    code = str(each.get("reporting_currency") or flags.get("reporting_currency") or "usd").lower()
    opening, closing = _rates(each.get("fx_open")), _rates(each.get("fx_close"))
    sold = {event.currency for event in events if event.items}
    if opening is None and len(sold) == 1:
        return Currency(sold.pop())
    return Currency(code, opening, closing)


def _rates(value: Mapping[str, Any] | None) -> dict[str, Fraction] | None:
    return None if value is None else {code.lower(): Fraction(str(rate)) for code, rate in value.items()}


# ---------------------------------------------------------------- prices


def normalized(case: Json, defaults: Json) -> Iterator[Answer]:
    policy = _policy(_flags(case, defaults))
    for row in case["rows"]:
        at = read_instant(row["at"]) if "at" in row else datetime(2026, 1, 1, tzinfo=UTC)
        level = mrr.level(read_items(row["items"]), read_discounts(row.get("discounts", ())), policy, at)
        figures = {
            "expected_mrr": level.total,
            "expected_alloc": {priced.item.id: priced.minor for priced in level.items},
        }
        expected = {name: row[name] for name in figures if name in row}
        yield Answer(row["name"], {name: figures[name] for name in expected}, expected)


# ---------------------------------------------------------------- formulas


def formulas(case: Json, _: Json) -> Iterator[Answer]:
    for row in case["rows"]:
        figures = FORMULAS["grr_by_customer" if "customers" in row["inputs"] else row["formula"]](row["inputs"])
        yield Answer(row["name"], {name: figures.get(name) for name in row["expected"]}, row["expected"])


def _nrr_grr(inputs: Json) -> dict[str, Any]:
    sums = Sums(**{SHORT.get(name, name): value for name, value in inputs.items()})
    return {
        "end": sums.end,
        "retained": sums.retained,
        "nrr": percent(sums.nrr),
        "grr": percent(sums.grr),
        "gap_points": _points(sums.gap),
        "gap_flag": warns(sums.gap),
    }


def _of_customers(inputs: Json) -> dict[str, Any]:
    found = ends((start, end) for start, end in inputs["customers"])
    return {
        "aggregate_min": percent(found.grr_of_totals),
        "per_customer": percent(found.grr),
        "grr": percent(found.grr),
        "nrr": percent(found.nrr),
        "crr": percent(found.logo_retention),
        "logo_retention": percent(found.logo_retention),
        "gap_points": _points(found.gap),
        "gap_flag": warns(found.gap),
    }


def _compound(inputs: Json) -> dict[str, Any]:
    named = {RATE.get(name, name): Fraction(str(value)) for name, value in inputs.items()}
    each = named["rate"] / 100 if named["rate"] > 10 else named["rate"]
    multiple = compounded(1, each, int(named["periods"]))
    end = mrr.half_up(named.get("start", Fraction(1)) * multiple)
    return {"end": end, "multiple": f"{float(multiple):.3f}"}


def _points(gap: Fraction | None) -> str | None:
    """Percentage points, without decimals when they are whole."""
    text = percent(gap)
    return text if text is None else text.rstrip("0").rstrip(".")


RATE = {"nrr": "rate", "growth": "rate", "years": "periods", "months": "periods", "n": "periods"}
FORMULAS: dict[str, Callable[[Json], dict[str, Any]]] = {
    "nrr_grr": _nrr_grr,
    "grr_by_customer": _of_customers,  # logo_and_nrr as well: whatever lists customers
    "compound": _compound,
}


# ---------------------------------------------------------------- recovery by month of failure


def recovery_cohorts(case: Json, _: Json) -> Iterator[Answer]:
    zone = case.get("tz") or "UTC"
    after = _instant(case["as_of"], zone) + (timedelta(days=1) if len(case["as_of"]) == 10 else timedelta(0))
    found = performance([_failure(each, zone) for each in case["cases"]], after, zone)
    for month, expected in case["expected"].items():
        cohort = found.get(month)
        figures = {name: _cohort_figure(cohort, name) for name in expected}
        yield Answer(month, figures, expected)


def _failure(value: Json, zone: str) -> Failure:
    return Failure(
        failed_at=_instant(value["first_failed"], zone),
        mrr=int(value["mrr"]),
        outcome=Outcome(value.get("outcome", "open")),
        closed_at=_instant(value["closed"], zone) if value.get("closed") else None,
        recovered=value.get("recovered_mrr"),
        source=value.get("source"),
        after_trial=bool(value.get("first_invoice_after_trial") or value.get("after_trial")),
    )


def _cohort_figure(cohort: Any, name: str) -> Any:
    value = getattr(cohort, name, None)
    return percent(value) if name.startswith("rate") else value


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
        yield Answer(row["name"], {name: figures.get(name) for name in row["expected"]}, row["expected"])


KINDS: dict[str, Callable[[Json, Json], Iterator[Answer]]] = {
    "bridge": bridges,
    "normalize": normalized,
    "formula": formulas,
    "recovery_cohorts": recovery_cohorts,
    "benchmark": compared,
}


def main(arguments: list[str]) -> int:
    """0 when every case passes, 1 when one does not, 2 when the file cannot be read."""
    as_json = "--json" in arguments
    files = [each for each in arguments if each != "--json"]
    if len(files) != 1:
        sys.stderr.write("usage: python -m tests.metric_cases FILE [--json]\n")
        return 2
    try:
        told = json.loads(Path(files[0]).read_text())
    except (OSError, ValueError) as wrong:
        sys.stderr.write(f"{files[0]}: {wrong}\n")
        return 2
    failed = 0
    for case in told["cases"]:
        wrong_here = list(_run(case, told.get("default_policy") or {}, as_json))
        failed += bool(wrong_here)
        if not as_json:
            sys.stdout.writelines(f"{line}\n" for line in wrong_here)
    if not as_json:
        sys.stdout.write(f"{len(told['cases']) - failed} passed, {failed} failed\n")
    return 1 if failed else 0


def _run(case: Json, defaults: Json, as_json: bool) -> Iterator[str]:
    """What is wrong with one case; a case that cannot be run is one that failed, and the others still run."""
    try:
        for answer in KINDS[case["kind"]](case, defaults):
            if as_json:
                line = {"case": case["id"], "name": answer.name, "computed": answer.computed, **answer.beside}
                sys.stdout.write(json.dumps(line) + "\n")
            if not answer.passed:
                yield f"{case['id']} {answer.name}: {_difference(answer)}"
    except (ArithmeticError, LookupError, TypeError, ValueError) as wrong:
        if as_json:
            line = {"case": case["id"], "name": "", "computed": {}, "error": f"{type(wrong).__name__}: {wrong}"}
            sys.stdout.write(json.dumps(line) + "\n")
        yield f"{case['id']}: {type(wrong).__name__}: {wrong}"


def _difference(answer: Answer) -> str:
    pairs = [(answer.computed, answer.expected), (answer.beside, answer.beside_expected)]
    return "; ".join(
        f"{name} is {computed.get(name)!r}, expected {wanted!r}"
        for computed, expected in pairs
        for name, wanted in expected.items()
        if computed.get(name) != wanted
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
