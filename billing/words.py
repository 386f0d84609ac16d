"""Numbers in English sentences, for the reasons that operators read; messages to customers have CLDR's own forms."""

from __future__ import annotations

from datetime import timedelta

HOUR = timedelta(hours=1)


def counted(number: int, noun: str) -> str:
    """`1 day`, `3 days`, `2 retries`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {f'{noun[:-1]}ies' if noun.endswith('y') and noun[-2] not in 'aeiou' else f'{noun}s'}"


def are(number: int) -> str:
    """The verb that goes with so many."""
    return "is" if number == 1 else "are"


def span(time: timedelta) -> str:
    """`2 days`, or `36 hours` where it is no whole number of days."""
    if time and not time % timedelta(days=1):
        return counted(time.days, "day")
    return "1 hour" if time == HOUR else f"{time / HOUR:g} hours"
