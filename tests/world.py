"""One whole installation for a test: a sandbox as Stripe, our web process on loopback, a worker that moves when told.

Time stands still unless the story moves it. `pass_time` walks in steps: Stripe plays what falls due, its webhooks are
delivered over real HTTP, and the worker sweeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import stripe
from pydantic import SecretStr
from sqlalchemy import select

from billing.case import RecoveryCase
from config.settings import Settings
from sandbox import Sandbox
from worker import books, store
from worker import tables as t
from worker.app import App, Bell, build
from worker.broker import NoBell
from worker.dispatcher import sweep
from worker.store import Owner
from worker.web.server import start_in_thread

SECRET = "whsec_test"
SELF = Owner("self", False)
START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class World:
    """`sb` is Stripe, `app` is us, `mailbox` is where the customer reads."""

    sb: Sandbox
    app: App
    mailbox: Path

    @property
    def client(self) -> stripe.StripeClient:
        """Somebody else's way to Stripe: the company, or the customer through a page of Stripe's."""
        return stripe.StripeClient("sk_test_somebody", base_addresses={"api": self.sb.url})

    def settle(self) -> None:
        """Deliver what Stripe has to tell and do what is due, until nothing moves any more."""
        while self.sb.deliver() + sweep(self.app):
            pass

    def pass_time(self, until: datetime | timedelta, step: timedelta = 6 * HOUR) -> None:
        """Move both clocks to an instant, or by a span, in steps, doing all that falls due on the way."""
        end = until if isinstance(until, datetime) else self.sb.clock() + until
        self.settle()
        while (now := self.sb.clock()) < end:
            self.sb.advance(min(now + step, end))
            self.settle()

    def case(self, invoice: str) -> RecoveryCase:
        with self.app.db.read() as db:
            found = store.case_of(db, SELF, invoice)
        assert found is not None, f"no case for {invoice}"
        return found

    def cases(self) -> dict[str, str]:
        """State by invoice."""
        with self.app.db.read() as db:
            return dict(db.execute(select(t.recovery_case.c.invoice, t.recovery_case.c.state)).all())

    def rows(self, table: Any, **where: Any) -> list[Any]:
        with self.app.db.read() as db:
            conditions = [table.c[name] == value for name, value in where.items()]
            return list(db.execute(select(table).where(*conditions).order_by(*table.primary_key.columns)))

    def mails(self) -> list[Path]:
        return sorted(self.mailbox.glob("*.eml"))

    def keep_books(self) -> None:
        books.keep(self.app)


def settings_for(database_url: str, sb: Sandbox, mailbox: Path, **more: Any) -> Settings:
    return Settings(
        database_url=database_url,
        # The ladder's days are round: a story can be told by its dates. The model has journeys of its own.
        **{"stripe_api_key": SecretStr("rk_test_reprieve"), "mode": "own", "policy": "ladder", **more},
        stripe_api_base=sb.url,
        stripe_webhook_secrets=(SecretStr(SECRET),),
        stripe_requests_per_second=10_000,
        mailbox_dir=mailbox,
        mail_from="billing@acme.example",
        mail_from_name="Acme",
        web_port=0,
    )


@contextmanager
def world(
    database_url: str,
    folder: Path,
    *,
    bell: Bell | None = None,
    sandbox: dict[str, Any] | None = None,
    endpoint: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[World]:
    """A world on a database with its tables; everything is stopped at the end."""
    with Sandbox(start=START, seed=1, **(sandbox or {})) as sb:
        mailbox = folder / "mailbox"
        app = build(settings_for(database_url, sb, mailbox, **settings), bell or NoBell(), now=sb.clock)
        app.policies.load()
        url, stop = start_in_thread(app)
        sb.add_endpoint(f"{url}/webhooks/stripe", SECRET, **(endpoint or {}))
        try:
            yield World(sb, app, mailbox)
        finally:
            stop()
            app.close()
        assert not sb.crashes, sb.crashes
