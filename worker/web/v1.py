"""Every address of the JSON API, in one list; the public one of the in-app wall stands in `worker/web/in_app.py`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from worker.app import App
from worker.web import entitlement, queue_api
from worker.web.api import Api, Asked, Problem, json, told


def routes(app: App) -> list[BaseRoute]:
    """All of them; what is not one is answered as a problem, too."""
    api = Api(app)
    guarded: list[BaseRoute] = [
        api.route("/v1/token", None, who),
        *entitlement.routes(app, api),
        *queue_api.routes(api),
    ]
    return [*guarded, Route("/v1/{rest:path}", unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])]


def who(asked: Asked) -> Response:
    """What the token is good for, to try it out."""
    token = asked.token
    return json(
        {
            "name": token.name,
            "account": token.owner.account,
            "livemode": token.owner.livemode,
            "scopes": token.scopes,
            "expires_at": token.expires_at,
        }
    )


def unknown(_: Request) -> Response:
    return told(Problem(404, "no_such_address", "There is no such address, or not with this method."))
