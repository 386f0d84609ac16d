"""What has to be installed before a format can be written that only some need, said in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class MissingExtra(LookupError):
    """A format needs a library that is not installed; the message says how to add it."""


@contextmanager
def needed(extra: str, what: str) -> Iterator[None]:
    """Around the import of an optional library. Raises MissingExtra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{what} need {error.name}, which is not installed: `pip install 'reprieve[{extra}]'`, "
            "or choose another --format"
        ) from None
