"""The words of an SMS that no e-mail has: one table per language in `words.toml`, checked at load."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import cast

Words = Mapping[str, str]

NAMES = frozenset({"stop"})
FALLBACK = "en"


@cache
def languages() -> Mapping[str, Words]:
    """The words of every language. Raises ValueError when one lacks a word."""
    found = cast(Mapping[str, Words], tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8")))
    for language, words in found.items():
        if words.keys() != NAMES:
            raise ValueError(f"SMS words in {language}: {', '.join(sorted(words.keys() ^ NAMES))}")
    return found
