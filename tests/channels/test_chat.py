"""Chat and SMS: handed over by Apprise, over real HTTP; a room that is away says so, and no address is ever named."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace

import pytest
from pydantic import SecretStr

from tests.channels.conftest import MESSAGE
from tests.channels.listener import Listener
from worker.channels import Handed, Outcome, chat
from worker.channels.chat import Chat, Sms, asks_to_stop

pytest.importorskip("apprise", reason="the optional part reprieve[chat] is not installed")
# One of its many plugins imports it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def room(listener: Listener) -> SecretStr:
    return SecretStr(f"json://127.0.0.1:{listener.server_address[1]}/tok_canary")


def test_every_room_gets_the_message() -> None:
    with Listener() as first, Listener() as second:
        handed = Chat([room(first), room(second)]).send(MESSAGE)
        assert handed.outcome is Outcome.ACCEPTED
        for listener in (first, second):
            told = json.loads(listener.heard[0].body)
            assert told["title"] == MESSAGE.subject


def test_a_room_that_is_away_is_named_by_its_place_and_not_by_its_address(caplog: pytest.LogCaptureFixture) -> None:
    with Listener() as first, Listener() as second, caplog.at_level(logging.DEBUG):
        second.status = 500
        handed = Chat([room(first), room(second), SecretStr("json://127.0.0.1:1/tok_canary")]).send(MESSAGE)
        assert handed.outcome is Outcome.LATER
        assert handed.because == "not taken by chat address 2, 3"
        assert Chat([SecretStr("nonsense")]).send(MESSAGE).outcome is Outcome.LATER
    assert "canary" not in caplog.text


def test_a_room_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "TIMEOUT", 1)
    with Listener() as silent:
        silent.silent = True
        began = time.monotonic()
        assert Chat([room(silent)]).send(MESSAGE).outcome is Outcome.LATER
        assert time.monotonic() - began < 8


def test_an_sms_goes_to_one_number_and_is_not_repeated_when_nobody_knows() -> None:
    with Listener() as service:
        sms = Sms(SecretStr(room(service).get_secret_value() + "/{to}"))
        assert sms.send(replace(MESSAGE, to="+4915112345678")).outcome is Outcome.ACCEPTED
        assert sms.send(replace(MESSAGE, to="ann@example.com")).outcome is Outcome.REJECTED
        assert sms.send(replace(MESSAGE, to="+49/../other")).outcome is Outcome.REJECTED
        service.status = 500
        assert sms.send(replace(MESSAGE, to="+4915112345678")).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("text", "stops"),
    [
        ("STOP", True),
        (" Stop. ", True),
        ("baja", True),
        ("停止", True),
        ("Stop texting me!", True),
        ("please do not stop", False),
        ("", False),
    ],
)
def test_a_stop_word_alone_ends_it(text: str, stops: bool) -> None:
    assert asks_to_stop(text) is stops


def test_an_sms_that_does_not_fit_is_not_cut_off() -> None:
    with Listener() as service:
        sms = Sms(room(service))
        assert sms.send(replace(MESSAGE, to="+4915112345678", text="a" * 481)).outcome is Outcome.REJECTED
        assert service.heard == []


def test_a_service_that_answers_drop_by_drop_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "TOTAL", 1)
    with Listener() as dripping, Listener() as well:
        dripping.hang = True
        began = time.monotonic()
        handed = Chat([room(dripping), room(well)]).send(MESSAGE)
        assert handed == Handed(Outcome.LATER, "not taken by chat address 1")
        assert Sms(room(dripping)).send(replace(MESSAGE, to="+4915112345678")).outcome is Outcome.UNKNOWN
        assert time.monotonic() - began < 8
