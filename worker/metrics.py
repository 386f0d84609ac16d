"""What Reprieve counts, for Prometheus: one registry, names `reprieve_*`, no names of customers in any label.

Counters live in the process that counts; what is true of the whole installation is read from the database when
somebody scrapes. Dramatiq's own Prometheus middleware forks a server and forces files on disk, hence `Messages`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dramatiq
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy import Connection, func, select, text

from worker.columns import db_now
from worker.db import Database
from worker.tables import action, attempt, inbox

CONTENT_TYPE = CONTENT_TYPE_LATEST
REGISTRY = CollectorRegistry()
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

INTAKE = Counter("reprieve_intake", "Webhook deliveries by answer.", ["result"], registry=REGISTRY)
INTAKE_SECONDS = Histogram(
    "reprieve_intake_seconds", "Time from the whole request to the commit.", buckets=SECONDS, registry=REGISTRY
)
INTAKE_BATCH = Histogram(
    "reprieve_intake_batch_rows", "Events that shared one commit.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    registry=REGISTRY,
)  # fmt: skip
BELLS = Counter("reprieve_bells", "Bells rung, by bell and outcome.", ["bell", "outcome"], registry=REGISTRY)
SWEEP_FINDS = Counter("reprieve_sweep_finds", "Work that no bell announced, by kind.", ["kind"], registry=REGISTRY)
ATTEMPTS = Counter("reprieve_attempts", "Payment attempts by answer.", ["answer"], registry=REGISTRY)
NOTICES = Counter("reprieve_notices", "Messages handed over, by outcome.", ["outcome"], registry=REGISTRY)
TEMPLATES_PASSED_OVER = Counter(
    "reprieve_templates_passed_over", "Messages sent as shipped, because the operator's text failed.", registry=REGISTRY
)
MESSAGES = Counter("reprieve_messages", "Queue messages by actor and outcome.", ["actor", "outcome"], registry=REGISTRY)
MESSAGE_SECONDS = Histogram(
    "reprieve_message_seconds", "Time an actor took.", ["actor"], buckets=SECONDS, registry=REGISTRY
)

COUNT_UP_TO = 10_000
"""Backlogs are counted to here: a scrape stays cheap on the worst day."""


class Messages(dramatiq.Middleware):
    """Counts queue messages by actor, outcome (done, failed, skipped) and duration."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        self._began[message.message_id] = time.monotonic()

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        self._count(message, "done" if exception is None else "failed")

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        self._count(message, "skipped")

    def _count(self, message: dramatiq.MessageProxy, outcome: str) -> None:
        MESSAGES.labels(message.actor_name, outcome).inc()
        began = self._began.pop(message.message_id, None)
        if began is not None:
            MESSAGE_SECONDS.labels(message.actor_name).observe(time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the installation: an open transaction that reads, and the application's time."""

    db: Connection
    now: datetime


class Installation(Collector):
    """Gauges of the whole installation, one small indexed query each, read at most once in `keep_seconds`."""

    def __init__(self, db: Database, now: Callable[[], datetime], keep_seconds: float = 5.0) -> None:
        self._db = db
        self._now = now
        self._keep = keep_seconds
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._metrics: list[Metric] = []

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if time.monotonic() - self._read_at >= self._keep:
                self._metrics = self._read()
                self._read_at = time.monotonic()
            return iter(self._metrics)

    def _read(self) -> list[Metric]:
        up = GaugeMetricFamily("reprieve_database_up", "Whether the database answered this scrape.")
        try:
            with self._db.read() as db:
                look = Look(db, self._now())
                gauges = [gauge(look) for gauge in GAUGES]
        except Exception:
            up.add_metric([], 0)
            return [up]
        up.add_metric([], 1)
        return [up, *gauges]


# Written out, not bound: a partial index is used only by a query that says the index's own condition.
_RECEIVED = text("state = 'received'")
_QUARANTINED = text("state = 'quarantined'")
_LIVE_ACTION = text("state in ('waiting', 'claimed', 'sending')")
_LIVE_ATTEMPT = text("state in ('sending', 'processing', 'unknown')")


def _inbox_backlog(look: Look) -> Metric:
    waiting = select(inbox.c.id).where(_RECEIVED).limit(COUNT_UP_TO).subquery()
    count = look.db.execute(select(func.count()).select_from(waiting)).scalar_one()
    return GaugeMetricFamily("reprieve_inbox_backlog", f"Events not handled yet, up to {COUNT_UP_TO}.", count)


def _inbox_oldest(look: Look) -> Metric:
    first = select(inbox.c.due_at).where(_RECEIVED).order_by(inbox.c.due_at, inbox.c.id).limit(1)
    due = look.db.execute(first).scalar()
    age = max(0.0, (look.now - due).total_seconds()) if due else 0.0
    return GaugeMetricFamily("reprieve_inbox_oldest_seconds", "How long the oldest event has been due.", age)


def _inbox_quarantined(look: Look) -> Metric:
    waiting = select(inbox.c.id).where(_QUARANTINED).limit(COUNT_UP_TO).subquery()
    count = look.db.execute(select(func.count()).select_from(waiting)).scalar_one()
    return GaugeMetricFamily("reprieve_inbox_quarantined", f"Events nobody could read, up to {COUNT_UP_TO}.", count)


def _actions_due(look: Look) -> Metric:
    due = select(action.c.kind).where(_LIVE_ACTION, action.c.due_at <= look.now).limit(COUNT_UP_TO).subquery()
    gauge = GaugeMetricFamily("reprieve_actions_due", "Actions whose time has come, by kind.", labels=["kind"])
    for kind, count in look.db.execute(select(due.c.kind, func.count()).group_by(due.c.kind)):
        gauge.add_metric([kind], count)
    return gauge


def _oldest_lease(look: Look) -> Metric:
    # `sending` and `claimed` are a handful at any time; `due_at` in the index keeps the future out.
    held = select(func.min(action.c.lease_until), db_now()).where(
        _LIVE_ACTION, action.c.state != "waiting", action.c.due_at <= look.now
    )
    lease, clock = look.db.execute(held).one()
    late = max(0.0, (clock - lease).total_seconds()) if lease else 0.0
    return GaugeMetricFamily("reprieve_lease_overdue_seconds", "How long ago the oldest held lease ran out.", late)


def _attempts_open(look: Look) -> Metric:
    states = ("sending", "processing", "unknown")
    counted = select(attempt.c.state, func.count().label("n")).where(_LIVE_ATTEMPT).group_by(attempt.c.state)
    found = {row.state: row.n for row in look.db.execute(counted)}
    gauge = GaugeMetricFamily("reprieve_attempts_open", "Payment attempts without an end, by state.", labels=["state"])
    for state in states:
        gauge.add_metric([state], found.get(state, 0))
    return gauge


GAUGES: tuple[Callable[[Look], Metric], ...] = (
    _inbox_backlog,
    _inbox_oldest,
    _inbox_quarantined,
    _actions_due,
    _oldest_lease,
    _attempts_open,
)


class _Together(Collector):
    def __init__(self, parts: Iterable[Collector]) -> None:
        self._parts = tuple(parts)

    def collect(self) -> Iterator[Metric]:
        for part in self._parts:
            yield from part.collect()


def render(*more: Collector) -> bytes:
    """Everything counted in this process, and what `more` adds, in Prometheus' text format."""
    together = CollectorRegistry(auto_describe=False)
    together.register(_Together((REGISTRY, *more)))
    return generate_latest(together)


def serve_metrics(port: int, *more: Collector, host: str = "127.0.0.1") -> Callable[[], None]:
    """Answer /metrics of a process that has no web server; returns the function that ends it."""
    together = CollectorRegistry(auto_describe=False)
    together.register(_Together((REGISTRY, *more)))
    server, thread = start_http_server(port, addr=host, registry=together)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(5.0)

    return stop
