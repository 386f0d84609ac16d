"""The real application on each engine, with a clock of ours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from config.settings import Settings
from tests.billing.stories import DAY0
from worker.app import App, build
from worker.broker import NoBell
from worker.db import Database
from worker.store import Owner

SELF = Owner("self", False)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = DAY0

    def __call__(self) -> datetime:
        return self.at

    def pass_time(self, span: timedelta) -> None:
        self.at += span


@pytest.fixture
def clock() -> Clock:
    return Clock()


def app_on(url: str, clock: Clock) -> App:
    app = build(Settings(database_url=url, mode="own", policy="ladder"), NoBell(), now=clock)
    app.policies.load()
    return app


@pytest.fixture
def app(database_url: str, clock: Clock) -> Iterator[App]:
    made = app_on(database_url, clock)
    yield made
    made.close()


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    yield made
    made.close()
