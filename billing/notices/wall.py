"""When the walls of a sequence begin for one case. Nothing is sent: whoever asks what to show gets the answer."""

from __future__ import annotations

from datetime import timedelta

from billing.case import RecoveryCase
from billing.notices.conditions import unmet
from billing.notices.sequence import Sequence, Via

DAY = timedelta(days=1)


def wall_days(case: RecoveryCase, sequence: Sequence, country: str | None = None) -> tuple[float, float] | None:
    """Days after the failure at which the soft and the hard wall begin, the hard one 0 for never.

    None where the sequence says nothing of walls. A step whose conditions the case does not meet raises none.
    """
    steps = [step for step in sequence.steps if Via.IN_APP in step.via]
    if not steps:
        return None
    meant = [step for step in steps if not unmet(step.only, case, country, None)]
    hard = min((step.after / DAY for step in meant if step.wall == "hard_wall"), default=0.0)
    never = (case.deadline - case.failed_at) / DAY + 1  # a banner to the end
    return min((step.after / DAY for step in meant), default=never), hard
