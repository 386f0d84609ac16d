"""Short words for customers that no message template has: a TOML file with one table per language."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Set
from pathlib import Path
from typing import cast

Words = Mapping[str, str]

FALLBACK = "en"


def words_in(file: Path, names: Set[str], what: str) -> Mapping[str, Words]:
    """The words of every language. Raises ValueError when one lacks a word, or has one that nothing asks for."""
    found = cast(Mapping[str, Words], tomllib.loads(file.read_text(encoding="utf-8")))
    for language, words in found.items():
        if words.keys() != names:
            raise ValueError(f"{what} in {language}: {', '.join(sorted(words.keys() ^ names))}")
    return found
