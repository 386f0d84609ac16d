"""How often one address may look, guess and act on the recovery page, and who the address is.

Counted in this process alone: several web processes allow as many times as much, which is still far too little to guess
a token of 256 bits. A gateway in front with limits of its own could replace it.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from starlette.requests import Request

MINUTE = 60.0
LIMITS = {"look": 60, "miss": 10, "act": 20}  # a minute and address
MOST_KNOWN = 10_000


class Gate:
    """Remembers the last minute of each address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def full(self, address: str, kind: str) -> bool:
        """Whether this address has used up its minute; counts nothing."""
        with self._lock:
            return len(self._recent(address, kind)) >= LIMITS[kind]

    def count(self, address: str, kind: str) -> bool:
        """Count one; False when it is too many."""
        with self._lock:
            recent = self._recent(address, kind)
            if len(recent) >= LIMITS[kind]:
                return False
            recent.append(self._clock())
            self._known[address, kind] = recent
            self._known.move_to_end((address, kind))
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
            return True

    def _recent(self, address: str, kind: str) -> deque[float]:
        recent = self._known.get((address, kind), deque())
        while recent and recent[0] <= self._clock() - MINUTE:
            recent.popleft()
        return recent


def address_of(request: Request, proxies: int) -> str:
    """Who asks: the peer, or what the outermost of our own proxies says. Of IPv6 the network: a house has one."""
    found = request.client.host if request.client else ""
    if proxies:
        told = [
            part.strip() for part in ",".join(request.headers.getlist("x-forwarded-for")).split(",") if part.strip()
        ]
        found = told[-proxies] if len(told) >= proxies else found
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return "unknown"
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
