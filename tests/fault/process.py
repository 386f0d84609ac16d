"""Worker processes that a test starts, kills, freezes and starts again.

A fork server has everything imported, so a worker starts in a tenth of a second and a test can afford many of them;
what runs in it is the function behind `reprieve worker`. `command` starts the command itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from pydantic import SecretStr

from config.settings import PREFIX, Settings, load
from tests.fault import broken
from tests.fault.stage import Stage
from worker import process
from worker import tables as t

DEADLINE = 30.0
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["pytest", __name__])


def wait_until(true: Callable[[], bool], what: str, seconds: float = DEADLINE) -> None:
    """Return as soon as it is true; fail, saying what was waited for, when it does not become so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.005)


def environment(settings: Settings) -> dict[str, str]:
    """These settings as another process reads them."""
    found = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            found[name] = value.get_secret_value()
        elif isinstance(value, tuple):
            found[name] = ",".join(each if isinstance(each, str) else each.get_secret_value() for each in value)
        elif value is not None:
            found[name] = str(value)
    for table in ("accounts", "outgoing_webhooks"):  # those only stand in reprieve.toml
        del found[table]
    return {PREFIX + name.upper(): value for name, value in found.items()}


class Worker:
    """One worker process. `crash` and `freeze` are a point and its passage, `C4:1`; `build` is a name of `broken`."""

    def __init__(
        self, settings: Settings, log: Path, *, crash: str = "", freeze: str = "", build: str = broken.REAL
    ) -> None:
        env = {**environment(settings), "CRASH": crash, "FREEZE": freeze}
        self._log = log
        self._process: ForkServerProcess = _forks.Process(target=_work, args=(env, build, str(log)))
        self._process.start()

    @property
    def dead(self) -> bool:
        return not self._process.is_alive()

    @property
    def killed(self) -> bool:
        """Whether it died by SIGKILL, and not of its own."""
        return self._process.exitcode == -signal.SIGKILL

    @property
    def frozen(self) -> bool:
        state = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "T"

    def kill(self) -> None:
        self._process.kill()
        self._process.join(DEADLINE)

    def wake(self) -> None:
        assert self._process.pid
        os.kill(self._process.pid, signal.SIGCONT)
        wait_until(lambda: not self.frozen, "the worker wakes")

    def stop(self) -> None:
        """Ask it to end, as a supervisor does: it ends well, unless it had reached its crash point or not yet begun."""
        self._process.terminate()
        self._process.join(DEADLINE)
        expected = (0, -signal.SIGKILL, -signal.SIGTERM)
        assert self._process.exitcode in expected, self._log.read_text()[-3000:]

    def clean_up(self) -> None:
        if self._process.is_alive():
            self.kill()
        self._process.close()


@contextmanager
def working(settings: Settings, log: Path, **options: str) -> Iterator[Worker]:
    """A worker for the length of a block; it does not outlive it."""
    worker = Worker(settings, log, **options)
    try:
        yield worker
    finally:
        worker.clean_up()


def wait_for_a_sweep(stage: Stage) -> None:
    """Some worker that runs now has ended what it was doing, and has looked for work since."""
    key = stage.ask_to_sweep()
    wait_until(lambda: stage.count(t.action.c.key == key, t.action.c.state == "done") == 1, "a sweep")


@contextmanager
def command(settings: Settings, log: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """`reprieve worker` itself, as an operator starts it."""
    known: Mapping[str, str] = {**os.environ, **environment(settings), **env}
    with log.open("ab") as output:
        started = subprocess.Popen(
            [sys.executable, "-m", "worker.cli", "worker"], env=known, stdout=output, stderr=output
        )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.wait()


def _work(env: Mapping[str, str], build: str, log: str) -> None:
    os.environ.update(env)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    broken.install(build)
    process.worker(load())
