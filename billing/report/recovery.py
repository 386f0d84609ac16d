"""Recovery as tables: by month of failure, by who brought the money, how long it lasted, and what is still at risk.

None of it claims that the service caused a recovery; only a control group can say that (metrics definitions, 3.3).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from billing.ledger.movement import Book, Case, CashKind, Line, Outcome
from billing.ledger.recoveries import MARKS, Recovery, recoveries, still_live
from billing.money import Amount
from billing.report.currency import Currency
from billing.report.performance import Cohort, failures_of, performance
from billing.report.period import Period
from billing.report.retention import ratio
from billing.report.rows import History, level_before
from billing.report.scope import Scope
from billing.report.table import Cell, Column, Kind, Table

NOT_KNOWN = "not known"
CAME = (CashKind.RECOVERED, CashKind.RECOVERED_AFTER_LOSS)
MONTHS = (
    Column("month", "Month of the first failure", Kind.DATE),
    Column("cases", "Cases", Kind.COUNT),
    *(Column(f"cases_{outcome}", f"Cases {outcome}", Kind.COUNT) for outcome in Outcome),
    Column("failed", "Failed MRR", Kind.MONEY),
    Column("recovered", "Recovered MRR", Kind.MONEY),
    Column("lost", "Lost MRR", Kind.MONEY),
    Column("returned", "Of it paid after the loss, MRR", Kind.MONEY),
    Column("voluntary", "Ended by the customer, MRR", Kind.MONEY),
    Column("forgiven", "Forgiven MRR", Kind.MONEY),
    Column("open", "Open MRR", Kind.MONEY),
    Column("lost_to_downgrade", "Recovered, but bought less, MRR", Kind.MONEY),
    Column("rate_of_all", "Recovered of all, MRR", Kind.RATIO),
    Column("rate_of_closed", "Recovered of closed, MRR", Kind.RATIO),
    Column("count_rate_of_all", "Recovered of all, cases", Kind.RATIO),
    Column("count_rate_of_closed", "Recovered of closed, cases", Kind.RATIO),
    *(Column(f"cash_{kind}", f"Cash {kind}".replace("_", " "), Kind.MONEY) for kind in CashKind),
    Column("cash_rate", "Cash that came, of what failed", Kind.RATIO),
)
FAILURE_MONTH = "Attributed to the month of the first failure and restated as cases end; the bridge is not restated."
NO_CAUSE = "Recovered says that it was paid again, not that this service caused it, and not that it lasted."


def by_failure_month(scope: Scope, period: Period) -> Table:
    """One row for each month of the period with failures, as their cases stand now."""
    currency, now = scope.currency(period), scope.as_known + timedelta.resolution
    failures = [
        each
        for history in scope.histories.values()
        for each in failures_of(history, currency, now)
        if period.holds(each.failed_at)
    ]
    found = performance(failures, now, scope.zone)
    rows = tuple(_month(scope, date.fromisoformat(f"{month}-01"), cohort) for month, cohort in found.items())
    notes = (FAILURE_MONTH, NO_CAUSE, *scope.notes(period))
    return Table("recovery", "Recovery by month of failure", MONTHS, rows, scope.labels(period), notes)


def _month(scope: Scope, month: date, cohort: Cohort) -> tuple[Cell, ...]:
    amounts = ("failed", "recovered", "lost", "returned", "voluntary", "forgiven", "open", "lost_to_downgrade")
    return (
        month,
        cohort.n,
        *(cohort.counts[outcome] for outcome in Outcome),
        *(scope.amount(getattr(cohort, name)) for name in amounts),
        cohort.rate_of_all,
        cohort.rate_of_closed,
        cohort.count_rate_of_all,
        cohort.count_rate_of_closed,
        *(Amount(cohort.cash[kind], scope.code) for kind in CashKind),
        cohort.cash_rate,
    )


SOURCES = (
    Column("source", "Who brought the money", Kind.CODE),
    Column("recoveries", "Recoveries", Kind.COUNT),
    Column("recovered", "Recovered MRR", Kind.MONEY),
    Column("share", "Share", Kind.RATIO),
    Column("after_loss", "Of it after the loss", Kind.MONEY),
    Column("live", "Still live at the close", Kind.MONEY),
    Column("cash", "Cash", Kind.MONEY),
)


def by_source(scope: Scope, period: Period) -> Table:
    """One row per source of the period's recoveries, the largest first; one source per case."""
    currency, cash = scope.currency(period), defaultdict[str, int](int)
    parts: dict[str, list[Recovery]] = defaultdict(list)
    live: dict[str, int] = defaultdict(int)
    for history in scope.histories.values():
        for each in _recovered(scope, history, period, currency):
            parts[each.source or NOT_KNOWN].append(each)
            live[each.source or NOT_KNOWN] += _live(history, each, period.closes, currency)
        for came in history.cash:
            if came.kind in CAME and period.holds(came.at) and currency.includes(came.amount.currency):
                minor = currency.at_opening(came.amount.minor, came.amount.currency)
                cash[came.source or NOT_KNOWN] += minor
    sums = {source: _minor(each, currency) for source, each in parts.items()}
    whole = sum(sums.values())
    rows: list[tuple[Cell, ...]] = []
    for source in sorted(parts.keys() | cash.keys(), key=lambda source: (-sums.get(source, 0), source)):
        members = parts.get(source, [])
        late = _minor([each for each in members if each.after_loss], currency)
        amounts = (scope.amount(late), scope.amount(live[source]), Amount(cash.get(source, 0), scope.code))
        minor = sums.get(source, 0)
        rows.append((source, len(members), scope.amount(minor), ratio(minor, whole), *amounts))
    notes = (NO_CAUSE, *scope.notes(period))
    return Table("recovery_sources", "Who brought the money back", SOURCES, tuple(rows), scope.labels(period), notes)


