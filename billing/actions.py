"""What to do next, as data with a key.

A key is built here and nowhere else, from stable ids. The same key guards our table (one row per key) and, for a
payment, travels to Stripe as the idempotency key, so a database that was rolled back or restored asks for the same
payment again and gets the same answer (reliability.md D12).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from billing.ledger.sources import STAFF_PREFIX

KEY_PREFIX = "dn1_"


class Kind(StrEnum):
    RETRY = "retry"  # ask the bank again
    NOTICE = "notice"  # send a message
    AHEAD = "ahead"  # warn before anything failed
    LOOK = "look"  # read the invoice, to learn what the event did not say
    DEADLINE = "deadline"  # the recovery window ends
    FETCH = "fetch"  # read what a thin event names
    TALK = "talk"  # hand to the team what a customer wrote
    END = "end"  # what the policy says of subscription and invoice once the window passed
    ACCESS = "access"  # what the customer may use changes by time alone
    SETTLE = "settle"  # tell Stripe that an invoice was paid outside


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do at `due_at` or soon after; `because` is read by people."""

    key: str
    kind: Kind
    due_at: datetime
    because: str
    invoice: str | None = None
    customer: str | None = None
    detail: Mapping[str, str | int] = field(default_factory=dict)

    def at(self, due: datetime) -> Action:
        """The same action at another time."""
        return replace(self, due_at=due)


def retry_key(invoice: str, n: int) -> str:
    return f"retry:{invoice}:{n}"


def backup_key(invoice: str, n: int) -> str:
    return f"{retry_key(invoice, n)}:backup"


def notice_key(invoice: str, step: str) -> str:
    return f"notice:{invoice}:{step}"


def ahead_key(step: str, subject: str) -> str:
    return f"ahead:{step}:{subject}"


def look_key(invoice: str, failed_at: datetime) -> str:
    return f"look:{invoice}:{int(failed_at.timestamp())}"


def deadline_key(invoice: str) -> str:
    return f"deadline:{invoice}"


def fetch_key(event: str) -> str:
    return f"fetch:{event}"


def talk_key(words: str) -> str:
    return f"talk:{words}"


def end_key(invoice: str, part: str) -> str:
    return f"end:{invoice}:{part}"


def access_key(invoice: str, changes_at: datetime) -> str:
    return f"access:{invoice}:{int(changes_at.timestamp())}"


def end_idempotency_key(account: str, livemode: bool, invoice: str, part: str) -> str:
    """Stripe's key for the end of one part, `subscription` or `invoice`: there is only one for each case."""
    return _idempotency_key([account, livemode, invoice, "end", part])


def settle_key(invoice: str) -> str:
    return f"settle:{invoice}"


def settle_idempotency_key(account: str, livemode: bool, invoice: str) -> str:
    """Stripe's key for marking an invoice as paid outside. A person asks for it, so it is no attempt of ours."""
    return STAFF_PREFIX + idempotency_key(account, livemode, invoice, 0).removeprefix(KEY_PREFIX)


def idempotency_key(account: str, livemode: bool, invoice: str, n: int) -> str:
    """Stripe's key for payment attempt `n` on an invoice: identity only, never the amount, method or a random part."""
    return _idempotency_key([account, livemode, invoice, "pay", n])


def _idempotency_key(parts: list[str | bool | int]) -> str:
    identity = json.dumps(parts, separators=(",", ":"), ensure_ascii=True)
    digest = base64.b32encode(hashlib.sha256(identity.encode()).digest()).decode().lower()
    return KEY_PREFIX + digest[:40]
