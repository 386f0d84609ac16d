"""The bridge of each part of the customers: by contract value, way of selling, pricing, currency, country, product.

A customer stays all period in the segment of the opening; a new one is placed by the first value (D25). Every line of
the parts adds up to the whole. Products are another cut: a customer holds several, so they carry transfers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from billing.money import Amount
from billing.report.bands import ARTICLE_001, STAGES, Bands
from billing.report.bridge import Basis
from billing.report.currency import Currency
from billing.report.period import Period
from billing.report.products import ProductRow, products_of
from billing.report.retention import ratio
from billing.report.rows import History, Row
from billing.report.scope import Scope
from billing.report.statement import LINES, LOGOS, LOSSES_SUBTRACT, MEMOS, RATIOS, cells, columns
from billing.report.table import Cell, Column, Kind, Table

NOT_KNOWN = "not known"
NOTHING = "none"  # a customer without revenue then
WHOLE = "all"


@dataclass(frozen=True, slots=True)
class Customer:
    """What a cut may look at: one customer in one period. `first` is the first level of one outside the base."""

    row: Row
    history: History
    scope: Scope
    period: Period
    first: int

    @property
    def size(self) -> int:
        """The opening level, of a new customer the first one; minor units a month."""
        return self.row.start or self.first


Cut = Callable[[Customer], str]


def by_band(bands: Bands, each: Customer) -> str:
    return bands.of(each.size, each.scope.code)


def by_motion(each: Customer) -> str:
    return each.scope.profile(each.row.customer, each.period.opens).gtm_motion or NOT_KNOWN


def by_pricing(each: Customer) -> str:
    return each.scope.profile(each.row.customer, each.period.opens).pricing_model or NOT_KNOWN


def by_country(each: Customer) -> str:
    return each.scope.profile(each.row.customer, each.period.opens).country or NOT_KNOWN


def by_currency(each: Customer) -> str:
    """Those of the opening, of a new customer all of the period; together when there are several."""
    return currencies(each.history, each.period)


def currencies(history: History, period: Period) -> str:
    """The currencies in which a customer pays in a period, as one text."""
    held: dict[str, int] = defaultdict(int)
    came: set[str] = set()
    for movement in history.movements:
        if movement.effective_at < period.opens:
            held[movement.amount.currency] += movement.amount.minor
        elif movement.effective_at < period.closes:
            came.add(movement.amount.currency)
    return "+".join(sorted(code for code, minor in held.items() if minor) or sorted(came))


CUTS: Mapping[str, Cut] = {
    "acv": partial(by_band, ARTICLE_001),
    "gtm": by_motion,
    "pricing": by_pricing,
    "currency": by_currency,
    "country": by_country,
}


def customers(scope: Scope, period: Period, basis: Basis = Basis.NETTED) -> list[Customer]:
    """Everybody who has something to say in the period."""
    currency = scope.currency(period)
    found = []
    for row in scope.rows(period, basis):
        history = scope.histories[row.customer]
        first = 0 if row.start else first_level(history, period, currency)
        if row.start or row.end or first:
            found.append(Customer(row, history, scope, period, first))
    return found


def first_level(history: History, period: Period, currency: Currency) -> int:
    """What a customer outside the base began with in the period, at opening rates; 0 when nothing began."""
    inside = [
        movement
        for movement in history.movements
        if period.holds(movement.effective_at) and currency.includes(movement.amount.currency)
    ]
    at_once = [movement for movement in inside if movement.effective_at == inside[0].effective_at]
    return sum(currency.at_opening(movement.amount.minor, movement.amount.currency) for movement in at_once)


def segments(scope: Scope, period: Period, name: str, cut: Cut | None = None, basis: Basis = Basis.NETTED) -> Table:
    """One row per segment and one for all; `name` is one of CUTS, or whatever the cut given is called."""
    chosen = cut or CUTS[name]
    parts: dict[str, list[Row]] = defaultdict(list)
    for each in customers(scope, period, basis):
        parts[chosen(each)].append(each.row)
    lines = [*LINES, *MEMOS, *RATIOS, *LOGOS]
    rows: list[tuple[Cell, ...]] = []
    for segment, members in [*sorted(parts.items()), (WHOLE, [row for part in parts.values() for row in part])]:
        made = scope.added(members, period, basis)
        rows.append((segment, len(members), *cells(lines, made)))
    first = (Column("segment", "Segment", Kind.TEXT), Column("customers", "Customers", Kind.COUNT))
    notes = ("Segments are those of the opening; new customers are placed by their first value.", LOSSES_SUBTRACT)
    labels = (*scope.labels(period, basis), ("cut", name))
    title = f"Segments by {TITLES.get(name, name)}"
    return Table(
        f"segments_{name}", title, (*first, *columns(lines, basis)), tuple(rows), labels, (*notes, *scope.notes(period))
    )


TITLES = {"acv": "contract value", "gtm": "way of selling", "pricing": "pricing model"}


def arr_stage(scope: Scope, period: Period, stages: Bands = STAGES) -> Table:
    """The whole company in its stage at the opening: the row that published stage figures are compared with."""
    opening = sum(row.start for row in scope.rows(period))
    stage = stages.of(opening, scope.code)
    return segments(scope, period, "arr_stage", lambda _: stage)


PRODUCT_COLUMNS = (
    Column("product", "Product", Kind.TEXT),
    Column("start", "Opening MRR", Kind.MONEY),
    Column("transfer_in", "Transfers in", Kind.MONEY),
    Column("transfer_out", "Transfers out", Kind.MONEY),
    Column("expansion", "Expansion", Kind.MONEY),
    Column("cross_sell", "Cross-sell", Kind.MONEY),
    Column("new_business", "New and returning customers", Kind.MONEY),
    Column("loss", "Losses", Kind.MONEY),
    Column("end", "Closing MRR at opening rates", Kind.MONEY),
    Column("nrr", "Of the opening base, transfers in and out counted", Kind.RATIO),
)


def by_product(scope: Scope, period: Period) -> Table:
    """One row per product; transfers in and out are equal over all products."""
    found = products_of(scope.histories.values(), period, scope.currency(period))
    rows = tuple(_product(scope, product, row) for product, row in found.items())
    notes = ("Transfers are what customers moved from one product to another; they cancel out.", *scope.notes(period))
    return Table("segments_product", "Products", PRODUCT_COLUMNS, rows, scope.labels(period, Basis.NETTED), notes)


def _product(scope: Scope, product: str, row: ProductRow) -> tuple[Cell, ...]:
    names = [column.name for column in PRODUCT_COLUMNS[1:-1]]
    amounts = [Amount(getattr(row, name), scope.unit) for name in names]
    return (product, *amounts, ratio(row.end - row.new_business, row.start))


MIGRATION_COLUMNS = (
    Column("opening", "Band at the opening", Kind.TEXT),
    Column("closing", "Band at the close", Kind.TEXT),
    Column("customers", "Customers", Kind.COUNT),
    Column("start", "Opening MRR", Kind.MONEY),
    Column("end", "Closing MRR at opening rates", Kind.MONEY),
)


def migration(scope: Scope, period: Period, bands: Bands = ARTICLE_001) -> Table:
    """How many customers, with how much, went from which band to which; `none` is outside, before or after."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for row in scope.rows(period):
        start, end = row.start, row.end - row.fx
        if start or end:
            names = [bands.of(minor, scope.code) if minor else NOTHING for minor in (start, end)]
            found[names[0], names[1]].append((start, end))
    order = [*bands.names, NOTHING]
    rows = tuple(
        (
            *pair,
            len(found[pair]),
            scope.amount(sum(start for start, _ in found[pair])),
            scope.amount(sum(end for _, end in found[pair])),
        )
        for pair in sorted(found, key=lambda pair: (order.index(pair[0]), order.index(pair[1])))
    )
    labels = (*scope.labels(period, Basis.NETTED), ("bands", bands.name))
    return Table("migration", "Migration between bands", MIGRATION_COLUMNS, rows, labels, scope.notes(period))
