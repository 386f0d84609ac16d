"""Every report by its name: a plain dict of functions that make tables. Adding a report is adding a line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from billing.events import Event
from billing.ledger.mrr import half_up
from billing.ledger.vocabulary import LedgerEvent
from billing.money import Amount, exponent
from billing.report.bands import ARTICLE_001, Bands
from billing.report.benchmark import benchmark_table
from billing.report.bridge import Basis
from billing.report.cohorts import Measure, cohorts, triangle
from billing.report.concentration import concentration
from billing.report.cube import cube
from billing.report.invoices import by_quarter
from billing.report.movements import Account, long_log
from billing.report.period import Period
from billing.report.reconciliation import by_subscription, reconciliation
from billing.report.recovery import at_risk, by_failure_month, by_source, durability
from billing.report.scope import Scope
from billing.report.segments import CUTS, arr_stage, by_band, by_product, migration, segments
from billing.report.sheet import policy_sheet
from billing.report.standing import average_contract, standings
from billing.report.statement import bridge_table
from billing.report.table import Table
from billing.report.trend import trend
from config.benchmarks import benchmarks

QUARTERS, MONTHS, TREND = 12, 36, 24  # how far back, unless somebody asks for more or less


class NotAskedWell(ValueError):
    """An option does not fit the report; the message says what would."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is wanted of. `cut` and `measure` are for the reports that have several views."""

    scope: Scope
    period: Period
    folded: Callable[[Period | None], Scope]  # histories: of everybody, or of those whom a period concerns
    held: Callable[[], Scope]  # the whole book in memory
    accounts: Callable[[Period], Callable[[], Iterable[Account]]]  # whom a period concerns, with what was told
    basis: Basis = Basis.NETTED
    display: str = "gross"
    back: int | None = None
    cut: str = ""
    measure: str = "nrr"
    bands: Bands = ARTICLE_001
    events: Callable[[], Sequence[LedgerEvent]] = tuple  # what the ledger was told, read only when a report needs it
    seen: Callable[[], Iterable[Event]] = tuple  # what Stripe said of subscriptions and their payments

    @property
    def month(self) -> Period:
        """The last month of the period."""
        return self.period.trailing(1)

    @property
    def months(self) -> int:
        return (self.period.end.year - self.period.start.year) * 12 + self.period.end.month - self.period.start.month


def bridge(asked: Asked) -> Sequence[Table]:
    periods = asked.period.back(asked.back) if asked.back and asked.back > 1 else (asked.period,)
    return [bridge_table(asked.scope, periods, asked.basis, asked.display)]


def trend_(asked: Asked) -> Sequence[Table]:
    return [trend(asked.scope, asked.month, asked.back or TREND)]


def cohorts_(asked: Asked) -> Sequence[Table]:
    """Of quarters when the period is one, else of months."""
    until, count = (asked.period, QUARTERS) if asked.months == 3 else (asked.month, MONTHS)
    count = asked.back or count
    if asked.measure == "all":
        return [cohorts(asked.scope, until, count)]
    if asked.measure not in set(Measure):
        raise NotAskedWell(f"no measure {asked.measure!r}: choose all, {', '.join(Measure)}")
    return [triangle(asked.scope, until, Measure(asked.measure), count)]


OTHER_CUTS: Mapping[str, Callable[[Asked], Table]] = {
    "product": lambda asked: by_product(asked.folded(None), asked.period),  # known to histories only
    "arr_stage": lambda asked: arr_stage(asked.scope, asked.period),
    "migration": lambda asked: migration(asked.scope, asked.period, asked.bands),
}


def segments_(asked: Asked) -> Sequence[Table]:
    cut = asked.cut or "acv"
    if cut in CUTS:
        chosen = partial(by_band, asked.bands) if cut == "acv" else None
        return [segments(asked.scope, asked.period, cut, chosen, asked.basis)]
    if cut not in OTHER_CUTS:
        raise NotAskedWell(f"no segments by {cut!r}: choose {', '.join((*CUTS, *OTHER_CUTS))}")
    return [OTHER_CUTS[cut](asked)]


RECOVERY: Mapping[str, Callable[[Scope, Period], Table]] = {
    "month": by_failure_month,
    "source": by_source,
    "durability": durability,
    "at_risk": lambda scope, period: at_risk(scope, months_of(period)),
}


def recovery(asked: Asked) -> Sequence[Table]:
    """One view, or all of them."""
    if asked.cut and asked.cut not in RECOVERY:
        raise NotAskedWell(f"no recovery by {asked.cut!r}: choose {', '.join(RECOVERY)}")
    scope = asked.folded(asked.period)
    return [view(scope, asked.period) for name, view in RECOVERY.items() if asked.cut in ("", name)]


