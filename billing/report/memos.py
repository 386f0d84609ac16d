"""What a bridge does not say and its reader wants to know: what is decided and has not come, and what is special.

Memos, never lines (metrics definitions, D5, D6, D9, D12, D14): scheduled churn and the committed revenue after it,
revenue whose invoices wait as drafts, revenue by usage, revenue on terms of a year, and NRR without the effect of
discounts. At opening rates, as the lines of the bridge. Books are taken one after the other, so any number will do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from billing.ledger.movement import Book, Known, Mark, Movement, Step
from billing.money import MONTHLY, Amount
from billing.report.currency import Currency
from billing.report.period import Period
from billing.report.retention import ratio
from billing.report.rows import framed, histories
from billing.report.table import Cell, Column, Kind, Table

DISCOUNTS = frozenset({"discount_start", "discount_expiry"})


@dataclass(slots=True)
class Memo:
    """One period. Whole minor units a month at opening rates, at the close where nothing else is said."""

    end: int = 0
    scheduled: int = 0  # of subscriptions whose end is decided
    scheduled_cases: int = 0
    deferred: int = 0  # of subscriptions whose invoices are kept as drafts
    usage: int = 0
    yearly: int = 0  # billed by the year or longer
    start: int = 0  # of the base
    retained: int = 0  # of the base
    discounts: int = 0  # what coupons that came or went did to what the base still holds, signed

    @property
    def committed(self) -> int:
        """CMRR: the closing less what is known to end."""
        return self.end - self.scheduled

    @property
    def nrr(self) -> Fraction | None:
        return ratio(self.retained, self.start)

    @property
    def nrr_without_discounts(self) -> Fraction | None:
        """As if no coupon of the base had begun or run out in the period; None without an opening base."""
        return ratio(self.retained - self.discounts, self.start)


Asked = tuple[Period, Currency]


def memos(books: Iterable[Book], asked: Sequence[Asked]) -> list[Memo]:
    """One for each period, in their order; a book may hold one customer or all, each customer in one book only."""
    told = [Memo() for _ in asked]
    for book in books:
        for memo, (period, currency) in zip(told, asked, strict=True):
            _add(memo, book, period, currency)
    return told


def _add(memo: Memo, book: Book, period: Period, currency: Currency) -> None:
    marks: dict[str, list[Mark]] = defaultdict(list)
    for mark in book.marks:
        if mark.holds(period.closes):
            marks[mark.customer].append(mark)
    for customer, history in histories(book).items():
        row, inside = framed(customer, history, period, currency)
        held = _held(history.steps, period, currency)
        memo.end += row.end - row.fx
        memo.usage += sum(currency.at_opening(step.usage, step.currency) for step in held.values())
        memo.yearly += sum(currency.at_opening(step.yearly, step.currency) for step in held.values())
        if row.start:
            memo.start, memo.retained = memo.start + row.start, memo.retained + row.retained
            memo.discounts += _discounts(inside, held)
        for mark in marks[customer]:
            if step := held.get(mark.subscription):
                _mark(memo, mark.kind, currency.at_opening(step.minor, step.currency))


def _held(steps: Sequence[Step], period: Period, currency: Currency) -> dict[str, Step]:
    """What each subscription counts at the close; those that count nothing are left out."""
    last = {step.subscription: step for step in steps if step.at < period.closes and currency.includes(step.currency)}
    return {subscription: step for subscription, step in last.items() if step.minor}


def _mark(memo: Memo, kind: Known, minor: int) -> None:
    if kind is Known.DEFERRED:
        memo.deferred += minor
    else:
        memo.scheduled += minor
        memo.scheduled_cases += 1


def _discounts(inside: Sequence[tuple[Movement, int]], held: Mapping[str, Step]) -> int:
    """A coupon of a subscription that is gone at the close explains nothing of what is there."""
    return sum(minor for movement, minor in inside if movement.reason in DISCOUNTS and movement.subscription in held)


COLUMNS = (
    Column("period_start", "From", Kind.DATE),
    Column("period_end", "Until, excluded", Kind.DATE),
    Column("end", "Closing MRR at opening rates", Kind.MONEY),
    Column("scheduled", "Scheduled churn", Kind.MONEY),
    Column("scheduled_cases", "Subscriptions that will end", Kind.COUNT),
    Column("committed", "Committed MRR (CMRR)", Kind.MONEY),
    Column("yearly", "Of the closing, billed by the year or longer", Kind.MONEY),
    Column("deferred", "Of the closing, deferred: invoices kept as drafts", Kind.MONEY),
    Column("usage", "Of the closing, by usage", Kind.MONEY),
    Column("discounts", "Effect of discounts on the base", Kind.MONEY),
    Column("nrr", "NRR", Kind.RATIO),
    Column("nrr_without_discounts", "NRR without effects of discounts", Kind.RATIO),
)
NO_LINE = "Memos: no line of the bridge moves by them."
SCHEDULED = "Scheduled churn is booked on the day it comes; taken back before, it leaves no trace."


def memo_table(
    found: Sequence[Memo], asked: Sequence[Asked], labels: tuple[tuple[str, str], ...] = (), notes: Sequence[str] = ()
) -> Table:
    """One row per period, in the currency of each."""
    rows = tuple(_row(memo, period, currency) for memo, (period, currency) in zip(found, asked, strict=True))
    return Table("memos", "Commitments and memos", COLUMNS, rows, labels, (NO_LINE, SCHEDULED, *notes))


def _row(memo: Memo, period: Period, currency: Currency) -> tuple[Cell, ...]:
    cells: list[Cell] = [period.start, period.end]
    for column in COLUMNS[2:]:
        value: Cell = getattr(memo, column.name)
        if column.kind is Kind.MONEY and isinstance(value, int):
            value = Amount(value, currency.code + MONTHLY)
        cells.append(value)
    return tuple(cells)
