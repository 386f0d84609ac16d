"""Everything the sandbox's Stripe consists of, in one value that the resources receive.

A request or a due entry of the agenda holds `lock` while it runs, so the rest of the code knows no concurrency.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from sandbox.bank import Bank
from sandbox.clock import Agenda, Clock
from sandbox.events import EventLog
from sandbox.issuer import Issuer
from sandbox.store import Obj, Store, snapshot

NEWEST = "2026-10-28.endive"


@dataclass(frozen=True, slots=True)
class Dunning:
    """What Stripe itself does after a failed renewal: the merchant's settings under Revenue recovery.

    `retries` are times after the first failure; empty means Stripe does not retry. `end` is what happens to the
    subscription after the last retry, or `after` the first failure when there are no retries (None: never).
    """

    retries: tuple[timedelta, ...] = ()
    end: str = "past_due"  # past_due, cancel, unpaid, pause
    after: timedelta | None = None
    invoice: str = "open"  # open, uncollectible: what the end does to the invoice


NO_RETRIES = Dunning()
SMART_RETRIES = Dunning(tuple(timedelta(days=days) for days in (1, 2, 4, 6, 8, 10, 12, 14)), end="cancel")


@dataclass(slots=True)
class Settings:
    """`hostile` switches Stripe's own protections against paying twice off. `version` is the account's default."""

    hostile: bool = False
    dunning: Dunning = NO_RETRIES
    account: str = "acct_1Sandbox00000000"
    country: str = "US"
    livemode: bool = False
    version: str = NEWEST
    finalize_after: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something happens now. `key` and `body` (SHA-256) are those of the API request, None when automatic."""

    source: str = "automatic"  # api, automatic, hosted, portal, settlement, control
    request: str | None = None
    key: str | None = None
    body: str | None = None


AUTOMATIC = Cause()


@dataclass(slots=True)
class World:
    clock: Clock
    store: Store
    issuer: Issuer
    bank: Bank
    settings: Settings
    agenda: Agenda = field(default_factory=Agenda)
    events: EventLog = field(init=False)
    lock: threading.RLock = field(default_factory=threading.RLock)
    cause: Cause = AUTOMATIC
    url: str = ""
    force_processing: timedelta | None = None

    def __post_init__(self) -> None:
        self.events = EventLog(self)

    @contextmanager
    def because(self, cause: Cause) -> Iterator[None]:
        """Run the body under the lock as an effect of `cause`."""
        with self.lock:
            before, self.cause = self.cause, cause
            try:
                yield
            finally:
                self.cause = before

    @contextmanager
    def changing(self, obj: Obj, *types: str) -> Iterator[Obj]:
        """Tell `types` about the change made in the body, when there is one."""
        before = snapshot(obj)
        yield obj
        if snapshot(obj) != before:
            for type in types:
                self.events.emit(type, obj, before)

    def later(self, delay: timedelta) -> int:
        """The unix time `delay` from now."""
        return int((self.clock() + delay).timestamp())
