"""A small company, played once for all these tests: one customer recovered, one lost, one open, one fine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox import Behaviour, Spell, until
from sandbox.world import NO_RETRIES
from tests.world import DAY, World, world

JAN_15, FEB_6, FEB_15 = (datetime(2026, *day, tzinfo=UTC) for day in ((1, 15), (2, 6), (2, 15)))
END = datetime(2026, 3, 4, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Played:
    """The world on 4 March and an invoice of each fate."""

    world: World
    url: str
    recovered: str
    lost: str
    open: str
    fine: str


@pytest.fixture(scope="session")
def played(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("screens")
    url = f"sqlite:///{shutil.copy(sqlite_template, folder / 'reprieve.db')}"
    with world(url, folder, sandbox={"dunning": NO_RETRIES}) as w:
        recovered = w.sb.subscribe(amount=2000, behaviour=until(FEB_6), email="ann@example.com", name="Ann Miller")
        dead = Behaviour((Spell("insufficient_funds", since=JAN_15),))
        lost = w.sb.subscribe(amount=3000, behaviour=dead, email="bob@example.com")
        expired = Behaviour((Spell("expired_card", since=FEB_15),))
        open_one = w.sb.subscribe(amount=4000, behaviour=expired, email="cat@example.com")
        fine = w.sb.subscribe(amount=5000, email="dan@example.com")
        w.pass_time(datetime(2026, 2, 27, tzinfo=UTC), step=DAY)
        first = [_of(w, each.subscription) for each in (recovered, lost)]
        w.pass_time(END, step=DAY / 2)
        yield Played(w, url, *first, *(_of(w, each.subscription) for each in (open_one, fine)))


def _of(w: World, subscription: str) -> str:
    return str(w.sb.latest_invoice(subscription)["id"])
