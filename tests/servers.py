"""Throwaway PostgreSQL and Redis servers for a test session.

The product's promises are about real servers, so the tests run against real ones, on any machine and with nothing
installed beforehand (`server_programs.py` says where the programs come from). Each server gets a password, a free port
on 127.0.0.1 and a private folder. A helper process owns them and ends them when the process that asked for them is
gone for whatever reason, SIGKILL included.

Only the *programs* of the packages are used: as root, the Python code of theirs adds a system user and opens parent
folders to everybody. Docker or a fixed server would replace this file, at the price of needing one of them.
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import urlsplit

from tests.server_programs import Program, ServerProblem, find_postgres, find_redis, given_url

START_SECONDS = 60.0
STOP_SECONDS = 20.0
MEMORY_DISK_BYTES = 1 << 30


# --- running them ---------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _memory_disks() -> list[str]:
    """A roomy memory disk, where there is one: a new database is 300 files, 10 ms there and up to 290 ms on a disk."""
    try:
        room = os.statvfs("/dev/shm")
    except OSError:
        return []
    usable = room.f_bavail * room.f_frsize >= MEMORY_DISK_BYTES and not room.f_flag & os.ST_NOEXEC
    return ["/dev/shm"] if usable and os.access("/dev/shm", os.W_OK) else []


class Account:
    """The user the servers run as: PostgreSQL refuses root, and a Redis of root's would be a door to root."""

    def __init__(self) -> None:
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.popen: dict[str, Any] = (
            {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if self._user else {}
        )

    def own(self, path: Path) -> None:
        if self._user:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def private_folder(self) -> Path:
        """A new temporary folder that the account can pass through, while only we can list it."""
        for parent in (*_memory_disks(), tempfile.gettempdir(), "/tmp", "/var/tmp"):
            if self._can(["test", "-x", parent]):
                folder = Path(tempfile.mkdtemp(prefix="reprieve-test-", dir=parent))
                folder.chmod(0o711 if self._user else 0o700)
                return folder
        raise ServerProblem("no temporary folder that the user nobody can enter: set TMPDIR to one")

    def runnable(self, program: Program, folder: Path) -> Program:
        """The program itself, or a copy below `folder` when the account cannot read it where it is."""
        if self._can([program.path, "--version"]):
            return program
        copies = folder / "programs"
        for part in program.parts:
            (copies / part).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-R", program.base / part, copies / part], check=True)
        subprocess.run(["chmod", "-R", "u+w,go+rX,go-w", copies], check=True)
        moved = Program(copies / program.path.relative_to(program.base), copies, program.parts)
        if not self._can([moved.path, "--version"]):
            raise ServerProblem(f"{program.path} does not run for the user of the test servers, not even as a copy")
        return moved

    def _can(self, command: list[Any]) -> bool:
        try:
            return subprocess.run(command, cwd="/", capture_output=True, timeout=30, **self.popen).returncode == 0
        except (OSError, subprocess.SubprocessError):
            return False


class Server(ABC):
    """One running server. A test may make its own below its `tmp_path`, to kill it and start it again."""

    name = ""

    def __init__(self, program: Program, folder: Path, account: Account | None = None) -> None:
        self.account = account or Account()
        self.folder = folder / self.name
        self.folder.mkdir(mode=0o700)
        self.account.own(self.folder)
        self.program = self.account.runnable(program, folder)
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self.log = folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """As SQLAlchemy or redis-py take it, password included."""

    def start(self) -> None:
        """Return when it answers. Safe after `kill`: same port, same data."""
        with self.log.open("ab") as log:
            self._process = self._launch(log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None:
                raise ServerProblem(f"{self.name} ended while starting:\n{self.log.read_text()[-2000:]}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerProblem(f"{self.name} did not answer in time:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it in an orderly way, or by force when it does not obey."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL: what a power cut looks like to the clients."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _popen(self, command: list[Any], log: IO[bytes], **more: Any) -> subprocess.Popen[bytes]:
        more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(
            command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True, **more, **self.account.popen
        )

    @abstractmethod
    def _launch(self, log: IO[bytes]) -> subprocess.Popen[bytes]: ...

    @abstractmethod
    def _answers(self) -> bool: ...


class Postgres(Server):
    """A cluster of its own. Durability is off: it lives as long as the tests, and only the process can die."""

    name = "postgres"

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://reprieve:{self.password}@127.0.0.1:{self.port}/postgres"

    def _launch(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        data = self.folder / "data"
        if not data.exists():
            self._init(data)
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "64MB",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "dynamic_shared_memory_type": "mmap",  # in the folder, where a killed server leaves nothing behind
            "wal_level": "minimal",
            "max_wal_senders": 0,
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return self._popen([self.program.path, "-D", data, *options], log)

    def _init(self, data: Path) -> None:
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        self.account.own(secret)
        command: list[Any] = [
            self.program.path.with_name("initdb"),
            "-D",
            data,
            "-U",
            "reprieve",
            "--auth=password",
            "--no-sync",
        ]
        command += [f"--pwfile={secret}", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, **self.account.popen)
        if done.returncode:
            raise ServerProblem(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url.replace("+psycopg", ""), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


class Redis(Server):
    """Loopback only, nothing written to disk unless a test passes `save="appendonly yes"`."""

    name = "redis"

    def __init__(
        self, program: Program, folder: Path, account: Account | None = None, save: str = "appendonly no"
    ) -> None:
        super().__init__(program, folder, account)
        self.save = save

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def _launch(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            "databases 64",
            'save ""',
            self.save,
        ]
        # The settings go through stdin, since arguments show the password to everybody on the machine.
        process = self._popen([self.program.path, "-"], log, stdin=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write("\n".join([*lines, ""]).encode())
        process.stdin.close()
        return process

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as line, line.makefile("rb") as answers:
                line.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                return [answers.readline(), answers.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False


# --- the helper process ---------------------------------------------------------------------------------------------


class Helper:
    """The handle of whoever asked for servers: they run until `stop`, or until this process is no more."""

    def __init__(self) -> None:
        self.folder = Account().private_folder()
        command = [sys.executable, "-P", "-m", "tests.servers", str(self.folder)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(3 * STOP_SECONDS)


def wait_for_urls(folder: Path) -> dict[str, str]:
    """`{"postgres": url, "redis": url}` as soon as the helper has them.

    Raises:
        ServerProblem: with the helper's own words.
    """
    deadline = time.monotonic() + 2 * START_SECONDS
    while not (folder / "urls.json").exists():
        if time.monotonic() > deadline or not folder.exists():
            raise ServerProblem("the test servers did not come up in time")
        time.sleep(0.01)
    urls: dict[str, str] = json.loads((folder / "urls.json").read_text())
    if "problem" in urls:
        raise ServerProblem(urls["problem"])
    return urls


def describe(variable: str, find: Callable[[], Program]) -> str:
    """One phrase for the pytest header: which server, which version, and from where."""
    if url := given_url(variable):
        return f"{variable} ({urlsplit(url).hostname})"
    program = find()
    return f"{program.version()} ({'locked package' if 'site-packages' in program.path.parts else program.path})"


def main(folder: Path) -> None:
    """Start what is not given, publish the URLs, wait for the end of stdin, and leave nothing behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    account = Account()
    needed: list[tuple[str, type[Server], Callable[[], Program]]] = [
        ("TEST_DATABASE_URL", Postgres, find_postgres),
        ("TEST_REDIS_URL", Redis, find_redis),
    ]
    try:
        with ExitStack() as running:
            urls: dict[str, str] = {}
            try:
                for variable, server, find in needed:
                    urls[server.name] = (
                        given_url(variable) or running.enter_context(server(find(), folder, account)).url
                    )
            except ServerProblem as problem:
                urls = {"problem": str(problem)}
            (folder / "urls.new").touch(mode=0o600)
            (folder / "urls.new").write_text(json.dumps(urls))
            (folder / "urls.new").rename(folder / "urls.json")
            sys.stdin.read()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
