"""A request to the sandbox without a socket, for programs that play it in their own thread.

The application never waits, except for a scripted delay, so its coroutine is driven by hand to its end. An ASGI client
with an event loop would replace this at a hundred times the cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from sandbox.idempotency import Answer
from sandbox.server import TRANSPORT, App


def ask(app: App, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """The whole answer. Raises RuntimeError for a fault that needs a connection or time."""
    path, _, query = target.partition("?")
    scope: dict[str, Any] = {
        "method": method,
        "path": unquote(path),
        "query_string": query.encode("latin-1"),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        "extensions": {TRANSPORT: {"transport": None}},
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    answering = app(scope, receive, send)
    try:
        answering.send(None)
    except StopIteration:
        pass
    else:
        answering.close()
        raise RuntimeError(f"{method} {path}: a delay needs the sandbox over HTTP")
    start, content = sent
    named = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"])
    return Answer(start["status"], content["body"], named)
