"""The rows of the books: entries and their postings, read and appended for a whole batch of customers at once.

Nothing is decided here: what to append comes from `billing.ledger.entry.corrections`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from billing.ledger.entry import Entry, Posting
from billing.money import Amount
from worker import bulk
from worker import tables as t
from worker.store import Owner


def booked(db: Connection, owner: Owner, customers: Iterable[str]) -> dict[str, dict[str, Entry]]:
    """All entries ever of these customers, by customer and key."""
    entry, posting = t.entry, t.posting
    wanted = (owner.of(entry), entry.c.customer.in_(sorted(customers)))
    rows = db.execute(select(entry).where(*wanted)).all()
    lines: dict[int, list[Posting]] = defaultdict(list)
    of_these = select(posting).join(entry, entry.c.id == posting.c.entry).where(*wanted)
    for line in db.execute(of_these.order_by(posting.c.entry, posting.c.line)):
        lines[line.entry].append(Posting(line.name, Amount(line.minor, line.unit)))
    found: dict[str, dict[str, Entry]] = defaultdict(dict)
    for row in rows:
        found[row.customer][row.key] = Entry(
            key=row.key,
            effective_at=row.effective_at,
            because=row.because,
            postings=tuple(lines[row.id]),
            customer=row.customer,
            subscription=row.subscription or "",
            invoice=row.invoice,
            case=row.case,
            reverses=row.reverses,
        )
    return found


def append(db: Connection, owner: Owner, entries: Sequence[Entry], now: datetime, zone: str, first_open: str) -> None:
    """Add entries in this order, each posted to its own month, or to the first open one when that is closed."""
    if not entries:
        return
    local = ZoneInfo(zone)
    rows = [
        {
            **owner.key,
            "key": entry.key,
            "customer": entry.customer,
            "subscription": entry.subscription,
            "invoice": entry.invoice,
            "case": entry.case,
            "because": entry.because,
            "effective_at": entry.effective_at,
            "recorded_at": now,
            "posted_period": max(f"{entry.effective_at.astimezone(local):%Y-%m}", first_open),
            "reverses": entry.reverses,
        }
        for entry in entries
    ]
    bulk.insert(db, t.entry, rows)
    of_these = t.entry.c.customer.in_(sorted({entry.customer for entry in entries}))
    numbered = db.execute(select(t.entry.c.key, t.entry.c.id).where(owner.of(t.entry), of_these))
    numbers = {row.key: row.id for row in numbered}
    bulk.insert(db, t.posting, [line for entry in entries for line in _postings(numbers[entry.key], entry)])


def _postings(number: int, entry: Entry) -> list[dict[str, Any]]:
    return [
        {"entry": number, "line": line, "name": each.account, "minor": each.amount.minor, "unit": each.amount.unit}
        for line, each in enumerate(entry.postings)
    ]
