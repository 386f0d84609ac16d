"""Steering the sandbox from another process: POST /_sandbox/<command> with a JSON body.

Times are ISO 8601. The commands are the Python API of `Sandbox`, name by name; `COMMANDS` at the end lists them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from sandbox import issuer
from sandbox.errors import StripeError
from sandbox.events import iso
from sandbox.idempotency import Answer
from sandbox.world import Dunning

if TYPE_CHECKING:
    from sandbox.sandbox import Sandbox

Body = dict[str, Any]


class Control:
    """Runs commands in a thread of their own, because a move of the clock may take long."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def handle(self, path: str, raw: bytes) -> Answer:
        command = COMMANDS.get(path.removeprefix("/_sandbox/"))
        if command is None:
            return _json(404, {"error": "no such command", "commands": sorted(COMMANDS)})
        try:
            body = orjson.loads(raw) if raw else {}
            return _json(200, await asyncio.to_thread(command, self._sandbox, body))
        except (ValueError, KeyError, TypeError, StripeError) as wrong:
            return _json(400, {"error": f"{type(wrong).__name__}: {wrong}"})


def _json(status: int, body: object) -> Answer:
    return Answer(status, orjson.dumps(body))


def _clock(sandbox: Sandbox, body: Body) -> Body:
    """{} reads; {"to": iso} or {"seconds": n} moves; "deliver": true delivers on the way."""
    if "to" in body:
        sandbox.advance(datetime.fromisoformat(body["to"]), deliver=body.get("deliver", False))
    elif "seconds" in body:
        sandbox.advance(timedelta(seconds=body["seconds"]), deliver=body.get("deliver", False))
    return {"now": iso(sandbox.clock())}


def _deliver(sandbox: Sandbox, _: Body) -> Body:
    return {"posts": sandbox.deliver()}


def _resend(sandbox: Sandbox, body: Body) -> Body:
    sandbox.delivery.resend(body["event"], body["endpoint"])
    return {}


def _faults(sandbox: Sandbox, body: Body) -> Body:
    """A fault's fields; {"clear": true} empties the script."""
    if body.get("clear"):
        sandbox.faults.clear()
    else:
        sandbox.faults.add(**body)
    return {"script": [asdict(fault) for fault in sandbox.faults.script]}


def _issuer(sandbox: Sandbox, body: Body) -> Body:
    """{"payment_method", "code", "until", "challenge", "settles_after_days"}; no code means fine."""
    spells: tuple[issuer.Spell, ...] = ()
    if code := body.get("code"):
        until = datetime.fromisoformat(body["until"]) if body.get("until") else None
        spells = (issuer.Spell(code, until=until),)
    days = body.get("settles_after_days")
    behaviour = issuer.Behaviour(spells, body.get("challenge", "no"), timedelta(days=days) if days else None)
    sandbox.issuer.set(body["payment_method"], behaviour)
    return {}


def _dispute(sandbox: Sandbox, body: Body) -> Body:
    """{"charge", "reason"} opens one, {"dispute", "status"} closes it."""
    if "dispute" in body:
        return {"dispute": sandbox.close_dispute(body["dispute"], body["status"])["id"]}
    return {"dispute": sandbox.dispute(body["charge"], body.get("reason", "fraudulent"))["id"]}


def _authenticate(sandbox: Sandbox, body: Body) -> Body:
    return {"outcome": sandbox.authenticate(body["payment_intent"], body.get("success", True))}


def _money(sandbox: Sandbox, _: Body) -> Body:
    return {"movements": [asdict(movement) for movement in sandbox.bank.movements]}


def _endpoint(sandbox: Sandbox, body: Body) -> Body:
    made = sandbox.add_endpoint(**body)
    return {"id": made.id, "secret": made.secret}


def _state(sandbox: Sandbox, _: Body) -> Body:
    return {"now": iso(sandbox.clock()), "hostile": sandbox.world.settings.hostile, "crashes": sandbox.crashes}


def _settings(sandbox: Sandbox, body: Body) -> Body:
    """Any of hostile, key_ttl (seconds), duplicate, reorder, delay (probabilities), retries (days), end."""
    if "hostile" in body:
        sandbox.world.settings.hostile = body["hostile"]
    if "key_ttl" in body:
        sandbox.keys.ttl = timedelta(seconds=body["key_ttl"])
    chances = {name: body[name] for name in ("duplicate", "reorder", "delay") if name in body}
    sandbox.delivery.chaos = replace(sandbox.delivery.chaos, **chances)
    if "retries" in body or "end" in body:
        retries = tuple(timedelta(days=days) for days in body.get("retries", ()))
        sandbox.dunning = Dunning(retries, end=body.get("end", "past_due"))
    return {}


def _company(sandbox: Sandbox, body: Body) -> Body:
    """{"subscriptions", "seed"}: fill the sandbox with a company."""
    from sandbox import company

    built = company.build(sandbox, **body)
    return {"subscriptions": len(built.subscriptions), "troubled": len(built.troubled)}


COMMANDS: dict[str, Callable[[Sandbox, Body], Body]] = {
    "clock": _clock,
    "deliver": _deliver,
    "resend": _resend,
    "faults": _faults,
    "issuer": _issuer,
    "dispute": _dispute,
    "authenticate": _authenticate,
    "money": _money,
    "endpoints": _endpoint,
    "state": _state,
    "settings": _settings,
    "company": _company,
}
