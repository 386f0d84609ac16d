"""The permutation proof again, on real rows: any order, in batches of any split, gives one case and one plan."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from billing.events.occurrences import Event
from tests.billing.stories import DAY0, HOUR, OURS
from tests.billing.test_decide_orders import LIVES
from tests.store.conftest import SELF, Clock, app_on
from worker import store
from worker import tables as t
from worker.absorb import absorb
from worker.app import App
from worker.values import event_from_json, event_to_json, to_json

ORDERS = 6  # of each life; the pure proof has them all
THEIRS = {name: events for name, (events, _) in LIVES.items() if not any(isinstance(e.what, OURS) for e in events)}


def renamed(data: Any, old: str, new: str) -> Any:
    """The same JSON about another customer, invoice and subscription."""
    text = json.dumps(data, default=str)
    for kind in ("in", "cus", "sub", "pi", "ch"):
        text = text.replace(f"{kind}_{old}", f"{kind}_{new}")
    return json.loads(text.replace(f"evt_{old}", f"evt_{new}"))


def about(number: int, events: Sequence[Event]) -> list[Event]:
    """The events as another customer's: each order lives in the same database."""
    bodies = [{**event_to_json(event), "id": f"evt_1_{event.id}"} for event in events]
    return [event_from_json(renamed(body, "1", f"{number}x")) for body in bodies]


def split(events: Sequence[Event], dice: random.Random) -> list[Sequence[Event]]:
    """Batches of one event and more."""
    cuts = sorted(dice.sample(range(1, len(events)), dice.randrange(len(events))))
    return [events[a:b] for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]


def what_is_there(app: App, number: int) -> tuple[Any, Any]:
    """The case row and the actions that wait, named as in the story."""
    invoice = f"in_{number}x"
    with app.db.read() as db:
        case = store.case_of(db, SELF, invoice)
        row = db.execute(select(t.recovery_case).where(t.recovery_case.c.invoice == invoice)).one()
        waiting = db.execute(
            select(t.action.c.key, t.action.c.kind, t.action.c.due_at, t.action.c.detail)
            .where(t.action.c.invoice == invoice, t.action.c.state == "waiting")
            .order_by(t.action.c.key)
        ).all()
    assert case is not None
    return renamed({**row._mapping, "case": to_json(case)}, f"{number}x", "1"), renamed(
        [list(action) for action in waiting], f"{number}x", "1"
    )


@pytest.fixture(scope="module")
def one_app(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, Clock]]:
    clock = Clock()
    app = app_on(f"sqlite:///{shutil.copy(sqlite_template, tmp_path_factory.mktemp('orders'))}", clock)
    yield app, clock
    app.close()


@pytest.mark.parametrize("name", THEIRS)
def test_every_order_and_every_split_leave_the_same_rows(name: str, one_app: tuple[App, Clock]) -> None:
    app, clock = one_app
    events = THEIRS[name]
    clock.at = max(event.at for event in events) + HOUR
    found: dict[int, Any] = {}
    for turn in range(ORDERS):
        number = 100 * (1 + list(THEIRS).index(name)) + turn
        dice = random.Random(number)  # noqa: S311 - the same orders every time
        order = about(number, events if turn == 0 else dice.sample([*events, *events[:2]], len(events) + 2))
        for batch in split(order, dice):
            with app.db.begin() as db:
                reasons = absorb(app, db, SELF, batch)
            assert len(reasons) == len(batch)
        found[turn] = what_is_there(app, number)
    assert all(rows == found[0] for rows in found.values()), found
    assert datetime.fromisoformat(found[0][0]["failed_at"]) >= DAY0
