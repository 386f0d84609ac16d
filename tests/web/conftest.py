"""Databases that have their tables already, and one on each engine for tests that only look at rows of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.conftest import Databases
from tests.web.harness import Client, an_app, in_process
from worker import migrate
from worker.db import Database


def migrated(url: str) -> str:
    db = Database(url)
    migrate.upgrade(db)
    db.close()
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "reprieve.db"
    migrated(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def pg_template(databases: Databases) -> Iterator[str]:
    url = databases.create()
    yield migrated(url)
    databases.drop(url)


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path)}"


@pytest.fixture
def pg_database(databases: Databases, pg_template: str) -> Iterator[str]:
    url = databases.create(pg_template)
    yield url
    databases.drop(url)


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
