"""Recurring revenue beside the invoices of a quarter: what it stands for, what was paid, and why the two differ (Q12).

Revenue is the level of each subscription over the time it held, a whole local month of it being one month's revenue.
Each subscription's whole difference is put down to one cause, the first that applies, so that the causes add up to the
cent. Nothing is converted: the report is about one currency's own invoices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from billing.events.occurrences import Event, InvoicePaid, SubscriptionSeen
from billing.ledger.movement import CashKind, Step
from billing.ledger.mrr import half_up
from billing.money import Amount
from billing.report.period import Period
from billing.report.scope import Scope
from billing.report.table import Cell, Column, Kind, Table

COLUMNS = (
    Column("quarter", "Quarter", Kind.DATE),
    Column("line", "Line", Kind.TEXT),
    Column("subscriptions", "Subscriptions", Kind.COUNT),
    Column("amount", "Amount", Kind.MONEY),
)
EARNED, PAID = "what recurring revenue stands for", "paid by invoice"
LONGER = "billed for longer than a month, or shorter"
FAILED = "a payment failed"
CHANGED = "began, ended or changed in the quarter"
UNSEEN = "no paid invoice was seen"
REST = "tax, credit, proration, one-off lines and days of payment"
ADDS_UP = "Revenue + the causes = what was paid by invoice, to the cent; each subscription stands in one cause."
EARNS = "Revenue is the level of each subscription over the time that it held in the quarter; nothing is converted."
CAUSES = (LONGER, FAILED, CHANGED, UNSEEN, REST)


@dataclass(frozen=True, slots=True)
class Told:
    """What events say of invoices, by subscription."""

    paid: Mapping[str, Mapping[str, tuple[datetime, Amount]]]  # by invoice: when and how much
    monthly: Mapping[str, bool]  # whether everything is billed once a month


def told_by(events: Iterable[Event]) -> Told:
    """From events in any order and with any repetition."""
    paid: dict[str, dict[str, tuple[datetime, Amount]]] = defaultdict(dict)
    monthly: dict[str, bool] = {}
    for event in sorted(events, key=lambda event: (event.at, event.id)):
        match event.what:
            case InvoicePaid(invoice=invoice) if invoice.subscription:
                paid[invoice.subscription].setdefault(invoice.id, (invoice.paid_at or event.at, invoice.paid))
            case SubscriptionSeen(subscription=seen) if seen.items:
                rhythms = {(item.interval, item.interval_count) for item in seen.items if item.interval}
                monthly[seen.id] = rhythms <= {("month", 1)}
            case _:
                pass
    return Told(paid, monthly)


def by_quarter(scope: Scope, quarters: Sequence[Period], events: Iterable[Event]) -> Table:
    """Per quarter: the revenue, the causes of the difference, and the invoices; the lines add up."""
    told = told_by(events)
    rows: list[tuple[Cell, ...]] = []
    for quarter in quarters:
        earned, paid, why = _earned(scope, quarter), _paid(scope, quarter, told), _why(scope, quarter)
        parts: dict[str, list[int]] = defaultdict(list)
        for subscription in sorted(earned.keys() | paid.keys()):
            difference = paid.get(subscription, 0) - earned.get(subscription, 0)
            if difference:
                cause = LONGER if not told.monthly.get(subscription, True) else why.get(subscription)
                parts[cause or (REST if subscription in paid else UNSEEN)].append(difference)
        rows.append(_line(scope, quarter, EARNED, earned.values()))
        rows += [_line(scope, quarter, cause, parts[cause]) for cause in CAUSES if cause in parts]
        rows.append(_line(scope, quarter, PAID, paid.values()))
    whole = Period(quarters[0].start, quarters[-1].end, scope.zone)
    notes = (ADDS_UP, EARNS, *scope.notes(whole))
    labels = {**dict(scope.labels(whole)), "unit": scope.code.upper()}
    title = "Recurring revenue and invoices"
    return Table("reconciliation_invoices", title, COLUMNS, tuple(rows), tuple(labels.items()), notes)


def _line(scope: Scope, quarter: Period, name: str, minors: Iterable[int]) -> tuple[Cell, ...]:
    listed = list(minors)
    return quarter.start, name, len(listed), Amount(sum(listed), scope.code)


def _earned(scope: Scope, quarter: Period) -> dict[str, int]:
    """By subscription, in minor units of the currency."""
    found: dict[str, int] = {}
    months = quarter.months()
    for history in scope.histories.values():
        by_subscription: dict[str, list[Step]] = defaultdict(list)
        for step in history.steps:
            if step.currency == scope.code:
                by_subscription[step.subscription].append(step)
        for subscription, steps in by_subscription.items():
            minor = half_up(sum((_held(steps, month, scope.as_known) for month in months), Fraction(0)))
            if minor:
                found[subscription] = minor
    return found


def _held(steps: Sequence[Step], month: Period, now: datetime) -> Fraction:
    """The level over one month, by the share of the month it held; nothing after what is known."""
    whole, total = month.closes - month.opens, Fraction(0)
    ends = [step.at for step in steps[1:]] + [max(now, month.opens)]
    for step, end in zip(steps, ends, strict=True):
        seconds = (min(end, month.closes, now) - max(step.at, month.opens)).total_seconds()
        if seconds > 0:
            total += Fraction(step.minor) * Fraction(seconds) / Fraction(whole.total_seconds())
    return total


def _paid(scope: Scope, quarter: Period, told: Told) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for subscription, invoices in told.paid.items():
        for at, amount in invoices.values():
            if quarter.holds(at) and amount.currency == scope.code and amount.minor:
                found[subscription] += amount.minor
    return found


def _why(scope: Scope, quarter: Period) -> dict[str, str]:
    """What happened to subscriptions in the quarter that parts them from their invoices; a failure before a change."""
    found: dict[str, str] = {}
    for history in scope.histories.values():
        for movement in history.movements:
            if quarter.holds(movement.effective_at) and movement.pair is None:
                found.setdefault(movement.subscription, CHANGED)
        for cash in history.cash:
            if cash.kind is not CashKind.REFUNDED and quarter.holds(cash.at):
                found[cash.subscription] = FAILED
        for case in history.cases:
            if case.opened_at < quarter.closes and (case.closed_at is None or case.closed_at >= quarter.opens):
                found[case.subscription] = FAILED
    return found
