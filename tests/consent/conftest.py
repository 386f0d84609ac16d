"""An installation without Stripe, on each engine, whose clock stands still until a story moves it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from config.settings import Settings
from worker import consent
from worker.app import App, build
from worker.broker import NoBell
from worker.consent import Grant, Permit, Refused
from worker.store import Owner

SELF = Owner("self", False)
NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
DAY = timedelta(days=1)
NUMBER = "+4915112345678"
SECRET, TWILIO = "a secret of these tests, long enough", "0123456789abcdef0123456789abcdef"


@dataclass
class Here:
    """`app` is us; `day` moves the clock."""

    app: App
    clock: list[datetime] = field(default_factory=lambda: [NOW])

    def day(self, number: float) -> datetime:
        self.clock[0] = NOW + number * DAY
        return self.clock[0]

    def grant(self, customer: str = "cus_1", number: str = NUMBER, at: datetime | None = None, **more: Any) -> str:
        owner = more.pop("owner", SELF)
        given = Grant(customer, number, at or self.app.now(), "order form", **more)
        with self.app.db.begin() as db:
            return consent.grant(db, self.app.settings, owner, [given], "ann", self.app.now())[0]

    def phone(self, customer: str = "cus_1", owner: Owner = SELF) -> Permit | Refused:
        with self.app.db.read() as db:
            return consent.phone_of(db, self.app.settings, owner, customer)

    def stop(self, number: str = NUMBER) -> int:
        with self.app.db.begin() as db:
            return consent.stop(db, self.app.settings, number, "sms:twilio", self.app.now())

    def rows(self, table: Any) -> list[Any]:
        with self.app.db.read() as db:
            return list(db.execute(select(table).order_by(table.c.id)))


def an_app(url: str, clock: list[datetime], **more: Any) -> App:
    chosen: dict[str, Any] = {
        "suppression_secret": SECRET,
        "twilio_auth_token": TWILIO,
        "sms_hook_secret": SECRET,
        "public_url": "https://pay.acme.example",
        "web_port": 0,
        "mail_from": "billing@acme.example",
        **more,
    }
    return build(Settings(database_url=url, **chosen), NoBell(), now=lambda: clock[0])


@pytest.fixture
def here(database_url: str) -> Iterator[Here]:
    clock = [NOW]
    made = Here(an_app(database_url, clock), clock)
    yield made
    made.app.close()
