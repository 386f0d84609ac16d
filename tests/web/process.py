"""The web process as a program, for tests and benchmarks that kill or measure it: `python -m tests.web.process`.

Settings come from the environment; the address is printed as the first line.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from config.settings import load
from worker import logs, migrate
from worker.app import App, wall_clock
from worker.db import Database
from worker.web import server


class Silent:
    """A bell nobody hears."""

    def ring(self, name: str) -> None:
        pass


def main() -> None:
    settings = load(web_port=0)
    logs.configure(settings)
    db = Database(settings.database_url)
    if migrate.current(db) is None:
        migrate.upgrade(db)
    app = cast(App, SimpleNamespace(settings=settings, db=db, now=wall_clock, bell=Silent()))
    server.serve(app, ready=lambda url: print(url, flush=True))  # noqa: T201 - what the parent reads


@contextmanager
def started(url: str, secret: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A web process on the database at `url`: its address and the process, killed at the end if it still runs."""
    environment = {**os.environ, "REPRIEVE_DATABASE_URL": url, "REPRIEVE_STRIPE_WEBHOOK_SECRETS": secret}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.web.process"],
        env=environment,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


if __name__ == "__main__":
    main()
