"""One customer's part of a bridge. Every bridge, segment and export is a sum of these rows.

The netted rows follow section 4.2 of the metrics definitions: what a customer of the opening base had at both ends
decides the amount, the movements in between decide the line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from billing.ledger.movement import Book, Case, Cash, Line, Movement, Standing, Step
from billing.report.currency import Currency
from billing.report.period import Period


@dataclass(slots=True)
class Row:
    """Whole minor units a month at opening rates, positive as the bridge prints them; `end` is at closing rates."""

    customer: str
    start: int = 0
    expansion: int = 0
    downgrade: int = 0
    restructuring: int = 0
    voluntary_churn: int = 0
    gross_involuntary_churn: int = 0
    recovered_involuntary_churn: int = 0
    recovered_late: int = 0  # a line of the activity basis only; netted it is inside reactivation or expansion
    new_business: int = 0
    reactivation: int = 0
    fx: int = 0
    end: int = 0
    retained: int = 0  # the closing level of a customer of the base
    kept: int = 0  # of that, at most the opening level
    late_recovery: int = 0  # inside reactivation or expansion: paid for a loss of an earlier period
    recovered_live: int = 0  # of the recovered, what is still counted at the close
    at_risk: int = 0
    at_risk_base: int = 0  # of that, of customers of the base
    at_risk_cases: int = 0
    at_risk_since: datetime | None = None  # the oldest open failure
    logos_start: int = 0
    logos_lost: int = 0


@dataclass(slots=True)
class History:
    """One customer's part of a book, in the order of time."""

    movements: list[Movement] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    cash: list[Cash] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    standings: list[Standing] = field(default_factory=list)


def histories(book: Book) -> dict[str, History]:
    by_customer: dict[str, History] = defaultdict(History)
    for movement in book.movements:
        by_customer[movement.customer].movements.append(movement)
    for case in book.cases:
        by_customer[case.customer].cases.append(case)
    for cash in book.cash:
        by_customer[cash.customer].cash.append(cash)
    for step in book.steps:
        by_customer[step.customer].steps.append(step)
    for standing in book.standings:
        by_customer[standing.customer].standings.append(standing)
    return by_customer


def netted(customer: str, history: History, period: Period, currency: Currency) -> Row:
    """What the customer had at both ends, and by which line it changed."""
    row, inside = framed(customer, history, period, currency)
    if row.start:
        _net(row, inside, history, period.closes, currency)
    else:
        _arrive(row, inside, history, period)
    return row


def activity(customer: str, history: History, period: Period, currency: Currency) -> Row:
    """Every movement as it was posted."""
    row, inside = framed(customer, history, period, currency)
    losses = {movement.key for movement, _ in inside if movement.line is Line.INVOLUNTARY}
    for movement, minor in inside:
        match movement.line:
            case Line.NEW:
                row.new_business += minor
            case Line.EXPANSION:
                row.expansion += minor
            case Line.REACTIVATION:
                row.reactivation += minor
            case Line.DOWNGRADE:
                row.downgrade -= minor
            case Line.RESTRUCTURING:
                row.restructuring -= minor
            case Line.VOLUNTARY:
                row.voluntary_churn -= minor
            case Line.INVOLUNTARY:
                row.gross_involuntary_churn -= minor
            case Line.RECOVERED if movement.pair or movement.loss in losses:
                row.recovered_involuntary_churn += minor
            case Line.RECOVERED:
                row.recovered_late += minor
    return row


def framed(
    customer: str, history: History, period: Period, currency: Currency
) -> tuple[Row, list[tuple[Movement, int]]]:
    """Both ends and what is at risk, and the period's movements as differences of converted levels."""
    row, opens, closes = Row(customer), period.opens, period.closes
    levels: dict[str, int] = defaultdict(int)
    inside: list[tuple[Movement, int]] = []
    for movement in history.movements:
        code = movement.amount.currency
        if movement.effective_at >= closes or not currency.includes(code):
            continue
        before = levels[code]
        levels[code] = before + movement.amount.minor
        if movement.effective_at < opens:
            continue
        inside.append((movement, currency.at_opening(levels[code], code) - currency.at_opening(before, code)))
    closing = sum(currency.at_opening(minor, code) for code, minor in levels.items())
    row.start = closing - sum(minor for _, minor in inside)
    row.end = sum(currency.at_closing(minor, code) for code, minor in levels.items())
    row.fx = row.end - closing
    if row.start:
        row.retained, row.kept, row.logos_start = closing, min(row.start, closing), 1
        row.logos_lost = int(closing == 0)
    _risk(row, history, closes, currency)
    return row, inside


