"""Webhooks on their way: signed, retried with growing pauses for three days, and as unruly as a seed wants.

Time is the sandbox's clock, so three days of retries pass in a second. `deliver` sends everything that is due and
returns when all of it is answered; automatic mode does that in a thread whenever something falls due.
"""

from __future__ import annotations

import hashlib
import heapq
import hmac
import http.client
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import orjson

from sandbox.events import Record
from sandbox.render import event, thin
from sandbox.store import Obj
from sandbox.versions import EVENT_SINCE
from sandbox.world import World

GIVE_UP = timedelta(days=3)
PAUSES = [timedelta(minutes=m) for m in (5, 30, 120, 300, 600, 720)]


@dataclass(frozen=True, slots=True)
class Chaos:
    """Probabilities, each from 0 to 1, that a delivery is sent twice, out of order, or late by up to `longest`."""

    duplicate: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0
    longest: timedelta = timedelta(minutes=10)


CALM = Chaos()


@dataclass(frozen=True, slots=True)
class Parcel:
    """One event for one endpoint; `tries` counts the posts so far."""

    record: Record
    endpoint: str
    first: datetime
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Posted:
    """One post and its answer; `status` 0 means that no answer came."""

    event: str
    type: str
    endpoint: str
    n: int
    status: int
    at: datetime


class Delivery:
    """`signature_clock`: 'wall' lets the official verification pass, 'sandbox' signs with the sandbox's time."""

    def __init__(self, world: World, seed: int, chaos: Chaos = CALM, concurrency: int = 1) -> None:
        self.world = world
        self.chaos = chaos
        self.signature_clock = "wall"
        self.timeout = 10.0
        self.log: list[Posted] = []
        self.carry = self._post  # (url, body, signature) -> status; another one delivers without HTTP
        self.wake = threading.Event()
        self._rng = random.Random(f"delivery {seed}")
        self._heap: list[tuple[datetime, float, int, Parcel]] = []
        self._serial = 0
        self._one_at_a_time = threading.Lock()
        self._connections: dict[tuple[int, str], http.client.HTTPConnection] = {}
        self._pool = ThreadPoolExecutor(concurrency, "delivery") if concurrency > 1 else None
        self._bodies: dict[tuple[str, str, bool, bool], bytes] = {}
        world.events.listeners.append(self.enqueue)

    def enqueue(self, record: Record) -> None:
        """Plan the delivery of an event to every endpoint that wants it."""
        now = self.world.clock()
        for endpoint in self.world.store.all("webhook_endpoint"):
            if endpoint["status"] == "enabled" and wants(endpoint, record):
                record.open.add(endpoint["id"])
                copies = 2 if self._rng.random() < self.chaos.duplicate else 1
                for _ in range(copies):
                    self._push(self._late(now), Parcel(record, endpoint["id"], now))

    def resend(self, event: str, endpoint: str) -> None:
        """The dashboard's button: one more delivery; planned retries stay as they are."""
        now = self.world.clock()
        self._push(now, Parcel(self.world.events.records[event], endpoint, now))

    def _late(self, now: datetime) -> datetime:
        late = self._rng.random() < self.chaos.delay
        return now + self.chaos.longest * self._rng.random() if late else now

    def _push(self, due: datetime, parcel: Parcel) -> None:
        with self.world.lock:
            self._serial += 1
            order = float(self._serial)
            if self._rng.random() < self.chaos.reorder:
                order += self._rng.uniform(0, 20)
            heapq.heappush(self._heap, (due, order, self._serial, parcel))
        self.wake.set()

    def next_due(self) -> datetime | None:
        with self.world.lock:
            return self._heap[0][0] if self._heap else None

    def deliver(self) -> int:
        """Send everything due now, and what that causes; the number of posts made."""
        with self._one_at_a_time:
            posts = 0
            while batch := self._due():
                posts += len(batch)
                if self._pool is not None:
                    list(self._pool.map(self._send, batch))
                else:
                    for parcel in batch:
                        self._send(parcel)
            return posts

    def _due(self) -> list[Parcel]:
        with self.world.lock:
            now = self.world.clock()
            batch = []
            while self._heap and self._heap[0][0] <= now:
                batch.append(heapq.heappop(self._heap)[3])
            if not self._heap:
                self._bodies.clear()
            return batch

    def _send(self, parcel: Parcel) -> None:
        with self.world.lock:
            endpoint = self.world.store.find(parcel.endpoint)
            if endpoint is None or endpoint["status"] != "enabled":
                parcel.record.open.discard(parcel.endpoint)
                return
            body = self._body(parcel.record, endpoint)
            now = self.world.clock()
        stamp = int(now.timestamp()) if self.signature_clock == "sandbox" else int(time.time())
        status = self.carry(endpoint["url"], body, sign(body, endpoint["_secret"], stamp))
        with self.world.lock:
            record, n = parcel.record, parcel.tries + 1
            self.log.append(Posted(record.id, record.type, parcel.endpoint, n, status, now))
            if 200 <= status < 300:
                record.open.discard(parcel.endpoint)
                return
            pause = PAUSES[min(parcel.tries, len(PAUSES) - 1)] * self._rng.uniform(0.9, 1.1)
            if self.world.clock() + pause <= parcel.first + GIVE_UP:
                self._push(self.world.clock() + pause, replace(parcel, tries=n))

    def _body(self, record: Record, endpoint: Obj) -> bytes:
        version = endpoint["api_version"] or self.world.settings.version
        key = (record.id, version, endpoint["_thin"], endpoint["_connect"])
        if key not in self._bodies:
            shown = thin(self.world, record) if endpoint["_thin"] else event(self.world, record, version)
            if endpoint["_connect"]:
                shown["account"] = self.world.settings.account
            self._bodies[key] = orjson.dumps(shown, option=orjson.OPT_INDENT_2)
        return self._bodies[key]

    def _post(self, url: str, body: bytes, signature: str) -> int:
        """The HTTP status, or 0. A kept connection that the receiver closed meanwhile is replaced once."""
        parts = urlsplit(url)
        known, place = self._connections, (threading.get_ident(), parts.netloc)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature,
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        target = parts.path + (f"?{parts.query}" if parts.query else "") or "/"
        for connection in (known.pop(place, None), None):
            reused = connection is not None
            connection = connection or http.client.HTTPConnection(parts.netloc, timeout=self.timeout)
            try:
                connection.request("POST", target, body, headers)
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                if reused:
                    continue
                return 0
            if response.will_close:
                connection.close()
            else:
                known[place] = connection
            return response.status
        return 0

    def run(self, stopped: threading.Event) -> None:
        """Automatic mode: deliver whenever something is due, until `stopped`."""
        while not stopped.is_set():
            self.wake.clear()
            if not self.deliver():
                self.wake.wait(0.05 if self.world.clock.speed else 1.0)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        for connection in self._connections.values():
            connection.close()


def wants(endpoint: Obj, record: Record) -> bool:
    if record.thin_only and not endpoint["_thin"]:
        return False
    version = endpoint["api_version"]
    if version is not None and not endpoint["_thin"] and version < EVENT_SINCE.get(record.type, ""):
        return False
    name = f"v1.{record.type}" if endpoint["_thin"] else record.type
    return any(wanted in ("*", name, record.type) for wanted in endpoint["enabled_events"])


def sign(body: bytes, secret: str, stamp: int) -> str:
    """Stripe's header: HMAC-SHA256 over '<t>.<body>' with the whole secret."""
    digest = hmac.new(secret.encode(), b"%d." % stamp + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"
