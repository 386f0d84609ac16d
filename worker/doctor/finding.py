"""What a check is asked about and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from config.settings import Account, Settings
from worker.db import Database
from worker.stripe_gateway import Gateways


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"  # works, and should be looked at
    FAIL = "fail"  # must be mended first


@dataclass(frozen=True, slots=True)
class Finding:
    """`fix` says what to do; empty when nothing is."""

    name: str
    level: Level
    said: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What the checks may look at."""

    settings: Settings
    db: Database
    gateways: Gateways
    now: Callable[[], datetime]

    def accounts(self) -> Iterator[tuple[Account, str]]:
        """Each account, and its name for a person."""
        for account in self.settings.all_accounts:
            yield account, f"{account.id} ({'live' if account.livemode else 'test'})"


Answer = tuple[Level, str, str]  # level, said, fix
Check = Callable[[Patient], Iterator[Answer]]
