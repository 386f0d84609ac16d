"""The ground the other tests stand on: the servers are real, empty at the start, and gone at the end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from sqlalchemy import create_engine, text

from tests import server_programs, servers
from tests.conftest import Databases, LeftTheMachine


def test_a_database_is_empty_and_takes_a_table(empty_database_url: str) -> None:
    engine = create_engine(empty_database_url)
    with engine.begin() as db:
        db.execute(text("create table case_of_this_test (id integer)"))
        assert db.execute(text("select count(*) from case_of_this_test")).scalar() == 0
    engine.dispose()


def test_a_database_can_be_copied_with_its_tables(databases: Databases) -> None:
    template = databases.create()
    with psycopg.connect(template.replace("+psycopg", "")) as db:
        db.execute("create table kept (id integer)")
    copy = databases.create(template)
    with psycopg.connect(copy.replace("+psycopg", "")) as db:
        assert db.execute("select count(*) from kept").fetchone() == (0,)
    databases.drop(copy)
    databases.drop(template)


@pytest.mark.parametrize("round_", [1, 2])
def test_redis_is_empty_for_every_test(redis_url: str, round_: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left behind", round_)


@pytest.mark.parametrize("path", list(server_programs.bundled_redis()), ids=lambda path: path.name)
def test_a_private_redis_keeps_its_appended_data_through_a_kill(server_folder: Path, path: Path) -> None:
    program = server_programs.Program(path, path.parent, (path.name,))
    with servers.Redis(program, server_folder, save="appendonly yes\nappendfsync always") as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("bell", 1)
        server.kill()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("bell") == b"1"


def test_the_servers_end_when_their_user_is_killed() -> None:
    code = "import time; from tests import servers; h = servers.Helper(); print(h.folder, flush=True); time.sleep(60)"
    own = {name: value for name, value in os.environ.items() if name not in ("TEST_DATABASE_URL", "TEST_REDIS_URL")}
    user = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1], env=own
    )
    assert user.stdout is not None
    folder = Path(user.stdout.readline().strip())
    url = servers.wait_for_urls(folder)["redis"]
    with redis.Redis.from_url(url) as client:
        assert client.ping()
    user.kill()
    user.wait()
    user.stdout.close()
    deadline = time.monotonic() + 30
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not folder.exists()
    with socket.socket() as line:
        assert line.connect_ex(("127.0.0.1", urlsplit(url).port)) != 0


def test_the_network_guard_lets_nothing_out() -> None:
    with pytest.raises(LeftTheMachine), socket.socket() as line:
        line.connect(("192.0.2.1", 80))
    with pytest.raises(LeftTheMachine):
        socket.getaddrinfo("stripe.example", 443)
