"""A sandbox, the official SDK pointed at it, and a receiver that verifies what it is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import stripe

from sandbox import Sandbox

SECRET = "whsec_test"


@pytest.fixture(autouse=True)
def _no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe, "enable_telemetry", False)


@pytest.fixture
def sb() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox
        assert sandbox.crashes == []


# The SDK types nearly every property as optional; the tests say what they expect by asserting on it.
Client = Any


def client_of(sandbox: Sandbox, version: str | None = None) -> Client:
    return stripe.StripeClient(
        "sk_test_x",
        base_addresses={"api": sandbox.url},
        http_client=stripe.RequestsClient(timeout=10),
        stripe_version=version,
    )


def error_of(raised: pytest.ExceptionInfo[Any]) -> Any:
    """The `error` object of the answer."""
    return raised.value.error


def headers_of(raised: pytest.ExceptionInfo[Any]) -> Any:
    return raised.value.headers


@pytest.fixture
def client(sb: Sandbox) -> Client:
    return client_of(sb)


@dataclass
class Receiver:
    """A webhook endpoint with a memory. `answers` are given in order, then 200."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def last(self, type: str) -> dict[str, Any]:
        return next(event for event in reversed(self.events) if event["type"] == type)

    def forget(self) -> None:
        self.bodies.clear()
        self.signatures.clear()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    memory = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            memory.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            memory.signatures.append(self.headers["Stripe-Signature"])
            self.send_response(memory.answers.pop(0) if memory.answers else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    memory.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield memory
    server.shutdown()
    server.server_close()
    thread.join()
