"""The bridge of each part of the customers: by contract value, way of selling, pricing, currency, country, product.

A customer stays all period in the segment of the opening; a new one is placed by the first value (D25). Every line of
the parts adds up to the whole. Products are another cut: a customer holds several, so they carry transfers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from billing.money import Amount
from billing.report.bands import ARTICLE_001, STAGES, Bands
from billing.report.bridge import Basis
from billing.report.period import Period
from billing.report.products import ProductRow, products_of
from billing.report.retention import ratio
from billing.report.rows import Row, add
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
    scope: Scope
    period: Period
    first: int
    currencies: str

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
    return each.currencies


CUTS: Mapping[str, Cut] = {
    "acv": partial(by_band, ARTICLE_001),
    "gtm": by_motion,
    "pricing": by_pricing,
    "currency": by_currency,
    "country": by_country,
}


def customers(scope: Scope, period: Period, basis: Basis = Basis.NETTED) -> Iterator[Customer]:
    """Everybody who has something to say in the period."""
    for each in scope.parts(period, basis):
        yield Customer(each.row, scope, period, each.first, each.currencies)


@dataclass(slots=True)
class _Segment:
    """What is kept of a segment while its customers pass by."""

    customers: int = 0
    total: Row = field(default_factory=lambda: Row(""))

    def add(self, row: Row, customers: int = 1) -> None:
        self.customers += customers
        add(self.total, row)


def segments(scope: Scope, period: Period, name: str, cut: Cut | None = None, basis: Basis = Basis.NETTED) -> Table:
    """One row per segment and one for all; `name` is one of CUTS, or whatever the cut given is called."""
    chosen, whole = cut or CUTS[name], _Segment()
    parts: dict[str, _Segment] = defaultdict(_Segment)
    for each in customers(scope, period, basis):
        parts[chosen(each)].add(each.row)
    for part in parts.values():
        whole.add(part.total, part.customers)
    lines = [*LINES, *MEMOS, *RATIOS, *LOGOS]
    rows: list[tuple[Cell, ...]] = []
    for segment, found in [*sorted(parts.items()), (WHOLE, whole)]:
        made = scope.added([found.total], period, basis)
        rows.append((segment, found.customers, *cells(lines, made)))
    kind = Kind.CURRENCY if name == "currency" else Kind.TEXT
    first = (Column("segment", "Segment", kind), Column("customers", "Customers", Kind.COUNT))
    notes = ("Segments are those of the opening; new customers are placed by their first value.", LOSSES_SUBTRACT)
    labels = (*scope.labels(period, basis), ("cut", name))
    title = f"Segments by {TITLES.get(name, name)}"
    return Table(
        f"segments_{name}", title, (*first, *columns(lines, basis)), tuple(rows), labels, (*notes, *scope.notes(period))
    )


TITLES = {"acv": "contract value", "gtm": "way of selling", "pricing": "pricing model"}


def arr_stage(scope: Scope, period: Period, stages: Bands = STAGES) -> Table:
    """The whole company in its stage at the opening: the row that published stage figures are compared with."""
    opening = scope.bridge(period).start
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


@dataclass(slots=True)
class _Moved:
    customers: int = 0
    start: int = 0
    end: int = 0

    def add(self, start: int, end: int) -> None:
        self.customers, self.start, self.end = self.customers + 1, self.start + start, self.end + end


def migration(scope: Scope, period: Period, bands: Bands = ARTICLE_001) -> Table:
    """How many customers, with how much, went from which band to which; `none` is outside, before or after."""
    found: dict[tuple[str, str], _Moved] = defaultdict(_Moved)
    for row in scope.rows(period):
        start, end = row.start, row.end - row.fx
        if start or end:
            names = [bands.of(minor, scope.code) if minor else NOTHING for minor in (start, end)]
            found[names[0], names[1]].add(start, end)
    order = [*bands.names, NOTHING]
    rows = tuple(
        (*pair, found[pair].customers, scope.amount(found[pair].start), scope.amount(found[pair].end))
        for pair in sorted(found, key=lambda pair: (order.index(pair[0]), order.index(pair[1])))
    )
    labels = (*scope.labels(period, Basis.NETTED), ("bands", bands.name))
    return Table("migration", "Migration between bands", MIGRATION_COLUMNS, rows, labels, scope.notes(period))
