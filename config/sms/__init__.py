"""The words of an SMS that no e-mail has: one table per language in `words.toml`, checked at load."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from config.words import FALLBACK as FALLBACK
from config.words import Words, words_in

NAMES = frozenset({"stop"})


@cache
def languages() -> Mapping[str, Words]:
    """The words of every language. Raises ValueError when one lacks a word."""
    return words_in(Path(__file__).parent / "words.toml", NAMES, "SMS words")
