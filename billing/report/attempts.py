"""How much of what is charged fails at the first attempt, month by month (metrics definitions, 3.5).

Failure rate = volume whose first attempt failed / volume attempted, of recurring invoices that are charged by
themselves. Left out: first invoices of a subscription and after a trial, invoices that are sent and paid by the
customer, what was paid outside Stripe without an attempt, and imported history, which knows failures only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction

from billing.events.occurrences import InvoiceFailed, InvoicePaid, SubscriptionSeen
from billing.events.snapshots import Invoice
from billing.ledger.facts import Fact
from billing.ledger.interpret import once
from billing.money import Amount
from billing.report.period import month_of
from billing.report.retention import ratio
from billing.report.table import Column, Kind, Table

RECURRING = frozenset({"subscription_cycle", "subscription_threshold", "subscription"})
IMPORTED = "import:"
SLACK = timedelta(hours=1)  # an invoice may be made a moment before the trial it ends is over


@dataclass(slots=True)
class Attempts:
    """First attempts of one month, in minor units of one currency."""

    invoices: int = 0
    attempted: int = 0
    failed_invoices: int = 0
    failed: int = 0

    @property
    def rate(self) -> Fraction | None:
        return ratio(self.failed, self.attempted)


Months = dict[tuple[date, str], Attempts]  # by first day of the local month, and currency


@dataclass(frozen=True, slots=True)
class _First:
    """The first that is known of an attempt to be paid."""

    at: datetime
    invoice: Invoice
    failed: bool


def attempts(customers: Iterable[Sequence[Fact]], zone: str = "UTC") -> Months:
    """From the facts of one customer after the other, in any order and with any repetition."""
    found: Months = defaultdict(Attempts)
    for facts in customers:
        for each in _firsts(once(facts)):
            month = found[month_of(each.at, zone), each.invoice.due.unit]
            minor = each.invoice.due.minor
            month.invoices, month.attempted = month.invoices + 1, month.attempted + minor
            if each.failed:
                month.failed_invoices, month.failed = month.failed_invoices + 1, month.failed + minor
    return dict(sorted(found.items()))


def _firsts(facts: Iterable[Fact]) -> list[_First]:
    """The first attempt of every invoice that counts; facts come in the order of time."""
    found: dict[str, _First] = {}
    trials: dict[str, datetime] = {}
    for fact in facts:
        match fact.what:
            case SubscriptionSeen(subscription=seen) if seen.trial_end is not None:
                trials[seen.id] = seen.trial_end
            case InvoiceFailed(invoice=invoice) | InvoicePaid(invoice=invoice) if _counts(fact, invoice):
                failed = isinstance(fact.what, InvoiceFailed)
                at = fact.at if failed else invoice.paid_at or fact.at
                before = found.get(invoice.id)
                if before is None or (failed and not before.failed and at <= before.at):
                    found[invoice.id] = _First(at, invoice, failed)
            case _:
                pass
    return [each for each in found.values() if each.invoice.id not in _after_trials(found.values(), trials)]


def _counts(fact: Fact, invoice: Invoice) -> bool:
    recurs = invoice.subscription is not None and invoice.billing_reason in RECURRING and invoice.due.minor > 0
    charged = invoice.collection_method != "send_invoice" and not invoice.paid_out_of_band
    return recurs and charged and not fact.source.startswith(IMPORTED)


def _after_trials(found: Iterable[_First], trials: Mapping[str, datetime]) -> set[str]:
    """The first invoice of each subscription after its trial."""
    first: dict[str, _First] = {}
    for each in found:
        subscription = each.invoice.subscription or ""
        ends = trials.get(subscription)
        if ends is not None and each.at >= ends - SLACK:
            kept = first.get(subscription)
            first[subscription] = min(kept or each, each, key=lambda one: (one.at, one.invoice.id))
    return {each.invoice.id for each in first.values()}


COLUMNS = (
    Column("month", "Month of the first attempt", Kind.DATE),
    Column("invoices", "Invoices attempted", Kind.COUNT),
    Column("attempted", "Attempted", Kind.MONEY),
    Column("failed_invoices", "Failed at the first attempt", Kind.COUNT),
    Column("failed", "Volume that failed", Kind.MONEY),
    Column("rate", "Failure rate", Kind.RATIO),
)
WHAT = "Recurring invoices charged by themselves; first ones, also after a trial, and imported history are left out."


def attempts_table(found: Months, currency: str, labels: tuple[tuple[str, str], ...] = ()) -> Table:
    """One row per month, of one currency."""
    rows = tuple(
        (
            month,
            each.invoices,
            Amount(each.attempted, currency),
            each.failed_invoices,
            Amount(each.failed, currency),
            each.rate,
        )
        for (month, code), each in found.items()
        if code == currency
    )
    return Table("attempts", "First attempts and failure rate", COLUMNS, rows, labels, (WHAT,))
