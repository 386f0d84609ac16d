"""A task as programs read it, and a filter as they and the command line write it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

from billing.assist import SENTENCES, Reason
from billing.money import Amount
from worker.queue import Filter, Task

FILTERS = frozenset({"reason", "owner", "due", "min_mrr", "currency"})
_NUMBER = re.compile(r"[0-9]{1,15}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def filter_of(query: Mapping[str, str], now: datetime) -> Filter:
    """The filter of a request or a command. `due`: overdue, today, or a day before whose end it is due."""
    reason = query.get("reason")
    if reason is not None and reason not in set(Reason):
        raise ValueError(f"there is no reason {reason[:50]!r}; there are {_names(SENTENCES)}")
    mrr = query.get("min_mrr")
    if mrr is not None and not _NUMBER.fullmatch(mrr):
        raise ValueError("min_mrr is in minor units a month, as in 50000")
    return Filter(
        Reason(reason) if reason else None,
        query.get("owner"),
        _due_before(query.get("due"), now),
        int(mrr) if mrr else None,
        query.get("currency", "").lower() or None,
    )


def _due_before(due: str | None, now: datetime) -> datetime | None:
    match due:
        case None:
            return None
        case "overdue":
            return now + timedelta(microseconds=1)
        case "today":
            day = now.date()
        case _ if _DAY.fullmatch(due):
            day = date.fromisoformat(due)
        case _:
            raise ValueError("due is overdue, today, or a day like 2027-01-31")
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def told(task: Task, now: datetime) -> dict[str, Any]:
    """A task as others read it; amounts in minor units with their unit."""
    return {
        "invoice": task.invoice,
        "customer": task.customer,
        "state": task.state,
        "priority": task.priority,
        "owner": task.owner,
        "due_at": task.due_at,
        "overdue": task.state != "done" and task.due_at <= now,
        "amount": _amount(task.amount),
        "mrr": _amount(task.mrr),
        "reasons": [asdict(why) for why in task.reasons],
        "opened_at": task.opened_at,
        "closed_at": task.closed_at,
        "closed_by": task.closed_by,
        "because": task.because,
    }


def _amount(amount: Amount | None) -> dict[str, Any] | None:
    return {"minor": amount.minor, "unit": amount.unit, "text": str(amount)} if amount else None


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
