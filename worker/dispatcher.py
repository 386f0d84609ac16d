"""The sweep: finds every row that is due, whether or not a bell announced it. Every worker process runs one.

There is no leader: claims skip what another worker holds, so any number of sweeps have the effect of one.
"""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import structlog
from sqlalchemy.exc import DBAPIError

from worker import books, flow
from worker.app import App
from worker.db import is_outage
from worker.metrics import SWEEP_FINDS

log = structlog.get_logger(__name__)


def sweep(app: App, hands: int = 1) -> int:
    """Do all that is due now, with as many hands at once; how many rows were found."""
    found = {"inbox": flow.handle_inbox(app)}
    if hands == 1:
        found["actions"] = flow.perform_due(app)
    else:
        with ThreadPoolExecutor(hands, "sweep") as pool:
            found["actions"] = sum(pool.map(lambda _: flow.perform_due(app), range(hands)))
    found["inbox"] += flow.handle_inbox(app)
    found["books"] = books.keep(app)
    for name, number in found.items():
        SWEEP_FINDS.labels(name).inc(number)
    return sum(found.values())


class Dispatcher:
    """Sweeps every `sweep_seconds`, with jitter, until stopped; an outage of the database is waited out."""

    def __init__(self, app: App, rng: random.Random | None = None) -> None:
        self._app = app
        self._rng = rng or random.Random()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 30.0) -> None:
        """Ask for the end and wait for the sweep under way."""
        self._stop.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        hands = 1 if self._app.db.sqlite else max(1, self._app.settings.worker_threads // 2)
        while not self._stop.is_set():
            try:
                sweep(self._app, hands)
            except DBAPIError as error:
                if not is_outage(error):
                    log.exception("sweep_failed")
                else:
                    log.warning("database_away", error=type(error).__name__)
            except Exception:
                log.exception("sweep_failed")
            self._stop.wait(self._app.settings.sweep_seconds * self._rng.uniform(0.8, 1.2))
