"""What every test can ask for: an empty database, an empty Redis, and a promise that nothing leaves the machine."""

from __future__ import annotations

import ipaddress
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import psycopg
import pytest
import redis
from psycopg import sql
from sqlalchemy import make_url

from tests import server_programs, servers
from worker import migrate
from worker.db import Database

# A property that fails in CI must fail again on the developer's machine, with the same example.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=True)
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")

SERVERS_FOLDER = "REPRIEVE_TEST_SERVERS_FOLDER"
HELPER = pytest.StashKey[servers.Helper]()


# --- the servers of the session -------------------------------------------------------------------------------------


def pytest_report_header() -> list[str]:
    lines = []
    for label, variable, find in (
        ("PostgreSQL", "TEST_DATABASE_URL", server_programs.find_postgres),
        ("Redis", "TEST_REDIS_URL", server_programs.find_redis),
    ):
        try:
            lines.append(f"{label} for tests: {servers.describe(variable, find)}")
        except server_programs.ServerProblem as problem:
            lines.append(f"{label} for tests: NONE, tests that need it will fail: {problem}")
    return lines


def pytest_configure(config: pytest.Config) -> None:
    sys.addaudithook(_stay_on_this_machine)
    # With xdist the controller owns the servers, and they start while the workers do.
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        _start_helper(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    if helper := config.stash.get(HELPER, None):
        os.environ.pop(SERVERS_FOLDER, None)
        helper.stop()


def _start_helper(config: pytest.Config) -> None:
    config.stash[HELPER] = servers.Helper()
    os.environ[SERVERS_FOLDER] = str(config.stash[HELPER].folder)


@pytest.fixture(scope="session")
def server_urls(pytestconfig: pytest.Config) -> dict[str, str]:
    """`{"postgres": ..., "redis": ...}` of the session's own or given servers; started on first use without xdist."""
    if SERVERS_FOLDER not in os.environ:
        _start_helper(pytestconfig)
    return servers.wait_for_urls(Path(os.environ[SERVERS_FOLDER]))


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


class Databases:
    """Makes and drops databases on one server; a template with the tables in it is copied in tens of milliseconds."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url).set(drivername="postgresql+psycopg")
        self._connection = psycopg.connect(self._libpq(self._url), autocommit=True)

    def create(self, template: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of the one at `template`, to which nobody may be connected."""
        name = f"reprieve_test_{secrets.token_hex(8)}"
        source = make_url(template).database if template else "template0"
        assert source
        self._run("CREATE DATABASE {} TEMPLATE {}", name, source)
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Drop it even when somebody is still connected."""
        name = make_url(url).database
        assert name
        assert name.startswith("reprieve_test_")
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def close(self) -> None:
        self._connection.close()

    def _run(self, statement: Any, *names: str) -> None:
        self._connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    @staticmethod
    def _libpq(url: Any) -> str:
        return str(url.set(drivername="postgresql").render_as_string(hide_password=False))


@pytest.fixture(scope="session")
def postgres_url(server_urls: dict[str, str]) -> str:
    """The server's maintenance database, `postgresql+psycopg://...`: for making databases, not for tables."""
    return make_url(server_urls["postgres"]).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def databases(postgres_url: str) -> Iterator[Databases]:
    made = Databases(postgres_url)
    yield made
    made.close()


@pytest.fixture
def empty_pg_database(databases: Databases) -> Iterator[str]:
    """A fresh database without tables, `postgresql+psycopg://...`."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture(scope="session")
def pg_template(databases: Databases) -> Iterator[str]:
    url = databases.create()
    yield migrated(url)
    databases.drop(url)


@pytest.fixture
def pg_database(databases: Databases, pg_template: str) -> Iterator[str]:
    """A fresh database with our tables, `postgresql+psycopg://...`."""
    url = databases.create(pg_template)
    yield url
    databases.drop(url)


def migrated(url: str) -> str:
    db = Database(url)
    migrate.upgrade(db)
    db.close()
    return url


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A private folder for a server of the test's own, which it may kill: `servers.Redis(..., server_folder)`."""
    folder = servers.Account().private_folder()
    yield folder
    shutil.rmtree(folder)


# --- SQLite, and both ----------------------------------------------------------------------------------------------


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """A file that does not exist yet, `sqlite:///...`."""
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "reprieve.db"
    migrated(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A file with our tables, `sqlite:///...`."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path)}"


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database without tables, once on each engine."""
    url: str = request.getfixturevalue({"sqlite": "empty_sqlite_url", "postgres": "empty_pg_database"}[request.param])
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database with our tables, once on each engine."""
    url: str = request.getfixturevalue({"sqlite": "sqlite_url", "postgres": "pg_database"}[request.param])
    return url


# --- Redis ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def redis_database(server_urls: dict[str, str]) -> str:
    """This process's own database number on the server. Somebody's data is never flushed: a used one is refused."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    url = server_urls["redis"]
    given = int(urlsplit(url).path.strip("/") or 0)
    url = urlsplit(url)._replace(path=f"/{given + number}").geturl()
    with redis.Redis.from_url(url) as client:
        if client.dbsize():
            raise server_programs.ServerProblem(f"Redis database {given + number} is not empty, and tests flush it")
    return url


@pytest.fixture
def redis_url(redis_database: str) -> Iterator[str]:
    """An empty Redis database, `redis://...`, emptied again afterwards."""
    yield redis_database
    with redis.Redis.from_url(redis_database) as client:
        client.flushdb()


# --- nothing leaves the machine -------------------------------------------------------------------------------------


def _hosts_given() -> set[str]:
    """Hosts of servers given by URL, with their addresses: the only ones besides this machine."""
    names = {urlsplit(os.environ.get(variable, "")).hostname for variable in ("TEST_DATABASE_URL", "TEST_REDIS_URL")}
    found = {name for name in names if name}
    return found | {str(row[4][0]) for name in found for row in socket.getaddrinfo(name, None)}


ALLOWED_HOSTS = {"localhost", "", *_hosts_given()}
WATCHED = {"socket.connect": 1, "socket.sendto": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0}


class LeftTheMachine(BaseException):
    """A test tried to reach another machine. Not an Exception, so that no code under test can swallow it."""


def _stay_on_this_machine(event: str, arguments: tuple[Any, ...]) -> None:
    position = WATCHED.get(event)
    if position is None:
        return
    target = arguments[position]
    if event in ("socket.connect", "socket.sendto"):
        if not isinstance(target, tuple):
            return  # a Unix socket
        target = target[0]
    host = target.decode() if isinstance(target, bytes) else str(target or "")
    if host not in ALLOWED_HOSTS and not _is_loopback(host):
        raise LeftTheMachine(f"{event} to {host!r}: tests talk to 127.0.0.1 only")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
