"""The time zone in which most people of a country live, read from `country_zones.toml` beside this file.

Stripe tells the country of a card and nothing of its holder's clock. A zone kept with the customer would be better.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

FILE = Path(__file__).with_name("country_zones.toml")


@cache
def zones(file: Path = FILE) -> Mapping[str, str]:
    """Country (ISO 3166, two letters) -> name of the time zone; nothing when the file cannot be read."""
    try:
        with file.open("rb") as opened:
            return MappingProxyType({str(key): str(value) for key, value in tomllib.load(opened)["zones"].items()})
    except (OSError, tomllib.TOMLDecodeError, KeyError, AttributeError):
        return MappingProxyType({})
