"""The cold start of the retry model, read from `recovery_priors.toml` beside this file; an operator may edit it."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from billing.retry.model import BadModel, Model, model_of

FILE = Path(__file__).with_name("recovery_priors.toml")


@cache
def priors(file: Path = FILE) -> Model:
    """The model before any case was seen. Raises BadModel."""
    try:
        with file.open("rb") as opened:
            return model_of(tomllib.load(opened))
    except (tomllib.TOMLDecodeError, BadModel) as wrong:
        raise BadModel(f"{file.name}: {wrong}") from wrong
