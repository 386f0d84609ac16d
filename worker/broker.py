"""Bells between processes: Dramatiq on Redis, or on its stub broker inside one process.

A bell only says where to look. Every message may be lost, doubled or forged without any effect but time, because the
row decides (reliability.md D1, D32, D33). RabbitMQ works as Dramatiq's other broker in this one file.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import dramatiq
import redis
import structlog
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AgeLimit, Middleware
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.metrics import BELLS, Messages

os.environ.setdefault("dramatiq_queue_prefetch", "1")

log = structlog.get_logger(__name__)

NAMESPACE = "reprieve"
FRESH_MS = 600_000  # a bell older than ten minutes has long been answered by a sweep
HEARTBEAT_MS = 30_000
PATIENCE = 0.2  # seconds that anybody waits for Redis to take a bell
# Which actor answers which bell; the queue has the name of the bell.
ACTORS = {"inbox": "handle_inbox", "actions": "perform_due", "books": "keep_books"}


def middleware() -> list[Middleware]:
    """All that may happen around a message: no retries, no time limits, no results."""
    return [AgeLimit(max_age=FRESH_MS), Messages()]


def redis_broker(url: str) -> RedisBroker:
    """The broker that a worker process consumes from. Dead workers' bells are taken over at once, not by luck."""
    return RedisBroker(  # type: ignore[no-untyped-call]  # dramatiq leaves its brokers untyped
        url=url,
        namespace=NAMESPACE,
        middleware=middleware(),
        heartbeat_timeout=HEARTBEAT_MS,
        maintenance_chance=1_000_000,
    )


class RedisBell:
    """Rings through Redis; gives up after 200 ms and never raises."""

    def __init__(self, url: str) -> None:
        client = redis.Redis.from_url(
            url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 0)
        )
        self._broker = RedisBroker(client=client, namespace=NAMESPACE, middleware=[])  # type: ignore[no-untyped-call]
        for queue in ACTORS:
            self._broker.declare_queue(queue)

    def ring(self, name: str) -> None:
        try:
            self._broker.enqueue(_message(name))
            BELLS.labels(name, "rung").inc()
        except (redis.RedisError, dramatiq.DramatiqError, OSError) as error:
            BELLS.labels(name, "failed").inc()
            log.warning("bell_failed", bell=name, error=type(error).__name__)


class LocalBroker(StubBroker):
    """The stub broker for real use in one process: it forgets dead messages instead of keeping them for ever."""

    def __init__(self) -> None:
        super().__init__(middleware=middleware())
        self.emit_after("process_boot")

    def forget_the_dead(self) -> None:
        for dead in self.dead_letters_by_queue.values():
            dead.clear()


class LocalBell:
    """Rings inside the process; a bell that still hangs unanswered is not rung again."""

    def __init__(self, broker: LocalBroker) -> None:
        self._broker = broker
        self._lock = threading.Lock()
        for queue in ACTORS:
            broker.declare_queue(queue)

    def ring(self, name: str) -> None:
        with self._lock:
            self._broker.forget_the_dead()
            if self._broker.queues[name].qsize() == 0:
                self._broker.enqueue(_message(name))
                BELLS.labels(name, "rung").inc()


class NoBell:
    """For commands that end at once, and for tests of the sweep: nobody is told."""

    def ring(self, name: str) -> None:
        return None


def _message(name: str) -> dramatiq.Message[Any]:
    return dramatiq.Message(queue_name=name, actor_name=ACTORS[name], args=(), kwargs={}, options={})
