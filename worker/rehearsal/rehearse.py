"""The same story three times: straight, with every webhook twice, and shuffled; and whether it came to the same.

A product that is right only when webhooks come once and in order is right only on quiet days.
"""

from __future__ import annotations

import gc
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.delivery import CALM, Chaos
from worker.rehearsal.play import Played, Row, play
from worker.rehearsal.stage import tables
from worker.rehearsal.story import Story

PASSES = {
    "straight": CALM,
    "duplicates": Chaos(duplicate=1.0),
    "shuffled": Chaos(reorder=1.0),
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
        folder = Path(name)
        empty = folder / "empty.db"
        tables(empty)
        with _without_collector():
            played = {each: play(story, policy, folder / each, empty, seed, chaos) for each, chaos in PASSES.items()}
    straight = played.pop("straight")
    return Rehearsal(
        story=story,
        policy=(straight.told.case or {}).get("policy", "none was needed"),
        straight=straight,
        differences={each: list(differences(straight, other)) for each, other in played.items()},
        seconds={"straight": straight.seconds, **{each: other.seconds for each, other in played.items()}},
    )


@contextmanager
def _without_collector() -> Iterator[None]:
    """A pass leaves little behind, and looking for it would take a fifth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def differences(straight: Played, other: Played) -> Iterator[str]:
    """What the bank, the customer and the books saw in one pass and not in the other, one sentence each."""
    for what, before, after in (
        ("attempt at the bank", straight.attempts, other.attempts),
        ("message", straight.messages, other.messages),
        ("row of the ledger", straight.entries, other.entries),
        ("end", (straight.state,), (other.state,)),
    ):
        yield from _missing(f"{what} is missing", before, after)
        yield from _missing(f"{what} is new", after, before)


def _missing(what: str, wanted: tuple[Row, ...], found: tuple[Row, ...]) -> Iterator[str]:
    for row in (Counter(wanted) - Counter(found)).elements():
        yield f"{what}: {' '.join(row)}"