def _recovered(scope: Scope, history: History, period: Period, currency: Currency) -> list[Recovery]:
    """One customer's recoveries of the period."""
    if not any(each.line is Line.RECOVERED and period.holds(each.effective_at) for each in history.movements):
        return []
    mine = Book(scope.as_known, tuple(history.movements), tuple(history.cases), steps=tuple(history.steps))
    return [each for each in recoveries(mine) if period.holds(each.at) and currency.includes(each.amount.currency)]


def _minor(members: Sequence[Recovery], currency: Currency) -> int:
    return sum(currency.at_opening(each.amount.minor, each.amount.currency) for each in members)


def _live(history: History, each: Recovery, at: datetime, currency: Currency) -> int:
    """What of a recovery is still counted just before an instant."""
    return currency.at_opening(still_live(each.amount, each.subscription, history.steps, at), each.amount.currency)


DURABILITY = (
    Column("after", "Still counted", Kind.TEXT),
    Column("recoveries", "Recoveries old enough", Kind.COUNT),
    Column("recovered", "Recovered MRR", Kind.MONEY),
    Column("live", "Of it still live", Kind.MONEY),
    Column("share", "Share", Kind.RATIO),
    Column("too_young", "Recoveries too young to say", Kind.COUNT),
)


def durability(scope: Scope, period: Period) -> Table:
    """What of the period's recoveries was still counted after 30, 60 and 90 days, and at the period's close."""
    currency = scope.currency(period)
    found, live_then = list[Recovery](), 0
    for history in scope.histories.values():
        mine = _recovered(scope, history, period, currency)
        found += mine
        live_then += sum(_live(history, each, period.closes, currency) for each in mine)
    rows: list[tuple[Cell, ...]] = []
    for days in MARKS:
        old = [each for each in found if dict(each.live)[days] is not None]
        live = sum(currency.at_opening(dict(each.live)[days] or 0, each.amount.currency) for each in old)
        rows.append(_durable(scope, f"after {days} days", old, live, currency, len(found) - len(old)))
    rows.append(_durable(scope, "at the close", found, live_then, currency, 0))
    notes = ("A recovery too young for a mark is in neither column of it.", *scope.notes(period))
    return Table(
        "recovery_durability", "How long recoveries last", DURABILITY, tuple(rows), scope.labels(period), notes
    )


def _durable(
    scope: Scope, when: str, members: Sequence[Recovery], live: int, currency: Currency, young: int
) -> tuple[Cell, ...]:
    minor = _minor(members, currency)
    return (when, len(members), scope.amount(minor), scope.amount(live), ratio(live, minor), young)


ROLL_FORWARD = (
    Column("period_start", "From", Kind.DATE),
    Column("start", "At risk at the opening", Kind.MONEY),
    Column("opened", "Opened", Kind.MONEY),
    Column("remeasured", "Changed while open", Kind.MONEY),
    Column("recovered", "Recovered", Kind.MONEY),
    Column("lost", "Lost", Kind.MONEY),
    Column("voluntary", "Ended by the customer", Kind.MONEY),
    Column("forgiven", "Forgiven", Kind.MONEY),
    Column("end", "At risk at the close", Kind.MONEY),
    Column("open_cases", "Open cases at the close", Kind.COUNT),
)


@dataclass(slots=True)
class _Risk:
    start: int = 0
    opened: int = 0
    remeasured: int = 0
    recovered: int = 0
    lost: int = 0
    voluntary: int = 0
    forgiven: int = 0
    end: int = 0
    open_cases: int = 0


def at_risk(scope: Scope, periods: Sequence[Period]) -> Table:
    """The roll-forward of revenue at risk: opening + opened + changed - what was decided = closing."""
    asked = [(period, scope.currency(period), _Risk()) for period in periods]
    for history in scope.histories.values():
        for case in history.cases:
            for period, currency, risk in asked:
                if currency.includes(case.opened.currency):
                    _roll(risk, case, history, period, currency)
    rows: list[tuple[Cell, ...]] = []
    for period, _, risk in asked:
        amounts = [scope.amount(getattr(risk, column.name)) for column in ROLL_FORWARD[1:-1]]
        rows.append((period.start, *amounts, risk.open_cases))
    whole = Period(periods[0].start, periods[-1].end, periods[0].zone)
    notes = ("Opening + opened + changed - recovered - lost - ended - forgiven = close.", *scope.notes(whole))
    return Table("at_risk", "Revenue at risk", ROLL_FORWARD, tuple(rows), scope.labels(whole), notes)


def _roll(risk: _Risk, case: Case, history: History, period: Period, currency: Currency) -> None:
    """One case's part of one period; a case lives from its opening to its close, both inside the half-open period."""
    closed = case.closed_at is not None and case.closed_at < period.closes
    if case.opened_at >= period.closes or (case.closed_at is not None and case.closed_at < period.opens):
        return
    code = case.opened.currency
    before = after = came = out = 0
    if case.opened_at < period.opens:
        before = level_before(history.steps, case.subscription, period.opens, currency)
    else:
        came = currency.at_opening(case.opened.minor, code)
    if closed:
        out = currency.at_opening(case.at_close, code)
        name = str(case.outcome)
        setattr(risk, name, getattr(risk, name) + out)
    else:
        after = level_before(history.steps, case.subscription, period.closes, currency)
        risk.open_cases += 1
    risk.start, risk.opened, risk.end = risk.start + before, risk.opened + came, risk.end + after
    risk.remeasured += after + out - before - came
