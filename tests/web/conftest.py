"""A database on each engine for tests that only look at rows of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.conftest import Databases
from tests.web.harness import Client, an_app, in_process


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        template = request.getfixturevalue("sqlite_template")
        yield f"sqlite:///{shutil.copy(template, tmp_path_factory.mktemp('web'))}"
        return
    databases: Databases = request.getfixturevalue("databases")
    url = databases.create(request.getfixturevalue("pg_template"))
    yield url
    databases.drop(url)


@pytest.fixture(scope="module")
def client(shared_url: str) -> Iterator[Client]:
    """The web application in this process, without a network."""
    with in_process(an_app(shared_url)) as made:
        yield made


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """The log lines of the test, as values."""
    with capture_logs() as lines:
        yield lines
