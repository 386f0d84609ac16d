"""The timetable of a policy's messages for people to read: every step with its time, way, audience and conditions.

A pure function over the policy; which of the steps a real case gets, and when, is worked out in `due.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from billing.notices.sequence import BACKWARDS, WHEN, On, Only, Planned, Sequence, span
from billing.policy import Policy

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Row:
    """One step. `day` counts from the first failure; None where it depends on what happens."""

    day: float | None
    when: str
    step: str
    says: str  # the template, or the wall that begins
    via: str
    to: str
    only: str


def timetable(policy: Policy) -> tuple[Row, ...]:
    """The steps by day, then those that wait for something to happen, in the order of the file."""
    rows = [_row(step, policy) for step in policy.sequence.steps]
    dated = sorted((row for row in rows if row.day is not None), key=lambda row: row.day or 0)
    return (*dated, *(row for row in rows if row.day is None))


def rules(policy: Policy) -> tuple[str, ...]:
    """What holds for all messages of the policy, one sentence each."""
    return tuple(_rules(policy.sequence, policy))


def _row(step: Planned, policy: Policy) -> Row:
    day = None
    if step.on is On.FAILURE:
        day = max(step.after, timedelta(0) if step.wall else policy.sequence.silent) / DAY
    elif step.on is On.BEFORE_DEADLINE:
        day = (policy.window - step.after) / DAY
    return Row(
        None if day is None else round(day, 2),
        _when(step),
        step.name,
        step.wall or step.template.value,
        ", ".join(step.via),
        "" if step.wall else ", ".join(step.audience),
        "; ".join(_conditions(step.only)),
    )


def _when(step: Planned) -> str:
    if not step.after:
        return f"at once {WHEN[step.on]}" if step.on not in BACKWARDS else f"at the time {WHEN[step.on]}"
    return f"{span(step.after)} {WHEN[step.on]}"


def _conditions(only: Only) -> Iterator[str]:
    if only.declines:
        yield f"declined as {', '.join(sorted(only.declines))}"
    for limits, word in ((only.min_amount, "at least"), (only.max_amount, "at most")):
        if limits:
            amounts = ", ".join(f"{minor} {currency}" for currency, minor in sorted(limits.items()))
            yield f"{word} {amounts} (minor units)"
    if only.products:
        yield f"subscribed to {', '.join(sorted(only.products))}"
    if only.countries:
        yield f"in {', '.join(sorted(only.countries))}"
    if only.min_tenure is not None:
        yield f"a customer for {span(only.min_tenure)} or longer"
    if only.max_tenure is not None:
        yield f"a customer for {span(only.max_tenure)} at most"
    if only.engaged is not None:
        yield "was on the recovery page" if only.engaged else "was not on the recovery page"


def _rules(sequence: Sequence, policy: Policy) -> Iterator[str]:
    yield f"The recovery window is {span(policy.window)}; what would come after it is not sent."
    if sequence.silent:
        yield f"Silent for {span(sequence.silent)} after the failure."
    if sequence.patient > sequence.silent:
        yield f"Silent for {span(sequence.patient)} where a fault between the banks was the reason."
    if sequence.hold:
        yield f"A message waits for an attempt that is due within {span(sequence.hold)}."
    if sequence.quiet:
        yield f"None between {_clock(sequence.quiet[0])} and {_clock(sequence.quiet[1])} on the customer's clock."
    if sequence.weekdays:
        yield "None on Saturdays and Sundays."
    if sequence.at_most:
        yield f"At most {sequence.at_most} that ask for money to one address in {span(sequence.per)}."
    if sequence.merge:
        yield "Several open invoices of a customer are one message that names them all."
    yield "Each step is sent once at most; after a payment, a cancellation or a hold none that asks is sent."


def _clock(hour: float) -> str:
    minutes = round(hour * 60)
    return f"{minutes // 60:02}:{minutes % 60:02}"
