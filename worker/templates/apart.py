"""Writes a message with an operator's texts in a child process, which has little time and memory and no secrets.

Every text was checked before it was put in force, and the language has no loops. This is the last lock: a text that
makes the reader itself run away costs its child, never the worker (reliability.md D27, T95). One child lives as long as
its worker, because to start one costs more than a hundred messages.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from billing.notices.compose import Context
from billing.notices.sequence import Step
from config import messages
from config.messages import Entries
from worker.templates import writer
from worker.templates.brand import Brand
from worker.templates.sandbox import TemplateBroken
from worker.templates.writer import Rendered, Tongue

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", __name__)
START_SECONDS, SECONDS, CPU_SECONDS = 30.0, 5.0, 3.0  # to come up; for one message: waited for, and computed
MEMORY = 768 * 1024 * 1024
MOST_INPUT, MOST_OUTPUT = 512 * 1024, 2 * 1024 * 1024
BARRED_SECONDS, MOST_BARRED = 600.0, 1_000
RAN_AWAY = "it did not come to an end within its limits of time and memory"


class Apart:
    """The child and its line; safe to share between threads. Started at the first message, and again when it died."""

    def __init__(
        self,
        command: Sequence[str] = COMMAND,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command, self._seconds, self._clock = tuple(command), seconds, clock
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._parent = 0  # who started it: a child is not for those who are forked later
        self._barred: dict[str, float] = {}  # texts that ran away -> until when they are not tried

    def write(self, step: Step, edited: Entries, context: Context, tongue: Tongue, brand: Brand) -> Rendered:
        """The message with these texts in the place of the shipped ones. Raises TemplateBroken."""
        texts = {name: dict(parts) for name, parts in edited.items()}
        look = [brand.colour, brand.logo, brand.address, brand.support]
        asked = json.dumps([step.value, texts, dict(context), [tongue.language, tongue.locale], look]).encode() + b"\n"
        mark = hashlib.sha256(json.dumps([step.value, texts, tongue.locale]).encode()).hexdigest()
        where = f"{tongue.language}/{step}"
        if len(asked) > MOST_INPUT:
            raise TemplateBroken(where, None, None, f"the texts are longer than {MOST_INPUT} characters in all")
        with self._lock:
            if self._barred.get(mark, 0.0) > self._clock():
                raise TemplateBroken(where, None, None, RAN_AWAY)
            try:
                answer = self._ask(asked)
            except (OSError, ValueError):
                self._drop()
                if len(self._barred) >= MOST_BARRED:
                    self._barred.clear()
                self._barred[mark] = self._clock() + BARRED_SECONDS
                raise TemplateBroken(where, None, None, RAN_AWAY) from None
        if "broken" in answer:
            raise TemplateBroken(*answer["broken"])
        return Rendered(*answer["said"])

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _ask(self, asked: bytes) -> dict[str, Any]:
        """One line to the child and one back. Raises OSError when it is late or gone, ValueError for nonsense."""
        child = self._running()
        answer: dict[str, Any] = json.loads(_exchange(child, asked, self._seconds))
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._parent == os.getpid() and self._child.poll() is None:
            return self._child
        self._drop()
        self._child = subprocess.Popen(  # noqa: S603  # our own module, and the texts come by its input
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        )
        self._parent = os.getpid()
        _exchange(self._child, b"", START_SECONDS)
        return self._child

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is None or self._parent != os.getpid():
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


def _exchange(child: subprocess.Popen[bytes], asked: bytes, seconds: float) -> bytes:
    """Give the child a line and take one, with one deadline for both: it may stop reading as well as answering."""
    if child.stdin is None or child.stdout is None:
        raise BrokenPipeError("the child has no line")
    into, out = child.stdin.fileno(), child.stdout.fileno()
    os.set_blocking(into, False)
    line, due = b"", time.monotonic() + seconds
    with selectors.DefaultSelector() as ready:
        ready.register(out, selectors.EVENT_READ)
        if asked:
            ready.register(into, selectors.EVENT_WRITE)
        while not line.endswith(b"\n"):
            found = ready.select(max(0.0, due - time.monotonic()))
            if not found:
                raise TimeoutError("the child is late")
            for key, _ in found:
                if key.fd == into:
                    asked = asked[os.write(into, asked) :]
                    if not asked:
                        ready.unregister(into)
                else:
                    piece = os.read(out, 65_536)
                    if not piece or len(line) > MOST_OUTPUT:
                        raise BrokenPipeError("the child is gone")
                    line += piece
    return line


# ---------------------------------------------------------------- the child


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _answer("{}")
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # its signal ends this process
        _answer(json.dumps(_written(*json.loads(line))))
        signal.setitimer(signal.ITIMER_PROF, 0)


def _written(
    step: str, edited: Entries, context: Context, tongue: tuple[str, str], look: tuple[str, str, str, str]
) -> dict[str, list[Any]]:
    shipped = messages.shipped(tongue[0]).entries
    entries = {name: {**shipped.get(name, {}), **edited.get(name, {})} for name in {**shipped, **edited}}
    try:
        said = writer.write(Step(step), entries, context, Tongue(*tongue), Brand(*look))
    except TemplateBroken as error:
        return {"broken": [error.template, error.line, error.variable, error.because]}
    return {"said": [said.subject, said.text, said.html, said.locale]}


def _answer(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