def months_of(period: Period) -> Sequence[Period]:
    """The months of a period, or the period itself when it is not made of whole ones."""
    return period.months() if (period.start.day, period.end.day) == (1, 1) else [period]


def concentration_(asked: Asked) -> Sequence[Table]:
    return [concentration(asked.scope, asked.period)]


def movements(asked: Asked) -> Sequence[Table]:
    return [long_log(asked.folded(asked.period), asked.period, asked.accounts(asked.period))]


def cube_(asked: Asked) -> Sequence[Table]:
    return [cube(asked.folded(None), months_of(asked.period), asked.bands)]


RECONCILIATION: Mapping[str, Callable[[Asked], Table]] = {
    "cause": lambda asked: _beside_stripe(asked, reconciliation),
    "subscription": lambda asked: _beside_stripe(asked, by_subscription),
    "invoices": lambda asked: by_quarter(asked.held(), quarters_of(asked.period), asked.seen()),
}


def reconciliation_(asked: Asked) -> Sequence[Table]:
    """To what Stripe would count at the period's close, or now, and to the invoices of its quarters."""
    if asked.cut and asked.cut not in RECONCILIATION:
        raise NotAskedWell(f"no reconciliation by {asked.cut!r}: choose {', '.join(RECONCILIATION)}")
    return [view(asked) for name, view in RECONCILIATION.items() if asked.cut in ("", name)]


def _beside_stripe(asked: Asked, view: Callable[[Sequence[LedgerEvent], datetime], Table]) -> Table:
    """The rows in the currency of the question: this report never converts."""
    table = view(asked.events(), min(asked.period.closes, asked.scope.as_known))
    unit = asked.scope.unit
    kept = [row for row in table.rows if all(not isinstance(cell, Amount) or cell.unit == unit for cell in row)]
    ours, theirs = dict(asked.scope.labels(asked.period)), dict(table.labels)
    labels = {**ours, **theirs, "unit": ours["unit"]}
    notes = [each for each in (asked.scope.runs(asked.period), asked.scope.begins(asked.period)) if each]
    return replace(table, rows=tuple(kept), labels=tuple(labels.items()), notes=(*table.notes, *notes))


def quarters_of(period: Period) -> Sequence[Period]:
    """Every calendar quarter that a period touches."""
    last = period.end - timedelta(days=1)
    numbers = range(_quarter(period.start), _quarter(last) + 1)
    return [Period.quarter(f"{number // 4}-Q{number % 4 + 1}", period.zone) for number in numbers]


def _quarter(day: date) -> int:
    return day.year * 4 + (day.month - 1) // 3


def policy(asked: Asked) -> Sequence[Table]:
    table = policy_sheet(asked.scope, asked.period, _version(), asked.bands)
    return [replace(table, notes=(*table.notes, *asked.scope.notes(asked.period)))]


def _version() -> str:
    """Of the installed package; a checkout that runs in place has none."""
    try:
        return version("reprieve")
    except PackageNotFoundError:
        return "checkout"


def benchmark(asked: Asked) -> Sequence[Table]:
    """The twelve months up to the period's end, beside every published figure that they can be compared with."""
    year = asked.period if asked.months == 12 else asked.period.trailing(12)
    scope, rows = asked.scope, benchmarks()
    acv = Amount(half_up(average_contract(scope, scope.bridge(year)) * 10 ** exponent(scope.code)), scope.code)
    labels = (*scope.labels(year, Basis.NETTED), ("average contract value", f"{acv} a year"))
    found = standings(scope, year, rows)
    table = benchmark_table(found, rows, labels)
    none = () if found else ("There was no opening base twelve months ago: nothing can be compared yet.",)
    return [replace(table, notes=(*none, *table.notes, *scope.notes(year)))]


VIEWED = {  # the reports that have several views, by the option that chooses one
    "--by": frozenset({"segments", "recovery", "reconciliation"}),
    "--measure": frozenset({"cohorts"}),
    "--back": frozenset({"bridge", "trend", "cohorts"}),
}
CATALOGUE: Mapping[str, Callable[[Asked], Sequence[Table]]] = {
    "bridge": bridge,
    "trend": trend_,
    "cohorts": cohorts_,
    "segments": segments_,
    "concentration": concentration_,
    "recovery": recovery,
    "movements": movements,
    "cube": cube_,
    "reconciliation": reconciliation_,
    "policy": policy,
    "benchmark": benchmark,
}
