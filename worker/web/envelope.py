"""Read the envelope of a verified body, as far as a row of `inbox` needs it; what the event means is read later.

Snapshot events (`object: event`) and thin events (`object: v2.core.event`) are told apart here and nowhere earlier.
Pydantic models would replace this, at ten times the cost per event.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import orjson

from config.settings import Account
from worker.intake import Received

DEEPEST = 64
_SPACES = b" \t\r\n"
_NAME = re.compile(r"[A-Za-z0-9_.:\-]{1,255}")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


class BadBody(Exception):
    """The body is signed, and still not an event."""


def read(body: bytes, verified: Account, now: datetime) -> Received:
    """The row for one signed body. `verified` is the account whose secret signed it. Raises BadBody."""
    event = _parse(body)
    event_id, kind, livemode = _name(event, "id"), _name(event, "type"), event.get("livemode")
    if event.get("object", "event") not in ("event", "v2.core.event"):
        raise BadBody("this is not an event")
    if not isinstance(livemode, bool):
        raise BadBody("livemode must be true or false")
    api_version = event.get("api_version")
    foreign = livemode != verified.livemode
    return Received(
        account=_owner(event, verified),
        livemode=livemode,
        event_id=event_id,
        type=kind,
        api_version=api_version if isinstance(api_version, str) and _NAME.fullmatch(api_version) else None,
        created_at=_instant(event.get("created")),
        received_at=now,
        body=body,
        state="ignored" if foreign else "received",
        because=_FOREIGN[livemode] if foreign else None,
    )


_FOREIGN = {True: "live event sent to a test endpoint", False: "test event sent to a live endpoint"}


def _parse(body: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(body)
    except ValueError as error:
        raise BadBody("the body is not JSON") from error
    if not isinstance(event, dict):
        raise BadBody("the body is not a JSON object")
    if not _plain(body, event) and _keys(event) != _keys_written(body):
        raise BadBody("the same key stands twice in one object")
    return event


def _plain(body: bytes, event: dict[str, Any]) -> bool:
    """Whether printing the event again gives the same text, which then has no key twice, and is not deep either.

    Spaces are taken out of strings as well, on both sides: that changes no quote and no colon. Most bodies are plain;
    another way to write a number or a letter is not, and then the keys are counted.
    """
    if body.count(b"{") + body.count(b"[") > DEEPEST:
        return False
    return body.translate(None, _SPACES) == orjson.dumps(event).translate(None, _SPACES)


def _keys_written(body: bytes) -> int:
    """How many keys the text has: each ends in a quote and a colon, which inside a string need a backslash."""
    dense = body.translate(None, _SPACES)
    if b'\\":' in dense:
        return _STRING.sub(b"", body).count(b":")  # exact, and slower
    return dense.count(b'":')


def _keys(event: dict[str, Any]) -> int:
    """How many keys all objects have together, level by level; raises BadBody when there are too many levels."""
    count = 0
    level: list[Any] = [event]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for part in level:
            if type(part) is dict:
                count += len(part)
                inner += [value for value in part.values() if type(value) is dict or type(value) is list]
            else:
                inner += [value for value in part if type(value) is dict or type(value) is list]
        if not inner:
            return count
        level = inner
    raise BadBody("the body is nested too deeply")


def _name(event: dict[str, Any], key: str) -> str:
    value = event.get(key)
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise BadBody(f"{key} is missing or not a name")
    return value


def _owner(event: dict[str, Any], verified: Account) -> str:
    """The connected account the event is about, else the account that signed it."""
    if event.get("account") is not None:
        return _name(event, "account")
    context = event.get("context")
    if isinstance(context, str) and _NAME.fullmatch(innermost := context.rpartition("/")[2]):
        return innermost
    return verified.id


def _instant(created: Any) -> datetime | None:
    """Unix seconds of a snapshot event, ISO 8601 of a thin one, and None for what nobody can read."""
    try:
        if isinstance(created, str):
            at = datetime.fromisoformat(created)
            return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        if isinstance(created, int) and not isinstance(created, bool):
            return datetime.fromtimestamp(created, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None
