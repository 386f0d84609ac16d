"""Stripe's idempotency keys: the first answer is kept and replayed, 402 and 500 included.

Keys are pruned after a time on the sandbox's clock, after which the same key executes again: that is what makes a
client that trusts old keys charge twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sandbox import errors


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: status, JSON body, extra headers."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Entry:
    fingerprint: str
    at: datetime
    answer: Answer | None = None


class Keys:
    """Keys seen, each with the fingerprint of its first request and, once it ended, the answer."""

    def __init__(self, ttl: timedelta = timedelta(hours=24)) -> None:
        self.ttl = ttl
        self._entries: dict[str, Entry] = {}

    def begin(self, key: str, fingerprint: str, now: datetime) -> Answer | None:
        """The kept answer, or None when the request is to be executed; raises what Stripe raises."""
        entry = self._entries.get(key)
        if entry is not None and entry.answer is not None and now - entry.at >= self.ttl:
            entry = None
        if entry is None:
            self._entries[key] = Entry(fingerprint, now)
            return None
        if entry.answer is None:
            raise errors.key_in_use(key)
        if entry.fingerprint != fingerprint:
            raise errors.key_reused(key)
        return entry.answer

    def finish(self, key: str, answer: Answer) -> None:
        self._entries[key].answer = answer

    def forget(self, key: str) -> None:
        """The request was refused before execution: the key is free again."""
        self._entries.pop(key, None)
