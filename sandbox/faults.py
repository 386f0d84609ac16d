"""Scripted trouble: what goes wrong, for which requests, on which calls.

`Faults.take` is asked once per request, before execution. A fault says whether the request is executed and what the
client sees of it; the server obeys.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    DELAY = "delay"  # wait `seconds`, then execute and answer
    DELAY_AFTER = "delay_after"  # execute, wait `seconds`, then answer
    DROP_BEFORE = "drop_before"  # close the connection without executing
    DROP_AFTER = "drop_after"  # execute, then close the connection: the response is lost
    ANSWER = "answer"  # answer `status` without executing; the key is not remembered
    ANSWER_AFTER = "answer_after"  # execute, then answer `status`, which the key remembers
    TRUNCATE = "truncate"  # execute, then send half of the body and close
    GARBAGE = "garbage"  # execute, then answer 200 with something that is not JSON
    PROCESSING = "processing"  # execute; payments go to processing and settle after `seconds` of sandbox time


@dataclass(frozen=True, slots=True)
class Fault:
    """Applies to requests whose 'METHOD /path' matches, from the `nth` match on, `count` times (0: for ever)."""

    kind: Kind
    method: str = "POST"
    path: str = r".*"
    nth: int = 1
    count: int = 1
    seconds: float = 0.0
    status: int = 500
    code: str | None = None
    should_retry: bool | None = None

    def matches(self, method: str, path: str) -> bool:
        return method == self.method and re.fullmatch(self.path, path) is not None


class Faults:
    """The script, and how often each line of it matched."""

    def __init__(self) -> None:
        self.script: list[Fault] = []
        self._matched: Counter[int] = Counter()

    def add(self, kind: str, method: str = "POST", path: str = r".*", **details: object) -> Fault:
        """Add a line; `details` are the other fields of `Fault`."""
        fault = Fault(Kind(kind), method, path, **details)  # type: ignore[arg-type]
        self.script.append(fault)
        return fault

    def clear(self) -> None:
        self.script.clear()
        self._matched.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for this request; every matching line counts the request."""
        taken = None
        for line, fault in enumerate(self.script):
            if not fault.matches(method, path):
                continue
            self._matched[line] += 1
            past = self._matched[line] - fault.nth
            if taken is None and past >= 0 and (fault.count == 0 or past < fault.count):
                taken = fault
        return taken