def _risk(row: Row, history: History, closes: datetime, currency: Currency) -> None:
    for case in history.cases:
        open_then = case.opened_at < closes and (case.closed_at is None or case.closed_at >= closes)
        if open_then and currency.includes(case.opened.currency):
            minor = level_before(history.steps, case.subscription, closes, currency)
            row.at_risk += minor
            row.at_risk_base += minor if row.start else 0
            row.at_risk_cases += 1
            row.at_risk_since = min(row.at_risk_since or case.opened_at, case.opened_at)


def level_before(steps: Sequence[Step], subscription: str, before: datetime, currency: Currency) -> int:
    """What the subscription counted just before an instant, at opening rates."""
    last = None
    for step in steps:
        if step.subscription == subscription and step.at < before:
            last = step
    return currency.at_opening(last.minor, last.currency) if last else 0


def _arrive(row: Row, inside: Sequence[tuple[Movement, int]], history: History, period: Period) -> None:
    returning = any(movement.effective_at < period.opens for movement in history.movements)
    late = sum(minor for movement, minor in inside if movement.line is Line.RECOVERED and not movement.pair)
    arrive(row, row.end - row.fx, returning, late)


def arrive(row: Row, came: int, returning: bool, late: int) -> None:
    """A customer outside the base is new or returns; a late recovery is part of the return."""
    if not returning:
        row.new_business = came
    elif came:
        row.reactivation, row.late_recovery = came, min(came, late)


@dataclass(slots=True)
class Sums:
    """The period's movements of one customer of the base, before they are netted."""

    downgrade: int = 0
    restructuring: int = 0
    voluntary: int = 0
    involuntary: int = 0  # what no recovery of the period undid
    gains: int = 0
    late: int = 0
    recovered: int = 0  # each subscription's largest recovery of the period, once (3.3, rule 9)
    live: int = 0  # what of it still counts at the close


def _net(
    row: Row, inside: Sequence[tuple[Movement, int]], history: History, closes: datetime, currency: Currency
) -> None:
    sums = Sums()
    for restored in _grossed_up(inside, sums):
        sums.recovered += restored.minor
        sums.live += min(restored.minor, level_before(history.steps, restored.subscription, closes, currency))
    standing = [each for each in history.standings if each.at < closes]
    gone = bool(standing) and not standing[-1].alive
    net(row, sums, (standing[-1].because or Line.VOLUNTARY) if gone else None)


def net(row: Row, sums: Sums, ended: Line | None) -> None:
    """The netting rule (4.2) on a row with both its ends.

    `ended` is how the customer's last subscription went, None while it has one or never had any.
    """
    row.gross_involuntary_churn = row.recovered_involuntary_churn = sums.recovered
    row.recovered_live, row.late_recovery = sums.live, sums.late
    start, end = row.start, row.retained
    if end >= start:
        row.expansion = end - start
        return
    if end or ended is None:
        left, _ = _take(sums.gains, sums.downgrade + sums.voluntary, sums.restructuring, sums.involuntary)
        row.downgrade, row.restructuring, lost = left
        row.gross_involuntary_churn += lost
        return
    shrunk = sums.downgrade + sums.restructuring
    if ended is Line.INVOLUNTARY:
        (lost, row.voluntary_churn), _ = _take(sums.gains, sums.involuntary + shrunk, sums.voluntary)
    else:
        (row.voluntary_churn, lost), _ = _take(sums.gains, sums.voluntary + shrunk, sums.involuntary)
    row.gross_involuntary_churn += lost


@dataclass(frozen=True, slots=True)
class _Restored:
    subscription: str
    minor: int


