"""Places where a test may kill or freeze the process, to prove that every line of the charge path may be the last one.

`CRASH=C4:2` kills the process with SIGKILL at the second passage of C4, `FREEZE=C4:2` stops it there with SIGSTOP
until it is sent SIGCONT. Without these variables this does nothing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter

_passed: Counter[str] = Counter()


def point(name: str) -> None:
    crash, freeze = os.environ.get("CRASH", ""), os.environ.get("FREEZE", "")
    if not crash and not freeze:
        return
    _passed[name] += 1
    here = f"{name}:{_passed[name]}"
    if here == crash:
        os.kill(os.getpid(), signal.SIGKILL)
    if here == freeze:
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # this thread goes no further, not even a little
