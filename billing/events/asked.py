"""What a person of the company asked for, about one invoice. Who asked, and in which words, stands in the audit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Held:
    """The case is held, nothing is sent and nothing is tried; `held` False: released."""

    invoice: str
    held: bool


@dataclass(frozen=True, slots=True)
class Extended:
    """The recovery window ends later."""

    invoice: str
    until: datetime


@dataclass(frozen=True, slots=True)
class RetryAsked:
    """A payment attempt is to be made now, within every rule."""

    invoice: str


@dataclass(frozen=True, slots=True)
class NoticeAsked:
    """A message of the sequence is to be sent now."""

    invoice: str
    step: str


@dataclass(frozen=True, slots=True)
class PaidOutside:
    """The money came on another way and Stripe is to be told; `asked` False: Stripe could not be told."""

    invoice: str
    asked: bool


Asked = Held | Extended | RetryAsked | NoticeAsked | PaidOutside
