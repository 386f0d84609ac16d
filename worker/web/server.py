"""The web process: the webhook endpoint in front of the pages, served by uvicorn.

Uvicorn by itself waits for ever for the rest of a request (encode/uvicorn#157), so a connection here knows its
deadlines. Granian or a proxy that buffers requests would replace `Deadlines`; nothing else depends on uvicorn.
"""

from __future__ import annotations

import asyncio
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from worker.app import App
from worker.intake import Writer
from worker.web import in_app, mail_hooks, sms_hooks, unsubscribe, v1, webhook
from worker.web.guard import HEADERS, TRANSPORT, Guard, failed
from worker.web.health import Health
from worker.web.webhook import Webhook

HEAD_SECONDS = 5.0
REQUEST_SECONDS = 9.0
IDLE_SECONDS = 75
"""A kept-alive connection may rest this long between two requests; Stripe and proxies reuse theirs."""
LONGEST_HEAD = 32 * 1024
MOST_CONNECTIONS = 1_000
STOP_SECONDS = 10


log = structlog.get_logger("reprieve.web")


def asgi(app: App, pages: Sequence[BaseRoute] = ()) -> ASGIApp:
    """The whole web application: the webhook, health and metrics, and `pages` (worker/web/dashboard.py).

    Its lifespan starts and drains the gathering writer.
    """
    writer = Writer(app.db, app.bell)
    hooks = (*mail_hooks.routes(app), *sms_hooks.routes(app), *unsubscribe.routes(app))
    ours = [*Health(app, writer).routes(), *hooks, *in_app.routes(app), *v1.routes(app)]
    inner = Starlette(routes=[*ours, *pages], exception_handlers={Exception: failed})
    headers = (*HEADERS, TRANSPORT) if app.settings.public_url.startswith("https://") else HEADERS
    guarded = Guard(inner, headers)
    endpoint = Webhook(app, writer, headers)

    async def web(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await (endpoint if scope["path"] == webhook.PATH else guarded)(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(writer, receive, send)

    return web


async def _lifespan(writer: Writer, receive: Receive, send: Send) -> None:
    await receive()
    writer.start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.to_thread(writer.stop)
    await send({"type": "lifespan.shutdown.complete"})


def serve(
    app: App,
    stop: threading.Event | None = None,
    pages: Sequence[BaseRoute] = (),
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Answer HTTP until `stop` is set or, in the main thread, a SIGTERM or SIGINT; then finish what is under way.

    `ready` is told the address as soon as it answers; port 0 in the settings chooses a free one.
    """
    stop = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    _Server(app, pages, stop, ready).run()


def start_in_thread(app: App, pages: Sequence[BaseRoute] = ()) -> tuple[str, Callable[[], None]]:
    """Serve from a thread of this process: `(url, stop)`. Raises RuntimeError when the address cannot be had."""
    stop, addresses = threading.Event(), queue.SimpleQueue[str | None]()

    def run() -> None:
        try:
            serve(app, stop, pages, addresses.put)
        except SystemExit:
            pass  # uvicorn's way to say that it cannot listen
        finally:
            addresses.put(None)

    thread = threading.Thread(target=run, name="web", daemon=True)
    thread.start()
    url = addresses.get()
    if url is None:
        raise RuntimeError(f"cannot listen on {app.settings.web_host}:{app.settings.web_port}")

    def end() -> None:
        stop.set()
        thread.join(2 * STOP_SECONDS)

    return url, end


class _Together:
    """A transport that sends what is written in one turn of the loop at once: an answer's head with its body.

    Uvicorn writes them one after the other, and two packets cost both sides twice.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, part: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(part)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))


class Deadlines(HttpToolsProtocol):
    """A connection that must send its head within 5 s and the whole request within 9 s of its first byte."""

    due: float | None = None
    _began = 0.0
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._begin()
        super().connection_made(cast(asyncio.Transport, _Together(transport, self.loop)))

    def data_received(self, data: bytes) -> None:
        if self.due is None:
            self._begin()
        super().data_received(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value)
        if self._head > LONGEST_HEAD:
            raise ValueError("the head of the request is too long")  # uvicorn answers 400 and closes
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self.due = self._began + REQUEST_SECONDS
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.due = None
        super().on_message_complete()

    def _begin(self) -> None:
        self._began = self.loop.time()
        self._head = 0
        self.due = self._began + HEAD_SECONDS


class _Server(uvicorn.Server):
    def __init__(
        self, app: App, pages: Sequence[BaseRoute], stop: threading.Event, ready: Callable[[str], None]
    ) -> None:
        super().__init__(
            uvicorn.Config(
                asgi(app, pages),
                host=app.settings.web_host,
                port=app.settings.web_port,
                loop="uvloop",
                http=Deadlines,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=2_048,
                limit_concurrency=MOST_CONNECTIONS,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self._stop = stop
        self._ready = ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the business of `serve`: uvicorn would raise them again after an orderly end."""
        yield

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        url = f"http://{host}:{port}"
        log.info("web_listening", url=url)
        self._ready(url)

    async def on_tick(self, counter: int) -> bool:
        if counter % 5 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                due = getattr(connection, "due", None)
                if due is not None and due < now:
                    connection.transport.abort()
        return await super().on_tick(counter) or self._stop.is_set()
