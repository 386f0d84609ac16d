"""A second database beside the one of the test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Databases


@pytest.fixture
def sqlite_url_2(sqlite_template: Path, tmp_path: Path) -> str:
    shutil.copy(sqlite_template, tmp_path / "second.db")
    return f"sqlite:///{tmp_path / 'second.db'}"


@pytest.fixture
def second_url(database_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Another one of the same engine."""
    if database_url.startswith("sqlite"):
        yield request.getfixturevalue("sqlite_url_2")
        return
    databases: Databases = request.getfixturevalue("databases")
    url = databases.create(request.getfixturevalue("pg_template"))
    yield url
    databases.drop(url)
