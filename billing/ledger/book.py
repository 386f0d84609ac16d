"""The fold: a customer's events, in any order and with any repetition, become movements, cases and levels.

`book` is what callers use; `Fold` replays one customer. The same events give the same keys, so two books can be
compared by key (`entry.corrections`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from billing.ledger.fold import Fold
from billing.ledger.movement import Book, Case, Cash, Mark, Movement, Standing, Step
from billing.ledger.policy import LedgerPolicy
from billing.ledger.vocabulary import LedgerEvent, in_order


def book(events: Iterable[LedgerEvent], policy: LedgerPolicy, until: datetime) -> Book:
    """Fold the events of any number of customers, each for itself, up to and including an instant.

    What falls due without an event (a past-due limit, a coupon's end, a scheduled cancellation) happens up to `until`,
    so `until` is the present, or the close of the latest period that is asked about.
    """
    by_customer: dict[str, list[LedgerEvent]] = defaultdict(list)
    for event in events:
        by_customer[event.customer].append(event)
    movements: list[Movement] = []
    cases: list[Case] = []
    cash: list[Cash] = []
    steps: list[Step] = []
    standings: list[Standing] = []
    marks: list[Mark] = []
    due: list[datetime] = []
    for customer in sorted(by_customer):
        fold = Fold(customer, policy, until)
        fold.run(in_order(by_customer[customer]))
        movements += fold.journal.movements
        cases += sorted(fold.journal.cases, key=lambda case: (case.opened_at, case.key))
        cash += fold.debts.record
        steps += fold.journal.steps
        standings += fold.journal.standings
        marks += sorted(fold.journal.marks, key=lambda mark: (mark.since, mark.subscription, mark.kind))
        due += [fold.next_due] if fold.next_due else []
    return Book(
        until,
        tuple(movements),
        tuple(cases),
        tuple(cash),
        tuple(steps),
        tuple(standings),
        tuple(marks),
        next_due=min(due, default=None),
    )
