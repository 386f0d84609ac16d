"""The movement log: every change with its reason, its evidence and its case, for whoever wants to follow one figure.

Amounts in the reporting currency are differences of converted levels, so the log sums to the bridge in the activity
basis, to the cent. What was bought before and after comes from the ledger's events when they are given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from fractions import Fraction

from billing.ledger import mrr
from billing.ledger.items import Item
from billing.ledger.movement import Movement, Step
from billing.ledger.mrr import Priced, half_up
from billing.ledger.policy import LedgerPolicy
from billing.ledger.vocabulary import Kind as Told
from billing.ledger.vocabulary import LedgerEvent, in_order
from billing.money import Amount
from billing.report.bridge import Basis
from billing.report.currency import Currency
from billing.report.long import LongTable, Rows
from billing.report.period import Period, month_of
from billing.report.rows import History, framed
from billing.report.scope import Scope
from billing.report.table import Cell, Column, Kind, Table

COLUMNS = (
    Column("movement_id", "Movement", Kind.TEXT),
    Column("effective_at", "Effective at", Kind.INSTANT),
    Column("recorded_at", "Recorded at", Kind.INSTANT),
    Column("posted_period", "Posted to", Kind.DATE),
    Column("customer_id", "Customer", Kind.TEXT),
    Column("subscription_id", "Subscription", Kind.TEXT),
    Column("item_id", "Item", Kind.TEXT),
    Column("product_id", "Product", Kind.TEXT),
    Column("price_id", "Price", Kind.TEXT),
    Column("type", "Type", Kind.TEXT),
    Column("reason", "Reason", Kind.TEXT),
    Column("quantity_before", "Quantity before", Kind.COUNT),
    Column("quantity_after", "Quantity after", Kind.COUNT),
    Column("unit_mrr_before", "MRR of a unit before", Kind.MONEY),
    Column("unit_mrr_after", "MRR of a unit after", Kind.MONEY),
    Column("amount_native", "Amount", Kind.MONEY),
    Column("currency", "Currency", Kind.CURRENCY),
    Column("amount_reporting", "Amount reported", Kind.MONEY),
    Column("fx_rate", "Rate", Kind.TEXT),
    Column("case_id", "Case", Kind.TEXT),
    Column("pair_id", "Pair", Kind.TEXT),
    Column("loss_movement_id", "Loss undone", Kind.TEXT),
    Column("evidence", "Evidence", Kind.TEXT),
    Column("confidence", "Confidence", Kind.TEXT),
    Column("source_event_ids", "Events", Kind.TEXT),
    Column("policy_version", "Policy", Kind.TEXT),
)


@dataclass(frozen=True, slots=True)
class Posted:
    """What the books say of a movement: when we learned it, and to which month (its first day) it was posted."""

    recorded_at: datetime
    period: date


@dataclass(frozen=True, slots=True)
class Account:
    """One customer as the log needs it: its histories, what the ledger was told, and what the books say."""

    customer: str
    history: History
    told: Sequence[LedgerEvent] = ()
    posted: Mapping[str, Posted] = field(default_factory=dict)  # by movement


def movement_log(
    scope: Scope,
    period: Period,
    events: Iterable[LedgerEvent] = (),
    posted: Mapping[str, Posted] | None = None,
) -> Table:
    """Every movement in the scope's currencies that took effect in the period, by time; `posted` by movement id."""
    told: dict[str, list[LedgerEvent]] = defaultdict(list)
    for event in events:
        told[event.customer].append(event)

    def accounts() -> Iterator[Account]:
        for customer, history in scope.histories.items():
            yield Account(customer, history, told[customer], posted or {})

    table = long_log(scope, period, accounts).held()
    return replace(table, rows=tuple(sorted(table.rows, key=lambda row: (row[1], row[4], row[0]))))


def long_log(scope: Scope, period: Period, accounts: Callable[[], Iterable[Account]]) -> LongTable:
    """The same customer by customer, each in the order of time, so that nobody has to be held."""
    rows = Rows(lambda: (row for each in accounts() for row in _rows(scope, period, each)))
    notes = ("Amounts are signed.",)
    labels = scope.labels(period, Basis.ACTIVITY)
    return LongTable("movements", "Movement log", COLUMNS, rows, labels, (*notes, *scope.notes(period)))


def _rows(scope: Scope, period: Period, each: Account) -> Iterator[tuple[Cell, ...]]:
    currency = scope.currency(period)
    inside = [
        movement
        for movement in each.history.movements
        if period.holds(movement.effective_at) and currency.includes(movement.amount.currency)
    ]
    if not inside:
        return
    reported = {movement.key: minor for movement, minor in framed(each.customer, each.history, period, currency)[1]}
    told, levels = _by_subscription(each.told), _levels(each.history.steps)
    for movement in inside:
        subscription = movement.subscription
        known = told.get((each.customer, subscription), [])
        change = _Change.of(movement, known, levels.get(subscription, []), scope.policy)
        yield _row(scope, movement, change, currency, reported.get(movement.key), each.posted.get(movement.key))


