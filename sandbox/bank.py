"""The money log: what the bank was asked and what it took. The truth that kill tests compare with.

Every movement is appended to memory and, when a path is given, to a JSON-lines file before the request is answered;
`fsync` makes that survive a power cut as well.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Movement:
    """One thing the bank did. `amount` in minor units; `at` is the sandbox's time, ISO 8601.

    `outcome`: charged (money moved), declined, authentication, processing (a debit under way), refunded, disputed.
    `key` and `body` are the idempotency key and the SHA-256 of the request that caused it, None when Stripe's own
    schedule or a page did. `source`: api, automatic, hosted, portal, settlement, control.
    """

    n: int
    at: str
    outcome: str
    amount: int
    currency: str
    charge: str | None
    payment_intent: str | None
    invoice: str | None
    customer: str | None
    payment_method: str | None
    decline_code: str | None
    source: str
    key: str | None
    body: str | None


class Bank:
    def __init__(self, log: Path | None = None, fsync: bool = False) -> None:
        self.movements: list[Movement] = []
        self.fsync = fsync
        self._file: TextIO | None = log.open("a", encoding="utf-8") if log else None

    def record(self, movement: Movement) -> None:
        self.movements.append(movement)
        if self._file is not None:
            self._file.write(json.dumps(asdict(movement)) + "\n")
            self._file.flush()
            if self.fsync:
                os.fsync(self._file.fileno())

    @property
    def charges(self) -> list[Movement]:
        """Money really taken, in order."""
        return [m for m in self.movements if m.outcome == "charged"]

    def charged(self, invoice: str) -> list[Movement]:
        """Money taken for one invoice: more than one entry is a double charge."""
        return [m for m in self.charges if m.invoice == invoice]

    def attempts(self, invoice: str) -> list[Movement]:
        """Everything the bank was asked for one invoice."""
        return [m for m in self.movements if m.invoice == invoice]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
