"""How recovery performs, by month of the first failure: what failed in January and was paid in February is January's.

Apart from the bridge on purpose (metrics definitions, 3.5): this report is restated as cases end, the ledger is not.
Voluntary cancellations stay in the denominator. First invoices after a trial are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

from billing.ledger.movement import CashKind, Line, Outcome
from billing.report.currency import Currency
from billing.report.retention import ratio
from billing.report.rows import History


@dataclass(frozen=True, slots=True)
class Failure:
    """One case as the report needs it; `mrr` and `recovered` in whole minor units a month, cash in minor units."""

    failed_at: datetime
    mrr: int
    outcome: Outcome = Outcome.OPEN
    closed_at: datetime | None = None
    recovered: int | None = None  # of a recovered case, when it was less than `mrr`
    source: str | None = None  # who brought the money
    returned: int = 0  # of a lost case: what a later payment brought back
    after_trial: bool = False  # the first invoice after a trial
    cash: Mapping[CashKind, int] = field(default_factory=dict)

    def as_of(self, instant: datetime) -> Outcome:
        """How the case stood just before an instant."""
        return self.outcome if self.closed_at is not None and self.closed_at < instant else Outcome.OPEN


@dataclass(slots=True)
class Cohort:
    """All failures of one month. `n` counts cases, the amounts are a month's revenue when the cases opened."""

    n: int = 0
    failed: int = 0
    recovered: int = 0
    lost: int = 0
    voluntary: int = 0
    forgiven: int = 0
    open: int = 0
    lost_to_downgrade: int = 0  # of recovered cases: what did not come back because less is bought
    returned: int = 0  # of lost cases: paid after all, which the bridge shows as late recovery
    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    cash: dict[CashKind, int] = field(default_factory=lambda: dict.fromkeys(CashKind, 0))

    @property
    def rate_of_all(self) -> Fraction | None:
        return ratio(self.recovered, self.failed)

    @property
    def rate_of_closed(self) -> Fraction | None:
        return ratio(self.recovered, self.failed - self.open)

    @property
    def count_rate_of_all(self) -> Fraction | None:
        return ratio(self.counts[Outcome.RECOVERED], self.n)

    @property
    def count_rate_of_closed(self) -> Fraction | None:
        return ratio(self.counts[Outcome.RECOVERED], self.n - self.counts[Outcome.OPEN])

    @property
    def cash_rate(self) -> Fraction | None:
        """Cash that came after all, of what had been asked for in vain."""
        came = self.cash[CashKind.RECOVERED] + self.cash[CashKind.RECOVERED_AFTER_LOSS]
        return ratio(came, self.cash[CashKind.FAILED])


def performance(failures: Iterable[Failure], as_of: datetime, zone: str = "UTC") -> dict[str, Cohort]:
    """One cohort for each month (`2026-01`) with failures before an instant, as the cases stood then."""
    cohorts: dict[str, Cohort] = defaultdict(Cohort)
    for each in failures:
        if each.failed_at < as_of and not each.after_trial:
            _add(cohorts[each.failed_at.astimezone(ZoneInfo(zone)).strftime("%Y-%m")], each, as_of)
    return dict(sorted(cohorts.items()))


def _add(cohort: Cohort, each: Failure, as_of: datetime) -> None:
    outcome = each.as_of(as_of)
    cohort.n += 1
    cohort.failed += each.mrr
    cohort.counts[outcome] += 1
    for kind, minor in each.cash.items():
        cohort.cash[kind] += minor
    match outcome:
        case Outcome.RECOVERED:
            back = each.mrr if each.recovered is None else min(each.mrr, each.recovered)
            cohort.recovered += back
            cohort.lost_to_downgrade += each.mrr - back
        case Outcome.LOST:
            cohort.lost += each.mrr
            cohort.returned += min(each.mrr, each.returned)
        case Outcome.VOLUNTARY:
            cohort.voluntary += each.mrr
        case Outcome.FORGIVEN:
            cohort.forgiven += each.mrr
        case Outcome.OPEN:
            cohort.open += each.mrr


def failures_of(history: History, currency: Currency, as_of: datetime) -> list[Failure]:
    """One customer's cases, at opening rates; cash up to an instant."""
    cash: dict[str | None, dict[CashKind, int]] = defaultdict(lambda: defaultdict(int))
    for each in history.cash:
        if each.at < as_of and currency.includes(each.amount.currency):
            cash[each.case][each.kind] += currency.at_opening(each.amount.minor, each.amount.currency)
    lost = {movement.key: movement.case for movement in history.movements if movement.line is Line.INVOLUNTARY}
    back: dict[str | None, int] = defaultdict(int)
    for movement in history.movements:
        if movement.loss and movement.effective_at < as_of and currency.includes(movement.amount.currency):
            back[lost.get(movement.loss)] += currency.at_opening(movement.amount.minor, movement.amount.currency)
    began: dict[str, datetime] = {}
    for step in history.steps:
        began.setdefault(step.subscription, step.at)
    return [
        Failure(
            failed_at=case.opened_at,
            mrr=currency.at_opening(case.opened.minor, case.opened.currency),
            outcome=case.outcome,
            closed_at=case.closed_at,
            recovered=currency.at_opening(case.recovered, case.opened.currency),
            source=case.source,
            returned=back[case.key],
            after_trial=began.get(case.subscription) == case.opened_at,
            cash=cash[case.key],
        )
        for case in history.cases
        if currency.includes(case.opened.currency)
    ]
