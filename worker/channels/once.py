"""Headers by which a mail provider knows a repeat of the same message, where it has them (reliability.md D25).

The value is made from our dedup key: the same message has it at every try, another message never.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

HEADERS: Mapping[str, str] = {"resend": "Resend-Idempotency-Key"}  # kept there for 24 hours


def once(provider: str, dedup_key: str) -> tuple[tuple[str, str], ...]:
    """The header for this provider, if it has one."""
    name = HEADERS.get(provider)
    return ((name, hashlib.sha256(dedup_key.encode()).hexdigest()),) if name else ()
