"""How many messages an hour are believable. More of them are a mistake, a bad import say, until a person says no.

A mistake that was mailed cannot be taken back (reliability.md T97), and a day's delay of a reminder costs little.
"""

from __future__ import annotations

AT_LEAST = 500  # messages an hour that never look like a mistake
TIMES = 3  # the busiest hour of the last weeks


def most_in_an_hour(busiest: int, told: int | None) -> int | None:
    """The messages that one account may send in an hour; None when there is no bound.

    `busiest` is the most that it sent in any hour of the last weeks; `told` is the operator's own number, 0 for none.
    """
    if told is not None:
        return told or None
    return max(AT_LEAST, TIMES * busiest)


def too_many(sent: int, most: int | None) -> str:
    """Why no further message may go out; empty when one may. `sent` counts the last hour."""
    if most is None or sent < most:
        return ""
    return f"{sent} messages in an hour: more than {most} look like a mistake"
