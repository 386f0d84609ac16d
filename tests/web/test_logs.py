"""Canaries: no secret, card number or person reaches a log line, by whatever way it came."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog

from config.settings import Settings
from worker import logs

CANARIES = {
    "secret key": "sk_live_51CanaryCanary",
    "restricted key": "rk_test_51CanaryCanary",
    "signing secret": "whsec_CanaryCanary+/=",
    "bearer": "Bearer canary.canary-canary",
    "password in an address": "postgresql://app:canary-pw@db/reprieve",
    "password without a name": "redis://:canary-pw@db:6379/0",
    "client secret": "pi_3Abc_secret_CanaryCanary",
    "signature": "v1=" + "c0ffee00" * 8,
    "named": "password=canary-pw, api_key: canary-pw",
    "card number": "4242424242424242",
    "card number in groups": "4242 4242 4242 4242",
    "card number with dashes": "5555-5555-5555-4444",
    "American Express": "378282246310005",
    "address": "canary.bird+1@mail.example.com",
    "our own mail password": "c4n4ry!",
    "our own database password": "cana%20ry",
}
GONE = ("Canary", "canary", "c0ffee", "42424242", "4242 4242", "5555-5555", "378282246", "c4n4ry", "cana%20ry", "bird")


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    chosen: Literal["json", "console"] = getattr(request, "param", "json")
    secrets = {"database_url": "postgresql://app:cana%20ry@db/reprieve", "smtp_password": "c4n4ry!"}
    return Settings.model_validate({**secrets, "log_format": chosen, "log_level": "debug"})


@pytest.fixture
def output(settings: Settings, logged: Any) -> Iterator[io.StringIO]:
    """Where the lines go; everything that `configure` changes is put back."""
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    before = root.handlers[:], root.level, logging.raiseExceptions, structlog.get_config()
    stream = io.StringIO()
    logs.configure(settings, stream)
    yield stream
    root.handlers[:], level, logging.raiseExceptions, config = before
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    structlog.configure(**config)


def say_everywhere(text: str) -> None:
    """The same text along every way that leads into a log."""
    log = structlog.get_logger("ours")
    log.info(text)
    log.info("event", value=text, inside={"list": [text, {"deep": (text,)}]}, raw=text.encode(), odd=ValueError(text))
    log.info("event", **{text: 1})
    log.bind(bound=text).warning("event")
    for name in ("dramatiq", "sqlalchemy.engine", "uvicorn.error", "stripe"):
        logging.getLogger(name).error("about %s", text)
        logging.getLogger(name).error("about %(x)s", {"x": text})
    try:
        try:
            raise KeyError(text)
        except KeyError as error:
            raise RuntimeError(f"while {text}") from error
    except RuntimeError as error:
        log.exception("failed")
        logging.getLogger("dramatiq.worker").exception("failed")
        sys.excepthook(RuntimeError, error, error.__traceback__)


@pytest.mark.parametrize("settings", ["json", "console"], indirect=True)
@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
def test_a_canary_is_in_no_line(output: io.StringIO, canary: str) -> None:
    say_everywhere(canary)
    written = output.getvalue()
    assert len(written.splitlines()) >= 12
    assert [part for part in GONE if part in written.replace("test_a_canary", "")] == []


NAMES = ["password", "smtp_password", "api_key", "stripe_api_key", "webhook_secret", "Authorization", "cookie"]


@pytest.mark.parametrize("name", NAMES)
def test_a_value_with_the_name_of_a_secret_is_hidden(output: io.StringIO, name: str) -> None:
    structlog.get_logger().info("event", **{name: "plain words"})
    assert json.loads(output.getvalue())[name] == logs.HIDDEN


KEPT = ["in_1QabcDEF", "evt_4242424242424242", "2026-11-18T11:06:40Z", "1795356306", "4900", "1.4242424242424242",
        "4242424242424241", "stripe.com/docs", "12 of 300", "a: b"]  # fmt: skip


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_stays_readable(output: io.StringIO, text: str) -> None:
    structlog.get_logger().info("event", value=text)
    assert json.loads(output.getvalue())["value"] == text


@pytest.mark.parametrize("settings", ["json", "console"], indirect=True)
def test_no_data_makes_a_line_of_its_own(output: io.StringIO) -> None:
    forged = "x\r\n2026-11-18 [critical] all is well\u2028\x1b[2J\x1b]0;title\x07\x9b31m\x00"
    structlog.get_logger().info(forged, value=forged)
    logging.getLogger("dramatiq").warning("about %s", forged)
    try:
        raise ValueError(forged)
    except ValueError:
        structlog.get_logger().exception("failed")
    lines = output.getvalue().splitlines()
    assert not any(line.startswith(("2026-11-18", "title")) for line in lines)
    assert not any(char in output.getvalue() for char in "\r\x1b\x00\x07\x9b\u2028")


def test_a_failure_in_a_thread_is_a_log_line(output: io.StringIO) -> None:
    def fail() -> None:
        raise RuntimeError("whsec_CanaryCanary")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    line = json.loads(output.getvalue())
    assert (line["event"], line["level"]) == ("uncaught_exception", "critical")
    assert "Canary" not in output.getvalue()


def test_a_line_that_cannot_be_formatted_prints_nothing(
    output: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("dramatiq").error("%d", "whsec_CanaryCanary")
    assert "Canary" not in output.getvalue() + capsys.readouterr().err
