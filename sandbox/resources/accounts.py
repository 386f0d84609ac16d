"""GET /v1/account: who the API key belongs to."""

from __future__ import annotations

from sandbox.params import Params
from sandbox.routes import Route
from sandbox.store import Obj
from sandbox.world import World


def retrieve(world: World, _: Params, *_ids: str) -> Obj:
    return {
        "id": world.settings.account,
        "object": "account",
        "business_type": "company",
        "charges_enabled": True,
        "country": world.settings.country,
        "created": 1_577_836_800,
        "default_currency": "usd",
        "details_submitted": True,
        "email": "owner@example.com",
        "metadata": {},
        "payouts_enabled": True,
        "settings": {"dashboard": {"display_name": "Sandbox", "timezone": "Etc/UTC"}},
        "type": "standard",
    }


ROUTES = [Route("GET", "/v1/account", retrieve), Route("GET", "/v1/accounts/{}", retrieve)]
