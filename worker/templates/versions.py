"""What operators wrote in the place of the shipped texts: versions that never change, and which of them is in force.

Both tables are only added to: a version is a row, and so is each decision to use one. Going back is one more row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, Select, func, select
from sqlalchemy.exc import IntegrityError

from config.messages import Entries, allowed_parts, languages
from worker.db import Database
from worker.templates import check
from worker.templates.tables import template_activation, template_version

SHIPPED = 0  # the version that came with the program
LONGEST_AUTHOR = 200


class NoSuchTemplate(LookupError):
    """There is no message of this name, language or version."""


class BadTemplate(ValueError):
    """The text cannot be used; one line for each mistake."""


@dataclass(frozen=True, slots=True)
class Version:
    language: str
    name: str
    version: int
    parts: Mapping[str, str]
    author: str
    created_at: datetime
    active: bool


@dataclass(frozen=True, slots=True)
class Activation:
    """Who put which version in force, and when; version 0 is the shipped text."""

    version: int
    by: str
    at: datetime


class Versions:
    def __init__(self, db: Database) -> None:
        self._db = db

    def active(self, language: str) -> Entries:
        """The texts in force that replace shipped ones, by name."""
        with self._db.read() as db:
            return {
                row.name: row.parts for row in db.execute(_in_force().where(template_version.c.language == language))
            }

    def listed(self) -> list[Version]:
        """Every version there ever was, by name and language, the oldest first."""
        t = template_version
        with self._db.read() as db:
            active = {row.id for row in db.execute(_in_force())}
            rows = db.execute(select(t).order_by(t.c.name, t.c.language, t.c.version)).all()
        return [_version(row, row.id in active) for row in rows]

    def activations(self) -> dict[tuple[str, str], Activation]:
        """The newest decision of each text, by language and name."""
        a = template_activation
        newest = select(func.max(a.c.id)).group_by(a.c.language, a.c.name)
        with self._db.read() as db:
            rows = db.execute(select(a).where(a.c.id.in_(newest))).all()
        return {(row.language, row.name): Activation(row.version, row.by, row.activated_at) for row in rows}

    def get(self, language: str, name: str, version: int) -> Version:
        """One version. Raises NoSuchTemplate."""
        found = [v for v in self.listed() if (v.language, v.name, v.version) == (language, name, version)]
        if not found:
            raise NoSuchTemplate(f"there is no version {version} of {name} in {language}")
        return found[0]

    def in_force_with(self, language: str, name: str, parts: Mapping[str, str] | None) -> check.Edits:
        """All that would be in force if these parts were, too; None puts the shipped text back."""
        edits = {one: dict(self.active(one)) for one in languages()}
        if parts is None:
            edits[language].pop(name, None)
        else:
            edits.setdefault(language, {})[name] = parts
        return edits

    def check(self, language: str, name: str, parts: Mapping[str, str] | None) -> None:
        """Raise NoSuchTemplate, or BadTemplate with every mistake; None stands for the shipped text."""
        known(language, name)
        _sound(check.guarded(self.in_force_with(language, name, parts)))

    def write(self, language: str, name: str, parts: Mapping[str, str], author: str, now: datetime) -> int:
        """Keep a new version, which is not in force yet; its number. Raises NoSuchTemplate and BadTemplate."""
        self.check(language, name, parts)
        t = template_version
        mine = (t.c.language == language) & (t.c.name == name)
        try:
            with self._db.begin() as db:
                version = 1 + (db.scalar(select(func.max(t.c.version)).where(mine)) or 0)
                row = {"language": language, "name": name, "version": version, "parts": dict(parts)}
                db.execute(t.insert(), {**row, "author": author[:LONGEST_AUTHOR], "created_at": now})
        except IntegrityError:
            raise BadTemplate("somebody else kept a version at the same moment; look at it, and try again") from None
        return version

    def activate(self, language: str, name: str, version: int, by: str, now: datetime) -> None:
        """Put a version in force, after one more check. Raises NoSuchTemplate and BadTemplate."""
        known(language, name)
        self.check(language, name, self.get(language, name, version).parts if version != SHIPPED else None)
        row = {"language": language, "name": name, "version": version, "by": by[:LONGEST_AUTHOR], "activated_at": now}
        with self._db.begin() as db:
            db.execute(template_activation.insert(), row)


def known(language: str, name: str) -> None:
    """Raise NoSuchTemplate unless there can be a text of this name in this language."""
    if language not in languages():
        raise NoSuchTemplate(f"there are no messages in {language!r}; there are in {', '.join(languages())}")
    if not allowed_parts(name):
        raise NoSuchTemplate(f"there is no message, reason or set of words named {name!r}")


def _in_force() -> Select[tuple[int, str, str, int, dict[str, str], str, datetime]]:
    """The versions that the newest activation of their name and language names."""
    a, v = template_activation, template_version
    newest = select(func.max(a.c.id)).group_by(a.c.language, a.c.name)
    same = (a.c.language == v.c.language) & (a.c.name == v.c.name) & (a.c.version == v.c.version)
    return select(v).join(a, same).where(a.c.id.in_(newest))


def _version(row: Row[tuple[int, str, str, int, dict[str, str], str, datetime]], active: bool) -> Version:
    return Version(row.language, row.name, row.version, row.parts, row.author, row.created_at, active)


def _sound(mistakes: list[str]) -> None:
    if mistakes:
        raise BadTemplate("\n".join(mistakes))