def _row(
    scope: Scope,
    movement: Movement,
    change: _Change,
    currency: Currency,
    reported: int | None,
    posted: Posted | None,
) -> tuple[Cell, ...]:
    code = movement.amount.currency
    return (
        movement.key,
        movement.effective_at,
        posted.recorded_at if posted else change.recorded_at,
        posted.period if posted else month_of(movement.effective_at, scope.zone),
        movement.customer,
        movement.subscription,
        *change.items,
        str(movement.line),
        movement.reason,
        *change.quantities,
        *(None if unit is None else Amount(unit, movement.amount.unit) for unit in change.units),
        movement.amount,
        code,
        None if reported is None else scope.amount(reported),
        rate_text(currency, code),
        movement.case,
        movement.pair,
        movement.loss,
        movement.evidence or None,
        str(movement.confidence),
        " ".join(change.events) or None,
        scope.policy.name,
    )


def rate_text(currency: Currency, code: str) -> str | None:
    """What one whole unit of a currency is worth at the opening, as a plain decimal; None without rates."""
    if code == currency.code:
        return "1"
    rate = (currency.opening or {}).get(code)
    return None if rate is None else decimal(rate)


def decimal(value: Fraction, places: int = 10) -> str:
    """At most so many places, half up, without trailing zeros."""
    scaled = str(half_up(value * 10**places)).rjust(places + 1, "0")
    return f"{scaled[:-places]}.{scaled[-places:]}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True)
class _Change:
    """What was bought before and after a movement. Quantities and units only where exactly one item is concerned."""

    items: tuple[str | None, str | None, str | None] = (None, None, None)  # item, product, price
    quantities: tuple[int | None, int | None] = (None, None)
    units: tuple[int | None, int | None] = (None, None)
    events: tuple[str, ...] = ()
    recorded_at: datetime | None = None

    @classmethod
    def of(
        cls, movement: Movement, told: Sequence[LedgerEvent], levels: Sequence[Step], policy: LedgerPolicy
    ) -> _Change:
        at = movement.effective_at
        before, after = dict[str, Priced](), dict[str, Priced]()
        if _counted(levels, at, included=False):
            before = _bought([event for event in told if event.at < at], policy, at - timedelta.resolution)
        if _counted(levels, at, included=True):
            after = _bought([event for event in told if event.at <= at], policy, at)
        now = [event for event in told if event.at == at]
        recorded = [event.recorded_at for event in now if event.recorded_at]
        ids = tuple(event.id for event in now if event.id)
        moved = [id for id in sorted(before.keys() | after.keys()) if before.get(id) != after.get(id)]
        concerned = moved or sorted(after)
        names = _names([(after.get(id) or before[id]).item for id in concerned])
        if len(concerned) != 1:
            return cls(names, events=ids, recorded_at=max(recorded, default=None))
        was, becomes = before.get(concerned[0]), after.get(concerned[0])
        quantities = (_quantity(was), _quantity(becomes))
        return cls(names, quantities, (_unit(was), _unit(becomes)), ids, max(recorded, default=None))


def _names(items: Sequence[Item]) -> tuple[str | None, str | None, str | None]:
    """Of several items all of them, joined; nothing when none is known."""
    columns = ([item.id for item in items], [item.product for item in items], [item.price or "" for item in items])
    item, product, price = ("+".join(dict.fromkeys(filter(None, names))) or None for names in columns)
    return item, product, price


def _quantity(priced: Priced | None) -> int:
    return priced.item.quantity if priced else 0


def _unit(priced: Priced | None) -> int | None:
    return half_up(Fraction(priced.minor, priced.item.quantity)) if priced and priced.item.quantity > 0 else None


def _bought(told: Sequence[LedgerEvent], policy: LedgerPolicy, at: datetime) -> dict[str, Priced]:
    """The items after some events, by id."""
    items = next((event.items for event in reversed(told) if event.kind in (Told.SUB_START, Told.SUB_ITEMS)), ())
    priced = (Told.SUB_START, Told.SUB_DISCOUNTS)
    discounts = next((event.discounts for event in reversed(told) if event.kind in priced), ())
    return {each.item.id: each for each in mrr.level(items, discounts, policy, at).items}


def _by_subscription(events: Iterable[LedgerEvent]) -> dict[tuple[str, str], list[LedgerEvent]]:
    found: dict[tuple[str, str], list[LedgerEvent]] = defaultdict(list)
    for event in in_order(events):
        found[event.customer, event.subscription].append(event)
    return found


def _levels(steps: Iterable[Step]) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        found[step.subscription].append(step)
    return found


def _counted(levels: Sequence[Step], at: datetime, included: bool) -> bool:
    """Whether the subscription counted just before an instant, or just after it."""
    past = [step for step in levels if step.at < at or (included and step.at == at)]
    return bool(past and past[-1].minor)
