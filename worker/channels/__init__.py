"""Ways to reach a person: each takes one rendered message and says what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Outcome(StrEnum):
    """What became of a hand-over (reliability.md D24)."""

    ACCEPTED = "accepted"  # the server took responsibility
    REJECTED = "rejected"  # for good: a bad address, a refused recipient
    LATER = "later"  # certainly not taken, and worth another try
    UNKNOWN = "unknown"  # the connection broke after the whole message was given: it may have been taken


@dataclass(frozen=True, slots=True)
class Handed:
    outcome: Outcome
    because: str


@dataclass(frozen=True, slots=True)
class Message:
    """One rendered message to one person. `id` is the Message-ID, fixed before the first try."""

    id: str
    to: str
    to_name: str | None
    subject: str
    text: str
    html: str
    headers: tuple[tuple[str, str], ...] = ()


class Channel(Protocol):
    def send(self, message: Message) -> Handed:
        """Hand one message over. Never raises for what the other side does; that is an outcome."""