def _grossed_up(inside: Sequence[tuple[Movement, int]], sums: Sums) -> Iterator[_Restored]:
    """Sum the movements, and yield each subscription's largest recovery of the period, once (3.3, rule 9)."""
    losses: dict[str, tuple[Movement, int]] = {}
    restored: dict[tuple[str, str], int] = defaultdict(int)  # by lost subscription and case
    living: dict[str, str] = {}  # lost subscription -> the one that pays again
    for movement, minor in inside:
        if movement.pair:
            if movement.line is Line.RECOVERED:
                restored[movement.subscription, movement.pair] += minor
                living[movement.subscription] = movement.subscription
            continue
        match movement.line:
            case Line.DOWNGRADE:
                sums.downgrade -= minor
            case Line.RESTRUCTURING:
                sums.restructuring -= minor
            case Line.VOLUNTARY:
                sums.voluntary -= minor
            case Line.INVOLUNTARY:
                sums.involuntary -= minor
                losses[movement.key] = (movement, -minor)
            case Line.RECOVERED if movement.loss in losses:
                loss, remaining = losses[movement.loss or ""]
                undone = min(minor, remaining)
                losses[loss.key] = (loss, remaining - undone)
                sums.involuntary -= undone
                sums.gains += minor - undone
                restored[loss.subscription, loss.key] += undone
                living[loss.subscription] = movement.subscription
            case Line.RECOVERED:
                sums.gains += minor
                sums.late += minor
            case _:
                sums.gains += minor
    largest: dict[str, int] = defaultdict(int)
    for (subscription, _), minor in restored.items():
        largest[subscription] = max(largest[subscription], minor)
    for subscription in sorted(largest):
        yield _Restored(living[subscription], largest[subscription])


def _take(gains: int, *losses: int) -> tuple[list[int], int]:
    """Take gains off losses in their order; what is left of the losses, and of the gains."""
    left = []
    for loss in losses:
        taken = min(gains, loss)
        gains -= taken
        left.append(loss - taken)
    return left, gains


def totals(rows: Iterable[Row]) -> Row:
    """The sum of rows, as a row without a customer."""
    total = Row("")
    for row in rows:
        add(total, row)
    return total


def add(total: Row, row: Row) -> None:
    """Put one more row into a sum."""
    for name in _SUMMED:
        if minor := getattr(row, name):
            setattr(total, name, getattr(total, name) + minor)
    if row.at_risk_since:
        total.at_risk_since = min(total.at_risk_since or row.at_risk_since, row.at_risk_since)


_SUMMED = tuple(name for name in Row.__slots__ if name not in {"customer", "at_risk_since"})


# ---------------------------------------------------------------- what segments need beside a row


@dataclass(frozen=True, slots=True)
class Part:
    """One customer's row, its first level when it is outside the base, and the currencies in which it pays."""

    row: Row
    first: int
    currencies: str


def part(row: Row, history: History, period: Period, currency: Currency) -> Part | None:
    """None for a customer who has nothing to say in the period."""
    first = 0 if row.start else first_level(history, period, currency)
    return Part(row, first, currencies(history, period)) if row.start or row.end or first else None


def first_level(history: History, period: Period, currency: Currency) -> int:
    """What a customer outside the base began with in the period, at opening rates; 0 when nothing began."""
    inside = [
        movement
        for movement in history.movements
        if period.holds(movement.effective_at) and currency.includes(movement.amount.currency)
    ]
    at_once = [movement for movement in inside if movement.effective_at == inside[0].effective_at]
    return sum(currency.at_opening(movement.amount.minor, movement.amount.currency) for movement in at_once)


def currencies(history: History, period: Period) -> str:
    """The currencies that a customer held at the opening, of a new one all of the period, as one text."""
    held: dict[str, int] = defaultdict(int)
    came: set[str] = set()
    for movement in history.movements:
        if movement.effective_at < period.opens:
            held[movement.amount.currency] += movement.amount.minor
        elif movement.effective_at < period.closes:
            came.add(movement.amount.currency)
    return named(code for code, minor in held.items() if minor) or named(came)


def named(codes: Iterable[str]) -> str:
    return "+".join(sorted(codes))
