"""GET /v1/entitlement/{customer}, and the same for up to 100 customers at once; docs/entitlement.md."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson
from starlette.responses import Response
from starlette.routing import BaseRoute

from billing.entitlement import UNKNOWN
from worker import entitlement
from worker.app import App
from worker.store import Owner
from worker.web.api import Api, Asked, Problem

SCOPE = "read:entitlement"
MOST = 100
LONGEST_NAME = 255
SECONDS = 30  # an answer may be this old


def routes(app: App, api: Api) -> list[BaseRoute]:
    pages = Entitlements(app)
    return [
        api.route("/v1/entitlement/{customer}", SCOPE, pages.one),
        api.route("/v1/entitlement", SCOPE, pages.many),
    ]


class Entitlements:
    def __init__(self, app: App) -> None:
        self._app = app

    def one(self, asked: Asked) -> Response:
        return _answer(asked, self._of(asked.owner, [asked.path["customer"]])[0])

    def many(self, asked: Asked) -> Response:
        named = list(dict.fromkeys(asked.query.getlist("customer")))
        if not named or len(named) > MOST:
            raise Problem(400, "bad_customers", f"Name 1 to {MOST} customers: ?customer=cus_1&customer=cus_2.")
        return _answer(asked, {"data": self._of(asked.owner, named)})

    def _of(self, owner: Owner, named: Sequence[str]) -> list[dict[str, Any]]:
        if any(not name.isprintable() or not 0 < len(name) <= LONGEST_NAME for name in named):
            raise Problem(400, "bad_customers", "A customer is named by its id at Stripe.")
        with self._app.db.read() as db:
            found = entitlement.of_customers(self._app, db, owner, named)
            if self._app.settings.entitlement_unknown == "blocked":
                found |= dict.fromkeys(entitlement.unknown(db, owner, named), UNKNOWN)
        return [entitlement.shown(owner, name, found[name]) for name in named]


def _answer(asked: Asked, body: Any) -> Response:
    text = orjson.dumps(body)
    tag = f'"{hashlib.sha256(text).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": f"private, max-age={SECONDS}", "vary": "Authorization"}
    if tag in (each.strip() for each in asked.headers.get("if-none-match", "").split(",")):
        return Response(None, 304, headers)
    return Response(text, 200, headers, "application/json")
