"""The API on each engine, with one address that is guarded and says whose data it would show."""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.web.harness import NOW, Answer, Client, an_app, in_process
from worker import tokens
from worker.store import Owner
from worker.web.api import Api, Asked, Problem
from worker.web.api import json as as_json

SELF = Owner("self", False)
LIVE = Owner("self", True)


@dataclass
class Door:
    """The guarded address, and a way to make tokens."""

    client: Client
    scope: str = "read:queue"

    def token(self, *scopes: str, owner: Owner = SELF, name: str = "crm", days: int = 30) -> str:
        with self.client.app.db.begin() as db:
            return tokens.create(db, owner, name, scopes or (self.scope,), days, "ann", NOW)

    def knock(self, secret: str | None, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        told = {**({"authorization": f"Bearer {secret}"} if secret is not None else {}), **headers}
        named = [(name.replace("_", "-"), value) for name, value in told.items()]
        return self.client.request(method, "/guarded/in_1", named, [body])


def said(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.body)
    return found


def show(asked: Asked) -> Any:
    if asked.body.get("refuse"):
        raise Problem(409, "taken", "Somebody else has it.")
    return as_json({"account": asked.owner.account, "livemode": asked.owner.livemode, **asked.path, "body": asked.body})


@pytest.fixture
def door(database_url: str) -> Iterator[Door]:
    app = an_app(database_url)
    pages = [Api(app).route("/guarded/{invoice}", "read:queue", show, methods=["GET", "POST"])]
    with in_process(app, pages) as client:
        yield Door(client)


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """The log lines of the test, as values."""
    with capture_logs() as lines:
        yield lines
