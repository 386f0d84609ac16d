"""The words of the recovery page, one TOML file for each language; `{name}` stands for a value.

Beside the messages and not in their catalogues, because operators edit those, and a page that asks for money is ours.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

HERE = Path(__file__).parent
_PLACE = re.compile(r"\{([a-z]+)\}")


def languages() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in HERE.glob("*.toml")))


@cache
def words(language: str) -> Mapping[str, str]:
    """Every sentence of the page in one of `languages()`, by its name."""
    return MappingProxyType(tomllib.loads((HERE / f"{language}.toml").read_text(encoding="utf-8")))


def places(text: str) -> frozenset[str]:
    """The names of the values that a sentence shows."""
    return frozenset(_PLACE.findall(text))


def fill(text: str, **values: str) -> str:
    """The sentence with its values; a value that looks like a place stays text. Raises KeyError for an unknown one."""
    return _PLACE.sub(lambda place: values[place[1]], text)
