"""A small company with customers in dollars and one in euro, played once; each test gets an app on a copy of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox import Behaviour, Spell, until
from sandbox.world import NO_RETRIES
from tests.world import DAY, settings_for, world
from worker.app import App, build
from worker.broker import NoBell

FEB_6, JAN_15 = datetime(2026, 2, 6, tzinfo=UTC), datetime(2026, 1, 15, tzinfo=UTC)
END = datetime(2026, 3, 11, tzinfo=UTC)


@dataclass
class Clock:
    """Time that a test moves."""

    at: datetime = END

    def __call__(self) -> datetime:
        return self.at


@dataclass(frozen=True)
class Company:
    """The database of the company and the address of its Stripe."""

    file: Path
    settings: Callable[..., Any]


@pytest.fixture(scope="session")
def company(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """Ann's 20.00 came on the 8th of February, Bob's 30.00 never; Dan pays 50.00, Eva 40.00 euro."""
    folder = tmp_path_factory.mktemp("company")
    file = Path(shutil.copy(sqlite_template, folder / "reprieve.db"))
    with world(f"sqlite:///{file}", folder, sandbox={"dunning": NO_RETRIES}) as w:
        w.sb.subscribe(amount=2000, behaviour=until(FEB_6), email="ann@example.com")
        w.sb.subscribe(amount=3000, behaviour=Behaviour((Spell("insufficient_funds", since=JAN_15),)))
        w.sb.subscribe(amount=5000, email="dan@example.com")
        w.sb.subscribe(amount=4000, currency="eur", email="eva@example.com")
        w.pass_time(END, step=DAY)
        w.keep_books()
        yield Company(file, lambda url, mailbox, **more: settings_for(url, w.sb, mailbox, **more))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_app(company: Company, clock: Clock, tmp_path: Path) -> Iterator[Callable[..., App]]:
    """Apps with settings of a test's own, all on one copy of the database; closed at the end."""
    made: list[App] = []
    for file in company.file.parent.glob("reprieve.db*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, tmp_path / file.name)

    def make(**settings: Any) -> App:
        url = f"sqlite:///{tmp_path / 'reprieve.db'}"
        app = build(company.settings(url, tmp_path / "mailbox", **settings), NoBell(), now=clock)
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    return make_app()
