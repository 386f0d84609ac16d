"""The merchant's own system: takes webhooks on loopback, remembers them, and misbehaves when told to."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Heard:
    headers: dict[str, str]
    body: bytes


class Listener(ThreadingHTTPServer):
    """Answers `status`; `hang` sends header lines for ever, `silent` nothing at all."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: list[Heard] = []
        self.status, self.hang, self.silent, self.location = 200, False, False, ""
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.over.set()
        self.shutdown()
        self._thread.join(5)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = cast(Listener, self.server)
        body = self.rfile.read(int(self.headers["content-length"]))
        server.heard.append(Heard({name.lower(): value for name, value in self.headers.items()}, body))
        if server.silent:
            server.over.wait(30)
            return
        if server.hang:
            self._drip(server)
            return
        self.send_response(server.status)
        if server.location:
            self.send_header("location", server.location)
        self.send_header("content-length", "0")
        self.end_headers()

    def _drip(self, server: Listener) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not server.over.wait(0.05):
                self.wfile.write(b"x-more: 1\r\n")
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """The test looks at `heard`."""
