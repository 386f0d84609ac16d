"""What the tests of the web process share: a small application, signed events, and ASGI without a network."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import func, select
from starlette.routing import BaseRoute

from config.settings import Settings
from worker import migrate
from worker.app import App
from worker.db import Database
from worker.tables import inbox
from worker.web import server, webhook

SECRET = "whsec_of_these_tests"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
JSON = ("content-type", "application/json; charset=utf-8")


@dataclass
class Bell:
    """Remembers its rings."""

    rings: list[str] = field(default_factory=list)

    def ring(self, name: str) -> None:
        self.rings.append(name)


def an_app(url: str, bell: Any = None, **settings: Any) -> App:
    """The parts of the application that the web process uses, on a database with tables."""
    chosen = {"stripe_webhook_secrets": SECRET, "web_port": 0, **settings}
    db = Database(url)
    if migrate.current(db) is None:
        migrate.upgrade(db)
    parts = SimpleNamespace(settings=Settings(database_url=url, **chosen), db=db, now=lambda: NOW, bell=bell or Bell())
    return cast(App, parts)


def event(event_id: str = "evt_1", **changes: Any) -> bytes:
    """A small snapshot event; a change to None takes the key away."""
    body = {
        "id": event_id,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": 1_795_000_000,
        "data": {"object": {"id": "in_1", "object": "invoice"}},
        "livemode": False,
        "type": "invoice.payment_failed",
        **changes,
    }
    return json.dumps({key: value for key, value in body.items() if value is not None}).encode()


def sign(body: bytes, secret: str = SECRET, at: float | None = None) -> str:
    """The value of Stripe-Signature, made without Stripe's own code."""
    at = int(time.time() if at is None else at)
    return f"t={at},v1={hmac.digest(secret.encode(), f'{at}.'.encode() + body, 'sha256').hex()}"


def rows(db: Database, *ids: str) -> list[Any]:
    """The rows of `inbox`, of these events only if any are named."""
    wanted = select(inbox).order_by(inbox.c.id)
    with db.read() as connection:
        return list(connection.execute(wanted.where(inbox.c.event_id.in_(ids)) if ids else wanted))


def count(db: Database) -> int:
    with db.read() as connection:
        return int(connection.execute(select(func.count()).select_from(inbox)).scalar_one())


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """Talks ASGI to the web application, in the event loop of its own."""

    def __init__(self, app: App, runner: asyncio.Runner, asgi: Any) -> None:
        self.app, self._runner, self._asgi = app, runner, asgi

    def request(
        self,
        method: str = "POST",
        path: str = webhook.PATH,
        headers: Iterable[tuple[str, str | bytes]] = (),
        chunks: Iterable[bytes] = (b"",),
        hang: bool = False,
    ) -> Answer:
        """Send the body in these chunks; with `hang` the end of the body never comes."""
        messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        if not hang:
            messages[-1]["more_body"] = False
        sent: list[Any] = []

        async def receive() -> Any:
            if not messages:
                await asyncio.Event().wait()
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path.partition("?")[0],
            "raw_path": path.partition("?")[0].encode(),
            "root_path": "",
            "query_string": path.partition("?")[2].encode(),
            "scheme": "http",
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "headers": [
                (name.lower().encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
                for name, value in headers
            ],
        }
        self._runner.run(self._asgi(scope, receive, send))
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], found, b"".join(part.get("body", b"") for part in sent[1:]))

    def post(self, body: bytes, signature: str | bytes | None = None) -> Answer:
        """A delivery as Stripe makes it, signed now unless a signature is given."""
        return self.request(headers=[JSON, ("stripe-signature", signature or sign(body))], chunks=[body])


@contextmanager
def in_process(app: App, pages: Iterable[BaseRoute] = ()) -> Iterator[Client]:
    """The web application of `app` between its start-up and its shutdown."""
    asgi = server.asgi(app, list(pages))
    with asyncio.Runner() as runner:
        messages: asyncio.Queue[Any] = asyncio.Queue()
        answers: asyncio.Queue[Any] = asyncio.Queue()

        async def live() -> None:
            await asgi({"type": "lifespan"}, messages.get, answers.put)

        lifespan = runner.get_loop().create_task(live())
        messages.put_nowait({"type": "lifespan.startup"})
        runner.run(answers.get())
        try:
            yield Client(app, runner, asgi)
        finally:
            messages.put_nowait({"type": "lifespan.shutdown"})
            runner.run(asyncio.wait_for(lifespan, 15))
            app.db.close()


def wait_until(holds: Any, seconds: float = 10.0) -> None:
    """Return as soon as `holds()`; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
