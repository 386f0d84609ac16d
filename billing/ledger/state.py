"""What the fold remembers of a subscription while it replays it. Mutable, and never seen outside the fold."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from billing.events.snapshots import Discount
from billing.ledger import mrr
from billing.ledger.items import Item
from billing.ledger.movement import Case, Known, Mark
from billing.ledger.mrr import Level
from billing.money import MONTHLY


class Phase(Enum):
    """Where a subscription is in its life, as far as revenue is concerned."""

    WAITING = "exists and does not count yet: in a trial, or never paid"
    LIVE = "counts, also while past due"
    LOST = "nobody paid for too long; a payment can bring it back"
    ENDED = "over for good"


@dataclass(slots=True)
class Loss:
    """An involuntary loss that a payment may still undo."""

    key: str
    at: datetime
    remaining: int
    currency: str
    products: frozenset[str]


@dataclass(slots=True)
class Sub:
    """`level` is what the subscription is worth, `counted` what of it stands in the books."""

    id: str
    currency: str
    items: tuple[Item, ...]
    discounts: tuple[Discount, ...]
    usage: dict[str, tuple[int, ...]] = field(default_factory=dict)  # by metered item: its last invoices
    phase: Phase = Phase.WAITING
    level: Level = mrr.NOTHING
    paused: bool = False
    pause_at: datetime | None = None
    cancel_at: datetime | None = None
    refused: bool = False  # the first payment was asked for in vain
    marks: dict[Known, Mark] = field(default_factory=dict)
    held: int | None = None  # part of today's swap: what stands in the books until the swap is complete
    case: Case | None = None
    deadline: datetime | None = None  # when the open case is lost
    loss: Loss | None = None

    @property
    def counted(self) -> int:
        if self.held is not None:
            return self.held
        return self.level.total if self.phase is Phase.LIVE and not self.paused else 0

    @property
    def moves(self) -> bool:
        """Whether a change of price or quantity is a movement now."""
        return self.held is None and self.phase is Phase.LIVE and not self.paused

    @property
    def unit(self) -> str:
        return self.currency + MONTHLY


@dataclass(slots=True)
class Swap:
    """Subscriptions that ended and began on one local day: one change of one customer (D15)."""

    ended: list[Sub] = field(default_factory=list)
    begun: list[Sub] = field(default_factory=list)
