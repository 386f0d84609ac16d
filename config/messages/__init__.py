"""The messages as TOML, one file for each language, read into a `Catalogue`; every gap and slip is named by its key.

TOML, because a translator sees a key, a sentence and nothing else, and any editor can write it (docs/templates.md).
A message has a table `[payment_failed]`; `[payment_failed.authenticate]` says what is different for one reason;
`[reason.funds]` holds what is said about a reason in every message about an unpaid invoice.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from billing.notices.reasons import Reason
from billing.notices.sequence import Step

HERE = Path(__file__).parent

# The four messages that say why: what they say of the reason stands in its own table.
WITH_REASON = (Step.PAYMENT_FAILED, Step.REMINDER, Step.BEFORE_DEADLINE, Step.LAST_DAY)
PARTS = ("subject", "preview", "title", "lead", "why", "otherwise", "ask", "button")
REASON_PARTS = ("why", "ask", "button")
WORDS = (
    *("greeting", "wait", "secure", "because_unpaid", "because_customer", "reply", "write_to"),
    *("amount_due", "amount", "invoice", "card", "next_try", "deadline", "renews_on", "expires"),
    *("card_named", "card_numbered"),
)
_ALL = ("subject", "preview", "title", "lead")
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "words": WORDS,
    **{f"reason.{reason}": REASON_PARTS for reason in Reason},
    **{step.value: (*_ALL, "button") for step in Step},
    **{step.value: _ALL for step in (Step.PAYMENT_FAILED, Step.REMINDER)},
    **{step.value: (*_ALL, "otherwise") for step in (Step.BEFORE_DEADLINE, Step.LAST_DAY)},
    **{
        f"{step}.{reason}": _ALL
        for step in (Step.PAYMENT_FAILED, Step.REMINDER)
        for reason in (Reason.AUTHENTICATE, Reason.OVERDUE)
    },
}

Entries = Mapping[str, Mapping[str, str]]


class BadCatalogue(Exception):
    """A language file cannot be used; one line for each mistake: file, table, key, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One language: table name (`words`, `reason.funds`, `reminder`, `reminder.overdue`) -> part -> text."""

    language: str
    entries: Entries


def languages() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in HERE.glob("*.toml")))


@cache
def shipped(language: str) -> Catalogue:
    """The catalogue that came with this version. Raises BadCatalogue."""
    path = HERE / f"{language}.toml"
    try:
        return parse(language, path.read_text(encoding="utf-8"), path.name)
    except OSError as error:
        raise BadCatalogue(f"{path.name}: {error.strerror}") from error


def parse(language: str, source: str, where: str) -> Catalogue:
    """A whole catalogue in TOML. Raises BadCatalogue with all that is missing or unknown."""
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise BadCatalogue(f"{where}: {error}") from None
    entries = dict(_tables(document))
    wrong = [f"{where}: [{name}]: is missing" for name in REQUIRED if name not in entries]
    for name, parts in entries.items():
        wrong += [f"{where}: [{name}]: {mistake}" for mistake in mistakes(name, parts)]
        wrong += [f"{where}: [{name}] {part}: is missing" for part in REQUIRED.get(name, ()) if part not in parts]
    if wrong:
        raise BadCatalogue("\n".join(wrong))
    return Catalogue(
        language, MappingProxyType({name: MappingProxyType(dict(parts)) for name, parts in entries.items()})
    )


def _tables(document: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Tables with their parts; a table inside one is named with a dot."""
    for name, body in document.items():
        if not isinstance(body, Mapping):
            yield name, {"": str(body)}
            continue
        inner = {key: value for key, value in body.items() if isinstance(value, Mapping)}
        if name != "reason":
            yield name, {key: value for key, value in body.items() if key not in inner}
        yield from ((f"{name}.{key}", value) for key, value in inner.items())


def allowed_parts(name: str) -> tuple[str, ...]:
    """The parts that a table of this name may have; none when there is no such table."""
    step, _, reason = name.partition(".")
    if name == "words":
        return WORDS
    if step == "reason":
        return REASON_PARTS if reason in list(Reason) else ()
    if step not in list(Step) or (reason and (reason not in list(Reason) or Step(step) not in WITH_REASON)):
        return ()
    return PARTS


def mistakes(name: str, parts: Mapping[str, object]) -> list[str]:
    """What is wrong with the shape of one table; what it says is checked by writing it (worker/templates/check.py)."""
    known = allowed_parts(name)
    if not known:
        return ["there is no message, reason or set of words of this name"]
    wrong = [f"{part}: is not a part of it; {', '.join(known)} are" for part in parts if part not in known]
    return wrong + [
        f"{part}: must be a text that is not empty"
        for part, text in parts.items()
        if part in known and not (isinstance(text, str) and text.strip())
    ]
