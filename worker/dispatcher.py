"""The sweep: finds every row that is due, whether or not a bell announced it. Every worker process runs one.

There is no leader: claims skip what another worker holds, so any number of sweeps have the effect of one. What is
done by the hour, the day and the week has threads of its own, so that it keeps nobody waiting.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from sqlalchemy.exc import DBAPIError

from worker import books, digest, flow, outgoing, queue_review, reconcile, refit
from worker.ahead import plan
from worker.app import App
from worker.db import is_outage
from worker.metrics import SWEEP_FINDS

log = structlog.get_logger(__name__)


def sweep(app: App, hands: int = 1) -> int:
    """Do all that is due now, with as many hands at once; how many rows were found."""
    app.policies.refresh()
    found = {"inbox": flow.handle_inbox(app)}
    if hands == 1:
        found["actions"] = flow.perform_due(app)
    else:
        with ThreadPoolExecutor(hands, "sweep") as pool:
            found["actions"] = sum(pool.map(lambda _: flow.perform_due(app), range(hands)))
    found["inbox"] += flow.handle_inbox(app)
    found["books"] = books.keep(app)
    found["queue"] = queue_review.run_due(app)
    for name, number in found.items():
        SWEEP_FINDS.labels(name).inc(number)
    return sum(found.values())


def rarely(work: Callable[[], object], seconds: float = 60.0) -> Callable[[], object]:
    """The same work, done at most once in so many seconds: what is due once a day need not be asked for each sweep."""
    done: list[float] = []

    def sometimes() -> object:
        if done and time.monotonic() < done[0] + seconds:
            return None
        done[:] = [time.monotonic()]
        return work()

    return sometimes


class Dispatcher:
    """Sweeps every `sweep_seconds`, with jitter, until stopped; an outage of the database is waited out."""

    def __init__(self, app: App, rng: random.Random | None = None) -> None:
        self._app = app
        self._rng = rng or random.Random()
        self._stop = threading.Event()
        hands = 1 if app.db.sqlite else max(1, app.settings.worker_threads // 2)
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
            for name, work in (
                ("dispatcher", lambda: sweep(app, hands)),
                ("reconciler", lambda: reconcile.run_due(app)),
                ("ahead", rarely(lambda: plan.run_due(app))),
                ("digest", lambda: digest.send_due(app)),
                ("outgoing", lambda: outgoing.send_due(app)),
                ("learner", lambda: refit.run_due(app)),
            )
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 30.0) -> None:
        """Ask for the end and wait for the sweep under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout)

    def _run(self, work: Callable[[], object]) -> None:
        while not self._stop.is_set():
            try:
                work()
            except DBAPIError as error:
                if not is_outage(error):
                    log.exception("sweep_failed")
                else:
                    log.warning("database_away", error=type(error).__name__)
            except Exception:
                log.exception("sweep_failed")
            self._stop.wait(self._app.settings.sweep_seconds * self._rng.uniform(0.8, 1.2))
