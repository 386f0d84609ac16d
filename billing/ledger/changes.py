"""What kind of change it is when one list of items becomes another: volume, price, product.

Rules D14 (price-volume split), D15 (swaps) and the movement table of the metrics definitions. Pure; amounts are whole
minor units a month and the parts always sum to the difference of the levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from billing.ledger.movement import Line
from billing.ledger.mrr import Priced, half_up


@dataclass(frozen=True, slots=True)
class Part:
    """One reason for part of a change, in signed minor units a month."""

    line: Line  # expansion, downgrade, restructuring or, when we moved it for non-payment, involuntary
    reason: str
    minor: int


@dataclass(slots=True)
class _Product:
    quantity: int = 0
    minor: int = 0
    rhythms: frozenset[tuple[str | None, int]] = frozenset()


def compare(before: Sequence[Priced], after: Sequence[Priced]) -> tuple[Part, ...]:
    """The parts of a change from `before` to `after`, product by product, gains before losses."""
    was, becomes = _by_product(before), _by_product(after)
    parts: list[Part] = []
    for product in sorted(was.keys() & becomes.keys()):
        parts += _same_product(was[product], becomes[product])
    parts += _products(
        [was[product] for product in sorted(was.keys() - becomes.keys())],
        [becomes[product] for product in sorted(becomes.keys() - was.keys())],
    )
    return tuple(sorted((part for part in parts if part.minor), key=lambda part: part.minor < 0))


def moved_down_unpaid(before: Sequence[Priced], after: Sequence[Priced]) -> tuple[Part, ...]:
    """The parts of a change that was made because nobody paid: what is lost by it is lost to non-payment (D16, D19)."""
    minor = sum(each.minor for each in after) - sum(each.minor for each in before)
    return (Part(Line.INVOLUNTARY, "moved_down_unpaid", minor),) if minor < 0 else compare(before, after)


def _by_product(items: Iterable[Priced]) -> dict[str, _Product]:
    products: dict[str, _Product] = {}
    for priced in items:
        product = products.setdefault(priced.item.product, _Product())
        product.quantity += priced.item.quantity
        product.minor += priced.minor
        product.rhythms |= {(priced.item.interval, priced.item.interval_count)}
    return products


def _same_product(was: _Product, becomes: _Product) -> list[Part]:
    """Units at the old price are volume, the rest is price."""
    if was.quantity <= 0:
        return [_signed(becomes.minor - was.minor, "quantity", "quantity", Line.DOWNGRADE)]
    volume = half_up(Fraction((becomes.quantity - was.quantity) * was.minor, was.quantity))
    price = becomes.minor - was.minor - volume
    rhythm = was.rhythms != becomes.rhythms
    return [
        _signed(volume, "quantity", "quantity", Line.DOWNGRADE),
        _signed(
            price, "interval" if rhythm else "price", "interval" if rhythm else "renegotiation", Line.RESTRUCTURING
        ),
    ]


def _products(gone: Sequence[_Product], come: Sequence[_Product]) -> list[Part]:
    """Products that only one side has: added, removed, exchanged, or several consolidated into fewer."""
    minor = sum(product.minor for product in come) - sum(product.minor for product in gone)
    if not gone:
        return [_signed(minor, "cross_sell", "cross_sell", Line.DOWNGRADE)]
    if not come:
        return [_signed(minor, "product_removed", "product_removed", Line.DOWNGRADE)]
    if len(come) < len(gone):
        return [_signed(minor, "tier", "consolidation", Line.RESTRUCTURING)]
    free = not any(product.minor for product in come)
    return [_signed(minor, "tier", "free_plan" if free else "tier", Line.DOWNGRADE)]


def _signed(minor: int, up: str, down: str, loss: Line) -> Part:
    return Part(Line.EXPANSION, up, minor) if minor > 0 else Part(loss, down, minor)
