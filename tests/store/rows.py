"""Rows as the tests put them there directly."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from billing.actions import Action, Kind
from billing.case import RecoveryCase
from billing.decide import decide
from tests.billing.stories import DAY0, OWN, failed, usd
from tests.store.conftest import SELF
from worker import store
from worker import tables as t

CASE = RecoveryCase(
    "self", False, "in_1", "cus_1", "sub_1", usd(2000), "standard@1", DAY0, DAY0, DAY0, because="failed"
)
PLANNED = decide(None, failed(0), OWN, DAY0)


def an_action(key: str = "look:in_1:1", kind: Kind = Kind.LOOK, due: datetime = DAY0, **more: Any) -> Action:
    return Action(key, kind, due, "a test", **{"invoice": "in_1", "customer": "cus_1", **more})


def add_action(
    db: Connection, key: str = "look:in_1:1", kind: Kind = Kind.LOOK, due: datetime = DAY0, **more: Any
) -> None:
    store.add_actions(db, SELF, [an_action(key, kind, due, **more)], DAY0)


def add_attempt(db: Connection, n: int, state: str, invoice: str = "in_1", **more: Any) -> None:
    row = {
        **SELF.key,
        "invoice": invoice,
        "n": n,
        "action_key": f"retry:{invoice}:{n}",
        "state": state,
        "token": 1,
        "idem_key": f"dn1_{invoice}_{n}",
        "request": {},
        "amount": 2000,
        "currency": "usd",
        "first_sent_at": DAY0,
        "at": DAY0,
        **more,
    }
    db.execute(insert(t.attempt), row)


def add_inbox(db: Connection, event_id: str, body: bytes | None = b"{}", due: datetime = DAY0, **more: Any) -> None:
    row = {
        **SELF.key,
        "event_id": event_id,
        "type": "invoice.paid",
        "received_at": DAY0,
        "body": body,
        "state": "received",
        "tries": 0,
        "due_at": due,
        **more,
    }
    db.execute(insert(t.inbox), row)


def states(db: Connection, table: Any, name: str) -> dict[str, str]:
    """State by the column of this name."""
    rows = db.execute(select(table.c[name], table.c.state).order_by(table.c.id))
    return {row[0]: row[1] for row in rows}
