"""Which signed bodies are events, and which row each becomes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from config.settings import Account
from tests.web.harness import NOW, event
from worker.web.envelope import BadBody, read

TEST = Account.model_validate({"id": "acct_1", "livemode": False})
LIVE = Account.model_validate({"id": "acct_1", "livemode": True})


def deep(levels: int) -> bytes:
    return event(data=None)[:-1] + b', "data": ' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


REFUSED = {
    "nothing": b"",
    "no JSON": b"id=evt_1",
    "half of it": event()[:-1],
    "a list": b"[" + event() + b"]",
    "a string": b'"evt_1"',
    "null": b"null",
    "no id": event(id=None),
    "an empty id": event(id=""),
    "a number as id": event(id=1),
    "an id with NUL": event(id="evt_\0"),
    "an id with a line break": event(id="evt_1\n"),
    "an id of 300 letters": event(id="e" * 300),
    "no type": event(type=None),
    "a list as type": event(type=["x"]),
    "no livemode": event(livemode=None),
    "livemode as text": event(livemode="false"),
    "livemode as number": event(livemode=0),
    "another object": event(object="invoice"),
    "an account that is no name": event(account={"id": "acct_1"}),
    "NaN": event()[:-1] + b', "x": NaN}',
    "Infinity": event()[:-1] + b', "x": -Infinity}',
    "a number of 10,000 digits": event()[:-1] + b', "x": ' + b"9" * 10_000 + b"}",
    "a lone surrogate": event()[:-1] + b', "x": "\\ud800"}',
    "the same key twice": event()[:-1] + b', "id": "evt_2"}',
    "the same key twice, inside": event()[:-1] + b', "x": [{"a" : 1, "a"\n:2}]}',
    "the same key twice, after a quote": event()[:-1] + b', "y": "say \\":", "x": {"a\\\\": 1, "a\\\\": 2}}',
    "the same key twice, and a number that is printed longer": event()[:-1] + b', "x": {"a":1,"a":1E5}}',
    "the same key twice, and spaces": event()[:-1] + b', "x": {"a": "", "a" : "    "}}',
    "the same key twice, among many objects": event(x=[{"n": n} for n in range(99)])[:-1] + b', "id": "evt_1"}',
    "65 levels": deep(64),
    "200,000 levels": deep(200_000),
    "200,000 lists": b"[" * 200_000,
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_a_body_is_refused(body: bytes) -> None:
    with pytest.raises(BadBody):
        read(body, TEST, NOW)


ACCEPTED = {
    "a type of tomorrow": event(type="foo.bar"),
    "no data": event(data=None),
    "no api version": event(api_version=None),
    "an api version that is a list": event(api_version=["x"]),
    "letters and numbers written in another way": event()[:-1] + b', "x": [1E5, 1.50, "\\u00e9", "\\/", "\\":"]}',
    "many objects": event(x=[{"n": n} for n in range(99)]),
    "63 levels": deep(63),
    "quotes and colons inside strings": event(note='{"a": "b"}, "a":, \\": "a\\":'),
    "a backslash at the end of a string": event(note="C:\\"),
    "a huge time": event(created=10**18),
    "a time of letters": event(created="yesterday"),
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_a_body_is_an_event(body: bytes) -> None:
    row = read(body, TEST, NOW)
    assert (row.event_id, row.state, row.body) == ("evt_1", "received", body)


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_the_way_it_is_printed_makes_no_difference(indent: int | str | None) -> None:
    nested = json.loads(event(note="a: b", lines=[{"a": {"b": [1, {"c": None}]}}, {"a": "x"}]))
    assert read(json.dumps(nested, indent=indent).encode(), TEST, NOW).event_id == "evt_1"


OWNERS: list[tuple[dict[str, Any], str]] = [
    ({}, "acct_1"),
    ({"account": "acct_connected"}, "acct_connected"),
    ({"object": "v2.core.event", "context": "acct_connected"}, "acct_connected"),
    ({"object": "v2.core.event", "context": "org_1/acct_inner"}, "acct_inner"),
    ({"object": "v2.core.event", "context": None}, "acct_1"),
    ({"account": "acct_a", "context": "acct_b"}, "acct_a"),
]


@pytest.mark.parametrize(("changes", "owner"), OWNERS)
def test_an_event_belongs_to_an_account(changes: dict[str, Any], owner: str) -> None:
    assert read(event(**changes), TEST, NOW).account == owner


TIMES = [
    (1_795_000_000, datetime(2026, 11, 18, 11, 6, 40, tzinfo=UTC)),
    ("2026-11-18T11:06:40.250Z", datetime(2026, 11, 18, 11, 6, 40, 250_000, tzinfo=UTC)),
    ("2026-11-18T12:06:40+01:00", datetime(2026, 11, 18, 11, 6, 40, tzinfo=UTC)),
    (True, None),
    ("yesterday", None),
    (-(10**30), None),
]


@pytest.mark.parametrize(("created", "at"), TIMES)
def test_the_time_of_both_kinds_of_event_is_read(created: Any, at: datetime | None) -> None:
    assert read(event(created=created), TEST, NOW).created_at == at


def test_an_event_of_the_other_mode_is_kept_and_ignored() -> None:
    row = read(event(), LIVE, NOW)
    assert (row.livemode, row.state, row.because) == (False, "ignored", "test event sent to a live endpoint")
    row = read(event(livemode=True), TEST, NOW)
    assert (row.livemode, row.state, row.because) == (True, "ignored", "live event sent to a test endpoint")
