"""The same story three times: straight, with every webhook twice, and shuffled; and whether it came to the same.

A product that is right only when webhooks come once and in order is right only on quiet days.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sandbox.delivery import CALM, Chaos
from worker.rehearsal.play import Played, Row, play
from worker.rehearsal.stage import Floor
from worker.rehearsal.story import Story

LATE = timedelta(minutes=10)  # a shuffled webhook comes so much later at most, and what follows from it too
PASSES = {
    "straight": CALM,
    "duplicates": Chaos(duplicate=1.0),
    "shuffled": Chaos(reorder=1.0, delay=0.5, longest=LATE),
}


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """`differences`: by pass, what it did otherwise than the straight one; empty lists when all is the same."""

    story: Story
    policy: str
    straight: Played
    differences: dict[str, list[str]]
    seconds: dict[str, float]

    @property
    def same(self) -> bool:
        return not any(self.differences.values())


def rehearse(story: Story, policy: Path | None, seed: int) -> Rehearsal:
    """Play the story under the policy in a file, or the shipped one. Raises BadPolicy."""
    with tempfile.TemporaryDirectory(prefix="reprieve-rehearsal-") as name:
        floor = Floor(Path(name))
        with without_collector():
            played = {each: play(story, policy, floor, seed, chaos) for each, chaos in PASSES.items()}
    straight = played.pop("straight")
    return Rehearsal(
        story=story,
        policy=(straight.told.case or {}).get("policy", "none was needed"),
        straight=straight,
        differences={
            each: list(differences(straight, other, LATE if PASSES[each].delay else timedelta(0)))
            for each, other in played.items()
        },
        seconds={"straight": straight.seconds, **{each: other.seconds for each, other in played.items()}},
    )


@contextmanager
def without_collector() -> Iterator[None]:
    """A pass leaves little behind, and looking for it would take a fifth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def differences(straight: Played, other: Played, slack: timedelta = timedelta(0)) -> Iterator[str]:
    """What the bank, the customer and the books saw in one pass and not in the other, one sentence each.

    Two rows are the same if all but their instant is, and that differs by no more than `slack`.
    """
    for what, before, after in (
        ("attempt at the bank", straight.attempts, other.attempts),
        ("message", straight.messages, other.messages),
        ("row of the ledger", straight.entries, other.entries),
        ("end", (straight.state,), (other.state,)),
    ):
        missing, new = list(before), list(after)
        for row in before:
            if same := next((each for each in new if _same(row, each, slack)), None):
                missing.remove(row)
                new.remove(same)
        yield from (f"{what} is missing: {' '.join(row)}" for row in missing)
        yield from (f"{what} is new: {' '.join(row)}" for row in new)


def _same(one: Row, other: Row, slack: timedelta) -> bool:
    if one == other:
        return True
    try:
        apart = abs(datetime.fromisoformat(one[0]) - datetime.fromisoformat(other[0]))
    except ValueError:  # rows without an instant
        return False
    return one[1:] == other[1:] and apart <= slack
