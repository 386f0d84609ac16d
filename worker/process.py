"""The processes: web, worker, and both in one for the embedded default. Each starts, serves, and stops cleanly.

A process refuses to start on a database that is not at this code's schema, and two embedded processes never share one
SQLite file.
"""

from __future__ import annotations

import fcntl
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import structlog
from dramatiq import Broker, Worker
from sqlalchemy.exc import DBAPIError
from starlette.routing import BaseRoute

from config.settings import Settings
from worker import metrics, migrate
from worker.actors import declare
from worker.app import App, Bell, build, wall_clock
from worker.broker import LocalBell, LocalBroker, NoBell, RedisBell, redis_broker
from worker.dispatcher import Dispatcher

log = structlog.get_logger("reprieve")

LISTEN_MS = 200  # how long an idle thread listens before it looks whether it should stop
STOP_MS = 30_000  # longer than any call to Stripe: what was begun is recorded


class CannotStart(Exception):
    """Something has to be mended first; the message says what and how."""


def web(settings: Settings) -> None:
    """Receive webhooks and show pages until a signal comes."""
    from worker.web.server import serve

    app = _ready(settings, _bell(settings))
    try:
        serve(app, pages=_pages(app))
    finally:
        app.close()


def _pages(app: App) -> list[BaseRoute]:
    """What people see: the operator's pages and the customer's."""
    from worker.web import dashboard, message_pages, method, pay

    return [*dashboard.routes(app), *message_pages.routes(app), *pay.routes(app), *method.routes(app)]


def worker(settings: Settings, metrics_port: int | None = None) -> None:
    """Answer bells and sweep until a signal comes, then finish what is under way."""
    app = _ready(settings, _bell(settings))
    stop = _until_signalled()
    broker = redis_broker(settings.redis_url.get_secret_value()) if settings.redis_url else None
    installation = metrics.Installation(app.db, app.now)
    end_metrics = metrics.serve_metrics(metrics_port, installation) if metrics_port else lambda: None
    log.info("worker_started", bells="redis" if broker else "none", mode=settings.mode)
    try:
        with working(app, broker):
            _wait(stop)
    finally:
        end_metrics()
        app.close()
        log.info("worker_stopped")


def embedded(settings: Settings) -> None:
    """Web and worker in this one process, on one SQLite file, until a signal comes."""
    with alone(settings):
        stop = _until_signalled()
        with embedded_app(settings) as (_, url):
            log.info("embedded_started", url=url, mode=settings.mode)
            _wait(stop)


@contextmanager
def embedded_app(
    settings: Settings, now: Callable[[], datetime] = wall_clock, prepare: Callable[[App], None] = lambda _: None
) -> Iterator[tuple[App, str]]:
    """(app, url) of a running embedded installation, its tables made or brought up to date first.

    `prepare` gets the app before any thread works on it.
    """
    from worker.web.server import start_in_thread

    broker = LocalBroker()
    app = build(settings, LocalBell(broker), now=now)
    prepare(app)
    migrate.upgrade(app.db)
    app.policies.load()
    url, end_web = start_in_thread(app, _pages(app))
    try:
        with working(app, broker):
            yield app, url
    finally:
        end_web()
        app.close()


@contextmanager
def working(app: App, broker: Broker | None) -> Iterator[None]:
    """Bells are answered, if there is a broker, and the dispatcher sweeps."""
    hands = 1 if app.db.sqlite else app.settings.worker_threads
    answering = Worker(broker, worker_threads=hands, worker_timeout=LISTEN_MS) if broker else None
    dispatcher = Dispatcher(app)
    if answering and broker:
        declare(broker, app)
        answering.start()
    dispatcher.start()
    try:
        yield
    finally:
        app.stopping.set()
        dispatcher.stop(STOP_MS / 1000)
        if answering and broker:
            answering.stop(STOP_MS)
            broker.close()


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Hold the SQLite file for this process. Raises CannotStart when another one has it."""
    if not settings.sqlite:
        yield
        return
    path = Path(settings.database_url.removeprefix("sqlite:///") + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CannotStart(f"another process works on {settings.database_url}: stop it first") from error
        yield


def _bell(settings: Settings) -> Bell:
    return RedisBell(settings.redis_url.get_secret_value()) if settings.redis_url else NoBell()


def _ready(settings: Settings, bell: Bell) -> App:
    """The app, on a database whose tables are those of this code."""
    app = build(settings, bell)
    try:
        wrong = migrate.mismatch(app.db)
    except DBAPIError as error:
        raise CannotStart(
            f"the database cannot be reached ({type(error).__name__}): check REPRIEVE_DATABASE_URL"
        ) from None
    if wrong:
        raise CannotStart(wrong)
    app.policies.load()
    return app


def _until_signalled() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _wait(stop: threading.Event) -> None:
    """Look up every second: a signal given to another thread is only acted on by a main thread that moves."""
    while not stop.wait(1.0):
        pass
