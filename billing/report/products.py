"""The same change told by product: what each product began and ended with, and what moved between products.

A customer who leaves one product for another carries a transfer, which cancels out over the products, so that a change
of plan reads neither as a product's churn nor as another's growth. Start, end and net change add up to the company's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from billing.ledger.movement import Book, Step
from billing.ledger.mrr import largest_remainder
from billing.report.currency import Currency
from billing.report.period import Period
from billing.report.rows import History, histories


@dataclass(slots=True)
class ProductRow:
    """Whole minor units a month at opening rates; losses and transfers out are positive and subtracted."""

    start: int = 0
    transfer_in: int = 0
    transfer_out: int = 0
    expansion: int = 0
    cross_sell: int = 0  # to a customer of the base who did not have the product
    new_business: int = 0  # to a customer outside the base, also one who returns
    loss: int = 0
    end: int = 0


def by_product(book: Book, period: Period, currency: Currency) -> dict[str, ProductRow]:
    """One row per product that any customer had at either end."""
    return products_of(histories(book).values(), period, currency)


def products_of(customers: Iterable[History], period: Period, currency: Currency) -> dict[str, ProductRow]:
    """The same of some customers' histories."""
    rows: dict[str, ProductRow] = defaultdict(ProductRow)
    for history in customers:
        opening = holdings(history.steps, period.opens, currency)
        closing = holdings(history.steps, period.closes, currency)
        _add(rows, opening, closing)
    return {product: rows[product] for product in sorted(rows)}


def holdings(steps: Iterable[Step], before: datetime, currency: Currency) -> dict[str, int]:
    """What a customer had of each product just before an instant; the cents are spread as the total was rounded."""
    last = {step.subscription: step for step in steps if step.at < before and currency.includes(step.currency)}
    held: dict[str, dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for step in last.values():
        for product, minor in step.products:
            held[step.currency][product] += minor * currency.opening_rate(step.currency)
    total: dict[str, int] = defaultdict(int)
    for exact in held.values():
        for product, minor in largest_remainder(exact).items():
            total[product] += minor
    return total


def _add(rows: Mapping[str, ProductRow], opening: Mapping[str, int], closing: Mapping[str, int]) -> None:
    products = sorted(opening.keys() | closing.keys())
    change = {product: closing.get(product, 0) - opening.get(product, 0) for product in products}
    moved = min(sum(up for up in change.values() if up > 0), -sum(down for down in change.values() if down < 0))
    into = _spread(moved, [(product, change[product]) for product in products if change[product] > 0])
    out = _spread(moved, [(product, -change[product]) for product in products if change[product] < 0])
    for product in products:
        row = rows[product]
        row.start += opening.get(product, 0)
        row.end += closing.get(product, 0)
        row.transfer_in += into.get(product, 0)
        row.transfer_out += out.get(product, 0)
        grown = max(change[product], 0) - into.get(product, 0)
        row.loss += max(-change[product], 0) - out.get(product, 0)
        if not opening:
            row.new_business += grown
        elif opening.get(product) or into.get(product):
            row.expansion += grown
        else:
            row.cross_sell += grown


def _spread(moved: int, shares: Sequence[tuple[str, int]]) -> dict[str, int]:
    """So much of the shares, the largest first; ties by product."""
    taken: dict[str, int] = {}
    for product, share in sorted(shares, key=lambda each: (-each[1], each[0])):
        taken[product] = min(moved, share)
        moved -= taken[product]
    return taken
