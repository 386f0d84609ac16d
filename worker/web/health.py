"""/healthz, /readyz and /metrics: whether the process lives, whether it can do its work, and what it counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from worker import metrics, migrate
from worker.app import App
from worker.intake import Writer

SECONDS = 2.0
"""A check that takes longer is a check that failed."""


@dataclass(slots=True)
class Health:
    """The three addresses. A check raises or returns False when it does not hold."""

    app: App
    writer: Writer
    head: str | None = field(default_factory=migrate.head)
    _running: asyncio.Future[dict[str, bool]] | None = None

    def routes(self) -> list[Route]:
        return [
            Route("/healthz", self.healthz, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
            Route("/metrics", self.metrics(), methods=["GET"]),
        ]

    async def healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        """200 when every check holds, else 503; the body names each check."""
        checks = await self._checked()
        ready = all(checks.values())
        named = {name: "ok" if holds else "failed" for name, holds in checks.items()}
        return JSONResponse(
            {"status": "ok" if ready else "failed", "checks": named}, 200 if ready else 503, {"retry-after": "5"}
        )

    def metrics(self) -> Callable[[Request], Response]:
        installation = metrics.Installation(self.app.db, self.app.now)

        def answer(_: Request) -> Response:
            return Response(metrics.render(installation), media_type=metrics.CONTENT_TYPE)

        return answer

    async def _checked(self) -> dict[str, bool]:
        # One look at a time: a database that hangs must not collect waiting threads.
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(asyncio.to_thread(self._look))
        try:
            database = await asyncio.wait_for(asyncio.shield(self._running), SECONDS)
        except TimeoutError:
            database = {"database": False, "schema": False}
        return {**database, "writer": self.writer.alive}

    def _look(self) -> dict[str, bool]:
        try:
            with self.app.db.read() as db:
                db.execute(text("SELECT 1"))
            return {"database": True, "schema": migrate.current(self.app.db) == self.head}
        except Exception:
            return {"database": False, "schema": False}
