"""A listening loopback socket with its own event loop in a thread.

uvicorn's protocol is used without its server, because a server that polls for its end ten times a second makes a
suite of a hundred sandboxes slow, and because scripted faults need the connection itself.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sandbox.server import TRANSPORT


class Protocol(HttpToolsProtocol):
    """Hands the connection to the application, so that a fault can cut it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


class Listener:
    """Serves `app` on 127.0.0.1 until `stop`; port 0 takes a free one."""

    def __init__(self, app: Any, port: int = 0) -> None:
        self._app = app
        self._socket = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port: int = self._socket.getsockname()[1]
        self._loop = uvloop.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        config = uvicorn.Config(
            self._app, http=Protocol, log_level="error", access_log=False, lifespan="off", timeout_keep_alive=75
        )
        config.load()
        state = ServerState()

        def connection() -> Protocol:
            return Protocol(config=config, server_state=state, app_state={}, _loop=self._loop)

        server = self._loop.run_until_complete(self._loop.create_server(connection, sock=self._socket))
        self._loop.call_soon(self._ready.set)
        self._loop.run_forever()
        server.close()
        for open_connection in list(state.connections):
            open_connection.transport.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
