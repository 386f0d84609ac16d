"""Why our figure and another system's differ, cause by cause; made before somebody asks.

The other system is a policy (`stripe_like`), folded from the same events; what remains after that is for `reconcile`,
which asks Stripe itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

from billing.ledger.book import book
from billing.ledger.difference import CAUSES, Difference, differences, levels
from billing.ledger.policy import DEFAULT, STRIPE_LIKE, LedgerPolicy
from billing.ledger.vocabulary import LedgerEvent
from billing.money import MONTHLY, Amount
from billing.report.table import Cell, Column, Kind, Table

BY_CAUSE = (
    Column("currency", "Currency", Kind.CURRENCY),
    Column("line", "Line", Kind.TEXT),
    Column("subscriptions", "Subscriptions", Kind.COUNT),
    Column("amount", "MRR", Kind.MONEY),
)
BY_SUBSCRIPTION = (
    Column("customer_id", "Customer", Kind.TEXT),
    Column("subscription_id", "Subscription", Kind.TEXT),
    Column("cause", "Cause", Kind.TEXT),
    Column("amount", "Difference", Kind.MONEY),
)


def reconciliation(
    events: Iterable[LedgerEvent],
    at: datetime,
    ours: LedgerPolicy = DEFAULT,
    theirs: LedgerPolicy = STRIPE_LIKE,
) -> Table:
    """Per currency: our MRR just before an instant, what each cause adds or takes, and theirs, to the cent."""
    told, before = list(events), at - timedelta.resolution
    own, other = levels(book(told, ours, before)), levels(book(told, theirs, before))
    parts: dict[str, dict[str, list[Difference]]] = defaultdict(lambda: defaultdict(list))
    for each in differences(told, before, ours, theirs):
        parts[each.amount.currency][each.cause].append(each)
    rows: list[tuple[Cell, ...]] = []
    for code in sorted({currency for _, currency in (*own, *other)}):
        rows.append(_whole(code, ours.name, own))
        for cause, _ in CAUSES:
            if found := parts[code].get(cause):
                amount = Amount(sum(each.amount.minor for each in found), code + MONTHLY)
                rows.append((code, cause, len({each.subscription for each in found}), amount))
        rows.append(_whole(code, theirs.name, other))
    notes = [f"{ours.name} + the causes = {theirs.name}, to the cent, in every currency."]
    if not any(parts.values()):
        notes.append("No subscription is counted differently: there is no cause to name.")
    return Table(
        "reconciliation",
        f"Our MRR ({ours.name}) and {theirs.name}",
        BY_CAUSE,
        tuple(rows),
        _labels(at, ours, theirs),
        tuple(notes),
    )


def _whole(code: str, name: str, counted: dict[tuple[str, str], int]) -> tuple[Cell, ...]:
    minors = [minor for (_, currency), minor in counted.items() if currency == code]
    return code, name, len(minors), Amount(sum(minors), code + MONTHLY)


def by_subscription(
    events: Iterable[LedgerEvent],
    at: datetime,
    ours: LedgerPolicy = DEFAULT,
    theirs: LedgerPolicy = STRIPE_LIKE,
) -> Table:
    """Every subscription that the two count differently, with each cause."""
    found = differences(events, at - timedelta.resolution, ours, theirs)
    rows = tuple((each.customer, each.subscription, each.cause, each.amount) for each in found)
    title = f"Subscriptions that {theirs.name} counts differently"
    notes = (f"What {theirs.name} counts more is positive, what it counts less is negative.",)
    return Table("reconciliation_subscriptions", title, BY_SUBSCRIPTION, rows, _labels(at, ours, theirs), notes)


def _labels(at: datetime, ours: LedgerPolicy, theirs: LedgerPolicy) -> tuple[tuple[str, str], ...]:
    """Both sides are levels just before the instant; each row has its own currency."""
    return (("just before", at.isoformat()), ("unit", "a month"), ("policy", ours.name), ("compared with", theirs.name))
