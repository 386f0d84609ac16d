"""Cases that were lost and whose end is due now, on the wall's clock, so that worker processes find them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update

from billing.actions import deadline_key
from sandbox import Subscribed
from tests.ends.stories import BROKE, ending
from tests.world import DAY, HOUR, SELF, World
from worker import flow
from worker import tables as t
from worker.app import wall_clock
from worker.columns import db_in, db_now

LEASE, PATIENCE = 1.6, 0.7  # seconds: of a claim, and for one answer of Stripe
BEGUN = ("claimed", "sending")
CANCEL = '[end]\nsubscription = "cancel"\ninvoice = "uncollectible"'


@dataclass
class Ends:
    """`subs[i]` is the subscription whose unpaid invoice is `invoices[i]`."""

    world: World
    subs: list[Subscribed]
    invoices: list[str]

    def unfinished(self) -> int:
        """Ends that are due or begun, and have none yet."""
        due = (t.action.c.state == "waiting") & (t.action.c.due_at <= self.world.app.now())
        with self.world.app.db.read() as db:
            found = select(func.count()).select_from(t.action).where(t.action.c.kind == "end")
            return db.scalar(found.where(due | t.action.c.state.in_(BEGUN))) or 0

    def shorten_waits(self) -> None:
        """What waits for minutes, for a lease or for the other part, waits no longer."""
        now = self.world.app.now()
        with self.world.app.db.begin() as db:
            tried = (t.action.c.kind == "end") & (t.action.c.tries > 0)
            soon = tried & (t.action.c.state == "waiting") & (t.action.c.due_at < now + timedelta(hours=2))
            db.execute(update(t.action).where(soon).values(due_at=now - timedelta(minutes=1)))
            later = tried & (t.action.c.state == "sending") & (t.action.c.lease_until > db_in(LEASE))
            db.execute(update(t.action).where(later).values(lease_until=db_now()))

    def end_leases(self) -> None:
        """As if every owner had been silent for longer than a lease."""
        with self.world.app.db.begin() as db:
            db.execute(update(t.action).where(t.action.c.state.in_(BEGUN)).values(lease_until=db_in(-1)))

    def told(self, type: str) -> list[str]:
        """What Stripe says that it did, by object: one event each time."""
        return [record.object_id for record in self.world.sb.world.events.distinct() if record.type == type]


@contextmanager
def due_ends(url: str, folder: Path, number: int = 1, tables: str = CANCEL, **settings: Any) -> Iterator[Ends]:
    """`number` renewals failed 22 days ago or so, nobody paid, and the window has just passed."""
    now = wall_clock()
    short = {"lease_seconds": LEASE, "stripe_timeout_seconds": PATIENCE, "sweep_seconds": 0.1, "worker_threads": 2}
    with ending(url, folder, tables, **{**short, **settings}) as w:
        w.sb.advance(now - 54 * DAY)
        subs = [w.sb.subscribe(amount=1000 + n, email=f"payer{n}@example.com") for n in range(number)]
        w.settle()
        for sub in subs:
            w.sb.issuer.set(sub.payment_method, BROKE)
        w.sb.advance(now - 22 * DAY)
        w.settle()
        invoices = [str(w.sb.latest_invoice(sub.subscription)["id"]) for sub in subs]
        w.sb.advance(now - HOUR)
        for invoice in invoices:  # what was to happen in the meantime did not: nobody worked
            assert flow.perform_action(w.app, SELF, deadline_key(invoice))
        w.sb.advance(now)
        stage = Ends(w, subs, invoices)
        assert stage.unfinished() == number * (2 if "invoice" in tables else 1)
        yield stage
