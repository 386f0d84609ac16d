"""The bridges that the dashboard shows, folded in the background: a page never waits long for the books.

A result holds for a minute, and as long after that as no entry was added and the month is the same. A first look
waits a moment; if the fold takes longer, the page says so and the next look finds it. Monthly roll-ups in the database
would replace the fold, not this.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import func, select

from billing.report.bridge import Bridge
from billing.report.period import Period
from worker import report
from worker import tables as t
from worker.app import App
from worker.store import Owner

HOLDS = timedelta(minutes=1)  # of the application's clock, which a demo runs fast
FIRST_LOOK_SECONDS = 2.0

log = structlog.get_logger("reprieve.web")


@dataclass(frozen=True, slots=True)
class Known:
    """One account's bridges of the last full and the present month; `wrong` instead, when the books disagree."""

    bridges: tuple[Bridge, ...]
    at: datetime
    wrong: str = ""

    def by_unit(self) -> list[list[Bridge]]:
        """Currency by currency, the larger first; in each the periods in order of time."""
        found: dict[str, list[Bridge]] = defaultdict(list)
        for bridge in self.bridges:
            found[bridge.unit].append(bridge)
        largest = sorted(found.values(), key=lambda of_one: -of_one[-1].end)
        return [sorted(of_one, key=lambda bridge: bridge.period.start) for of_one in largest]


@dataclass(frozen=True, slots=True)
class _Kept:
    known: dict[Owner, Known]
    newest: tuple[int, str]
    since: datetime


class Bridges:
    """Asks for a fold when the last one is too old, and answers with the last one meanwhile."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._kept: _Kept | None = None
        self._lock = threading.Lock()
        self._folding: threading.Thread | None = None

    def of(self, owner: Owner) -> Known | None:
        """The bridges of an account, None while the first fold is under way."""
        with self._lock:
            folding = self._folding
            if (folding is None or not folding.is_alive()) and not self._good():
                folding = self._folding = threading.Thread(target=self._fold, name="bridges", daemon=True)
                folding.start()
        if self._kept is None and folding is not None:
            folding.join(FIRST_LOOK_SECONDS)
        kept = self._kept
        return kept.known.get(owner, Known((), self._app.now())) if kept else None

    def _good(self) -> bool:
        kept = self._kept
        if kept is None:
            return False
        return abs(self._app.now() - kept.since) < HOLDS or kept.newest == self._newest()

    def _newest(self) -> tuple[int, str]:
        with self._app.db.read() as db:
            newest = db.scalar(select(func.max(t.entry.c.id))) or 0
        return newest, str(self._months()[-1])

    def _months(self) -> list[Period]:
        """The last full month and the present one, where the books are closed."""
        zone = self._app.settings.reporting_timezone
        today = self._app.now().astimezone(ZoneInfo(zone))
        last = today.replace(day=1) - timedelta(days=1)
        return [Period.month(f"{day:%Y-%m}", zone) for day in (last, today)]

    def _fold(self) -> None:
        newest, now = self._newest(), self._app.now()
        try:
            found = report.reported(self._app, self._months())
            known = {each.owner: Known(each.bridges, now) for each in found}
        except (ArithmeticError, ValueError) as error:
            log.error("bridge_failed", because=str(error))
            owners = report.owners(self._app, None)
            known = {owner: Known((), now, str(error)) for owner in owners}
        self._kept = _Kept(known, newest, now)
