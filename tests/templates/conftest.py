"""The application on each engine, and drafts of an operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.settings import Settings
from tests.billing.stories import DAY0
from worker.app import App, build
from worker.broker import NoBell


def app_on(url: str, mailbox: Path | None = None) -> App:
    settings = Settings(
        database_url=url, mailbox_dir=mailbox, mail_from="billing@acme.example", mail_from_name="Acme & Söhne"
    )
    app = build(settings, NoBell(), now=lambda: DAY0)
    app.policies.load()
    return app


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> Iterator[App]:
    made = app_on(database_url, tmp_path / "mailbox")
    yield made
    made.close()


@pytest.fixture
def sqlite_app(sqlite_url: str, tmp_path: Path) -> Iterator[App]:
    made = app_on(sqlite_url, tmp_path / "mailbox")
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def make(text: str) -> Path:
        path = tmp_path / "draft.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return make
