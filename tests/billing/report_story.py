"""Small companies told by neutral events, and reports read by column: what the tests of reports are written with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from billing.ledger.book import book
from billing.ledger.neutral import read_events
from billing.ledger.policy import DEFAULT, LedgerPolicy
from billing.money import Amount
from billing.report.period import Period
from billing.report.scope import Scope
from billing.report.table import Table

JANUARY = Period.month("2026-01")
LATER = datetime(2026, 8, 1, tzinfo=UTC)


def item(minor: int, quantity: int = 1, product: str = "pro") -> dict[str, Any]:
    return {"id": f"i_{product}", "product": product, "unit_amount": minor, "quantity": quantity, "interval": "month"}


def start(sub: str, minor: int, quantity: int = 1, **more: Any) -> dict[str, Any]:
    began = {"type": "sub_start", "at": "2025-06-10T09:00:00Z", "cust": sub, "sub": sub, "id": f"{sub}:start"}
    return began | {"items": [item(minor, quantity)]} | more


def then(sub: str, what: str, at: str, **more: Any) -> dict[str, Any]:
    return {"type": what, "sub": sub, "at": f"2026-{at}T10:00:00Z", "id": f"{sub}:{what}:{at}"} | more


def company(*events: dict[str, Any], policy: LedgerPolicy = DEFAULT, until: datetime = LATER, **more: Any) -> Scope:
    return Scope.of(book(read_events(events), policy, until), "usd", policy=policy, **more)


def column(table: Table, name: str) -> list[Any]:
    return [row[name] for row in lines(table)]


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}T12:00:00+00:00")


def lines(table: Table) -> list[dict[str, Any]]:
    """Rows by column name, amounts in minor units."""
    names = [column.name for column in table.columns]
    return [
        {name: cell.minor if isinstance(cell, Amount) else cell for name, cell in zip(names, row, strict=True)}
        for row in table.rows
    ]
