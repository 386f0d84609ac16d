"""What holds for every answer: headers that keep browsers in check, and errors that tell nothing of the inside."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
TRANSPORT = (b"strict-transport-security", b"max-age=31536000")

log = structlog.get_logger("reprieve.web")


class Guard:
    """Adds the headers that a page did not set itself, and answers for a page that failed."""

    def __init__(self, app: ASGIApp, headers: Iterable[tuple[bytes, bytes]] = HEADERS) -> None:
        self._app = app
        self._headers = tuple(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                present = {name.lower() for name, _ in message["headers"]}
                missing = (header for header in self._headers if header[0] not in present)
                message = {**message, "headers": [*message["headers"], *missing]}
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        except Exception as error:
            if not started:
                await failed(Request(scope), error)(scope, receive, guarded)


def failed(request: Request, error: Exception) -> Response:
    """A general answer with a reference, under which the log has the particulars."""
    reference = secrets.token_hex(8)
    path = (
        request.scope["route"].path if "route" in request.scope else None
    )  # the pattern: the address may hold a token
    log.error("request_failed", reference=reference, method=request.method, route=path, exc_info=error)
    return PlainTextResponse(f"Something went wrong. Reference: {reference}\n", 500)
