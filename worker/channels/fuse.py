"""A channel that hangs delays only itself: after a slow failure it rests, and nobody waits for it meanwhile.

Without this every worker thread would sooner or later stand in front of a service that does not answer, and payments
and other messages with them. One message tries the channel when the rest is over; each failure doubles the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from worker.channels import Channel, Handed, Message, Outcome

SLOW = 5.0  # seconds: what fails faster holds nobody up
REST, LONGEST_REST = 30.0, 600.0  # seconds
RESTS = Handed(Outcome.LATER, "the channel did not answer a moment ago, and rests")


class Fuse:
    """`channel`, unless it rests. Safe to share between threads; each process has a fuse of its own."""

    def __init__(self, channel: Channel, clock: Callable[[], float] = time.monotonic) -> None:
        self._channel, self._clock = channel, clock
        self._lock = threading.Lock()
        self._until, self._rest = 0.0, 0.0  # rests until; how long the last rest was, 0 when all is well

    def send(self, message: Message) -> Handed:
        began = self._clock()
        with self._lock:
            if began < self._until:
                return RESTS
            if self._rest:
                self._until = began + self._rest  # this message tries it, the others go on resting
        handed = self._channel.send(message)
        failed = handed.outcome in (Outcome.LATER, Outcome.UNKNOWN)
        with self._lock:
            if not failed:
                self._until = self._rest = 0.0
            elif self._clock() - began >= SLOW:
                self._rest = min(max(REST, 2 * self._rest), LONGEST_REST)
                self._until = self._clock() + self._rest
            elif self._rest:
                self._until = self._rest = 0.0  # it answers again, if only with a no
        return handed
