"""A world in which payments are about to be retried: invoices failed two days ago, and the first rung is due now.

The sandbox's clock is brought to the wall clock and stands still there, so that worker processes, which know no other
clock than the wall, find the work due.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update

from billing.actions import Action, Kind
from sandbox import FINE, Behaviour, Subscribed, until
from tests.world import DAY, HOUR, SELF, World, world
from worker import store
from worker import tables as t
from worker.app import wall_clock
from worker.columns import db_in, db_now

WEEK = 7 * DAY
LEASE, PATIENCE = 1.6, 0.7  # seconds: of a claim, and for one answer of Stripe
BEGUN = ("claimed", "sending")


@dataclass
class Stage:
    """`subs[i]` is the subscription whose unpaid invoice is `invoices[i]`."""

    world: World
    subs: list[Subscribed]
    invoices: list[str]

    def count(self, *conditions: Any) -> int:
        with self.world.app.db.read() as db:
            return db.scalar(select(func.count()).select_from(t.action).where(*conditions)) or 0

    def unfinished(self) -> int:
        """Retries that are due or begun, and have no end yet."""
        due = (t.action.c.state == "waiting") & (t.action.c.due_at <= self.world.app.now())
        return self.count(t.action.c.kind == "retry", due | t.action.c.state.in_(BEGUN))

    def end_leases(self) -> None:
        """As if every owner had been silent for longer than a lease; the database's clock is nobody's to move."""
        with self.world.app.db.begin() as db:
            db.execute(update(t.action).where(t.action.c.state.in_(BEGUN)).values(lease_until=db_in(-1)))

    def shorten_waits(self) -> None:
        """Let what waits for minutes after trouble with Stripe wait for no longer than a lease."""
        now = self.world.app.now()
        tried = (t.action.c.kind == "retry") & (t.action.c.tries > 0)
        looked_at_later = tried & (t.action.c.state == "sending") & (t.action.c.lease_until > db_in(LEASE))
        later = (t.action.c.due_at > now) & (t.action.c.due_at < now + timedelta(hours=2))
        tried_later = tried & (t.action.c.state == "waiting") & later
        if not self.count(looked_at_later | tried_later):
            return
        with self.world.app.db.begin() as db:
            db.execute(update(t.action).where(looked_at_later).values(lease_until=db_now()))
            db.execute(update(t.action).where(tried_later).values(due_at=now - timedelta(minutes=1)))

    def ask_to_sweep(self) -> str:
        """Something for a worker to find, that no stop holds back; its key."""
        now, key = self.world.app.now(), f"look:{secrets.token_hex(8)}"
        look = Action(key, Kind.LOOK, now, "to see that somebody sweeps", self.invoices[-1], self.subs[-1].customer)
        with self.world.app.db.begin() as db:
            store.add_actions(db, SELF, [look], now)
        return key

    def hear_everything(self) -> None:
        """Deliver all that Stripe has to tell, do what follows, and bring the books up to date."""
        self.world.settle()
        self.world.keep_books()


@contextmanager
def staged(
    database_url: str,
    folder: Path,
    number: int = 1,
    *,
    behaviours: Sequence[Behaviour] = (FINE,),
    now: datetime | None = None,
    hostile: bool = True,
    mailed: bool = True,
    **settings: Any,
) -> Iterator[Stage]:
    """`number` invoices whose first retry is due; the bank answers it as `behaviours` say, in turn.

    Their first message went out, unless `mailed` is False: then it is due as well.
    """
    now = now or wall_clock()
    short = {"lease_seconds": LEASE, "stripe_timeout_seconds": PATIENCE, "sweep_seconds": 0.1, "worker_threads": 2}
    sandbox = {"hostile": hostile, "money_log": folder / "money.jsonl"}
    with world(database_url, folder, sandbox=sandbox, **{**short, **settings}) as w:
        w.sb.advance(now - WEEK - 2 * DAY - 2 * HOUR)
        subs = [
            w.sb.subscribe(amount=1000 + n, interval="week", behaviour=until(now - DAY), email=f"payer{n}@example.com")
            for n in range(number)
        ]
        w.sb.advance(now - 2 * DAY)
        w.settle()
        w.sb.advance(now - 23 * HOUR)
        if mailed:
            w.settle()
        w.sb.advance(now)
        for n, sub in enumerate(subs):
            w.sb.issuer.set(sub.payment_method, behaviours[n % len(behaviours)])
        invoices = [str(w.sb.latest_invoice(sub.subscription)["id"]) for sub in subs]
        stage = Stage(w, subs, invoices)
        assert stage.unfinished() == number
        yield stage
