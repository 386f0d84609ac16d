"""Structured logs without secrets and without people: one redactor for our own lines, every library's, and exceptions.

structlog builds the lines and the standard library's root logger carries them, so dramatiq, SQLAlchemy, uvicorn and
stripe pass the same redactor as we do. A filter in the log collector could not replace it: it would see them first.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from types import TracebackType
from typing import Any, TextIO
from urllib.parse import urlsplit

import structlog
from pydantic import BaseModel, SecretStr
from structlog.typing import Processor

from config.settings import Settings

HIDDEN = "[secret]"
CARD = "[card number]"
ADDRESS = "[e-mail]"
DEEPEST = 6
LONGEST = 8_000

_SECRETS = re.compile(
    r"\b(?:sk|rk|pk)_(?:live|test)_\w+"
    r"|\bwhsec_[\w+/=]+"
    r"|\b(?:Bearer|Basic)\s+[\w.~+/=-]+"
    r"|(?<=://)[^\s/@]*:[^\s/@]*(?=@)"
    r"|(?<=_secret_)\w+"
    r"|\bv1=[0-9a-f]{64}\b"
    r"|(?<=/pay/)[\w-]{43}|(?<=/method/)[\w-]{43}"  # a link to the recovery page, or of a warning
    r"|\brp_[\w-]{43}",  # a token of the API
    re.IGNORECASE,
)
_NAMED = re.compile(r"(?i)\b((?:api[_-]?key|password|passwd|secret|token)[\"']?\s*[=:]\s*[\"']?)([^\s\"',;&)}\]]+)")
_SECRET_NAME = re.compile(r"(?i)(?:^|_)(?:password|secrets?|api_?key|authorization|cookie)$")
_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(?:\.[\w-]+)*\.?[A-Za-z]{2,}")
_DIGITS = re.compile(r"(?<![\w.])\d(?:[ -]?\d){12,18}(?![\w.]|[ -]?\d)")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Redactor:
    """Makes any value safe to log; `known` are secrets to hide wherever they stand, whatever they look like."""

    def __init__(self, known: tuple[str, ...] = ()) -> None:
        longest_first = sorted({secret for secret in known if len(secret) >= 4}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """As a structlog processor: every value, and every name, of one line."""
        return {self.line(str(name)): self._named(str(name), value) for name, value in event.items()}

    def line(self, text: str) -> str:
        """One line without secrets, card numbers, addresses, line breaks and terminal codes."""
        return self._hide(_CONTROL.sub(" ", _ANSI.sub("", text)))[:LONGEST]

    def block(self, text: str) -> str:
        """Several lines; each is set in, so that none can pass for a line of its own."""
        return "\n".join(f"  | {self.line(line)}" for line in text.splitlines())

    def value(self, value: Any, depth: int = 0) -> Any:
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            return CARD if _is_card(str(value)) else int(value)
        if isinstance(value, str):
            return self.line(value)
        if depth < DEEPEST and isinstance(value, Mapping):
            return {self.line(str(name)): self._named(str(name), part, depth + 1) for name, part in value.items()}
        if depth < DEEPEST and isinstance(value, list | tuple | set | frozenset):
            return [self.value(part, depth + 1) for part in value]
        return self.line(value.decode("utf-8", "replace") if isinstance(value, bytes) else repr(value))

    def _named(self, name: str, value: Any, depth: int = 0) -> Any:
        if name in ("exception", "stack") and isinstance(value, str):
            return self.block(value)
        return HIDDEN if value and _SECRET_NAME.search(name) else self.value(value, depth)

    def _hide(self, text: str) -> str:
        if self._known:
            text = self._known.sub(HIDDEN, text)
        text = _NAMED.sub(rf"\1{HIDDEN}", _SECRETS.sub(HIDDEN, text))
        if "@" in text:
            text = _ADDRESS.sub(ADDRESS, text)
        return _DIGITS.sub(lambda found: CARD if _is_card(found[0]) else found[0], text)


def _is_card(text: str) -> bool:
    """13 to 19 digits whose last one fits by Luhn's rule (ISO/IEC 7812-1)."""
    digits = [int(char) for char in text if char.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Send every log line of this process, redacted, to `stream` (standard error); safe to call again."""
    stream = stream or sys.stderr
    machine = settings.log_format == "json" or (settings.log_format == "auto" and not stream.isatty())
    redactor = Redactor(tuple(_secrets_in(settings)))
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _exception_as_text,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if machine
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        )
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(allow=()), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redactor, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for name in ("sqlalchemy", "stripe", "urllib3", "asyncio", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # it warns about every malformed request of anybody
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    logging.raiseExceptions = False  # a line that cannot be formatted would be printed as it is, with its arguments
    sys.excepthook = _uncaught
    threading.excepthook = lambda hook: _uncaught(hook.exc_type, hook.exc_value, hook.exc_traceback)


def _exception_as_text(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The traceback as `exception`, without the values of local variables."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["exception"] = "".join(traceback.format_exception(error)).rstrip()
    return event


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if error is not None and not issubclass(kind, KeyboardInterrupt | SystemExit):
        structlog.get_logger("reprieve").critical("uncaught_exception", exc_info=(kind, error, trace))


def _secrets_in(settings: Settings) -> Iterator[str]:
    """Every secret of the configuration, and the passwords inside its addresses."""
    for value in _plain(settings):
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
            value = value.get_secret_value()
        if isinstance(value, str) and "://" in value and (password := _password(value)):
            yield password


def _password(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:
        return None


def _plain(value: Any) -> Iterator[Any]:
    """Every single value inside a model, its parts and their parts."""
    if isinstance(value, BaseModel):
        value = [getattr(value, name) for name in type(value).model_fields]
    if isinstance(value, list | tuple):
        for part in value:
            yield from _plain(part)
    else:
        yield value
