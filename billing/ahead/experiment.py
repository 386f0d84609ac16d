"""Who is told and who is the control. A customer stays in one arm of a kind, whatever is warned of later.

The draw is a hash, so that it can be checked, asked twice, and asked by two workers at once; it is written down before
anything is sent, and what was written down holds even after the share or the seed was changed.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum

from billing.notices.sequence import Step

FULL = 2**64


class Arm(StrEnum):
    TOLD = "told"
    CONTROL = "control"


def arm_of(seed: str, account: str, livemode: bool, step: Step, customer: str, control: float) -> Arm:
    """The arm of this customer for this kind of warning; `control` is the share of those that are not told."""
    identity = json.dumps(["ahead1", seed, account, livemode, step.value, customer], separators=(",", ":"))
    drawn = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big")
    return Arm.CONTROL if drawn < control * FULL else Arm.TOLD
