"""A text as a file that an operator edits: which message, in which language, and its parts.

name = "reminder.funds"
language = "de"

[parts]
subject = "..."
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config import messages
from worker.templates.check import place_in
from worker.templates.versions import BadTemplate, known

LONGEST_FILE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Draft:
    name: str
    language: str
    parts: Mapping[str, str]
    source: str = ""

    def placed(self, mistakes: BadTemplate, where: str) -> BadTemplate:
        """The same mistakes with the lines of the file."""
        mine = f"{self.language}/{self.name}/"
        lines = [place_in(self.source, one) if one.startswith(mine) else one for one in str(mistakes).splitlines()]
        return BadTemplate("\n".join(f"{where}: {line}" for line in lines))


def read(path: Path) -> Draft:
    """The draft in a file. Raises BadTemplate and NoSuchTemplate."""
    try:
        if path.stat().st_size > LONGEST_FILE:
            raise BadTemplate(f"{path}: longer than {LONGEST_FILE} bytes")
        source = path.read_text(encoding="utf-8")
        document = tomllib.loads(source)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadTemplate(f"{path}: {error}") from None
    name, language, parts = (document.get(key) for key in ("name", "language", "parts"))
    if not (isinstance(name, str) and isinstance(language, str) and isinstance(parts, dict) and parts):
        raise BadTemplate(f"{path}: name, language and a table [parts] are wanted")
    known(language, name)
    if wrong := messages.mistakes(name, parts):
        raise BadTemplate("\n".join(f"{path}: {line}" for line in wrong))
    return Draft(name, language, parts, source)


def written(draft: Draft) -> str:
    """The draft as a file; `read` gives the same back."""
    lines = [f"name = {_text(draft.name)}", f"language = {_text(draft.language)}", "", "[parts]"]
    return "\n".join([*lines, *(f"{part} = {_text(text)}" for part, text in draft.parts.items())]) + "\n"


def _text(text: str) -> str:
    """A string of TOML; several lines stay several lines, and quotes stay readable where they can."""
    body = "\n".join(json.dumps(line, ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f") for line in text.split("\n"))
    if "\n" not in text and '"' not in text:
        return f'"{body}"'
    if '""' not in text and not text.startswith('"') and not text.endswith('"'):
        body = body.replace('\\"', '"')
    return f'"""\n{body}"""' if "\n" in text else f'"""{body}"""'
