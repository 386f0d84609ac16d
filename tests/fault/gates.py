"""Crash points inside the test's own process: die there, wait there, or let something happen there.

Cheaper than a process, so it covers more; `test_charge_kills` and `test_zombies` do the same with real ones.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from worker import crash, flow
from worker.app import App

PATIENCE = 20.0


class Died(BaseException):
    """The process is gone: no code of ours sees this, as it would not see SIGKILL."""


class Gates:
    """What happens at the next passage of each point; `passed` are the points in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed: list[str] = []
        self._next: dict[str, Callable[[], object]] = {}
        monkeypatch.setattr(crash, "point", self._pass)

    def once(self, name: str, act: Callable[[], object]) -> None:
        self._next[name] = act

    def die(self, name: str) -> None:
        def died() -> None:
            raise Died(name)

        self.once(name, died)

    def hold(self, name: str) -> Held:
        held = Held()
        self.once(name, held.wait)
        return held

    def _pass(self, name: str) -> None:
        self.passed.append(name)
        if act := self._next.pop(name, None):
            act()


class Held:
    """A thread that stands at a point until it is let go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._go = threading.Event()

    def wait(self) -> None:
        self.reached.set()
        assert self._go.wait(PATIENCE)

    def go(self) -> None:
        self._go.set()


class Hand(threading.Thread):
    """Performs one action in a thread of its own, as one more worker would."""

    def __init__(self, app: App) -> None:
        super().__init__(name="hand")
        self._app = app
        self.failed: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            flow.perform_action(self._app)
        except BaseException as error:
            self.failed = error

    def end(self) -> None:
        self.join(PATIENCE)
        assert not self.is_alive()
        if self.failed:
            raise self.failed


def perform_and_die(app: App) -> None:
    """Perform one action up to the point where the process dies."""
    with pytest.raises(Died):
        flow.perform_action(app)
