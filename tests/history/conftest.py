"""A second database beside the one of the test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def sqlite_url_2(sqlite_template: Path, tmp_path: Path) -> str:
    shutil.copy(sqlite_template, tmp_path / "second.db")
    return f"sqlite:///{tmp_path / 'second.db'}"
