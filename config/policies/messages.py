"""`[messages]` of a policy file: the sequence of messages, read into `billing.notices.sequence.Sequence`.

Whatever cannot work is refused when the file is read, with the key and the name of the step: a message that would be
due after the window, a template that a language lacks, conditions that no case can meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator

from billing.declines import DeclineClass
from billing.notices.sequence import (
    AHEAD,
    ASKING,
    BACKWARDS,
    Audience,
    On,
    Only,
    Planned,
    Sequence,
    Step,
    Via,
    span,
)
from config import messages as catalogue

Hour = Annotated[float, Field(ge=0, lt=24)]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Currency = Annotated[str, Field(pattern=r"^[a-z]{3}$")]
Minor = Annotated[int, Field(ge=0)]

# What each event may be the time of: thanks only follow a payment, and a reminder of a promise only a promise.
FITS: dict[On, frozenset[Step]] = {
    **dict.fromkeys((On.FAILURE, On.BEFORE_RETRY, On.AFTER_RETRY), ASKING - {Step.LAST_DAY, Step.PROMISE_REMINDER}),
    On.BEFORE_DEADLINE: ASKING - {Step.PROMISE_REMINDER},
    On.PROMISE_DAY: frozenset({Step.PROMISE_REMINDER}),
    On.PROMISE_BROKEN: ASKING - {Step.LAST_DAY},
    On.RECOVERED: frozenset({Step.RECOVERED}),
    On.LOST: frozenset({Step.ENDED}),
    On.LATE_RESCUE: frozenset({Step.LATE_RESCUE}),
}


class _Conditions(BaseModel):
    model_config = {"extra": "forbid", "frozen": True}

    declines: tuple[DeclineClass, ...] = ()
    min_amount: dict[Currency, Minor] = {}
    max_amount: dict[Currency, Minor] = {}
    products: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ()
    countries: tuple[Country, ...] = ()
    min_tenure_days: float | None = Field(None, ge=0)
    max_tenure_days: float | None = Field(None, ge=0)
    engaged: bool | None = None

    @property
    def value(self) -> Only:
        return Only(
            declines=frozenset(self.declines),
            min_amount=MappingProxyType(self.min_amount),
            max_amount=MappingProxyType(self.max_amount),
            products=frozenset(self.products),
            countries=frozenset(self.countries),
            min_tenure=_days(self.min_tenure_days),
            max_tenure=_days(self.max_tenure_days),
            engaged=self.engaged,
        )

    def contradictions(self) -> Iterator[str]:
        for currency, least in self.min_amount.items():
            if least > self.max_amount.get(currency, least):
                yield f"min_amount and max_amount leave no amount in {currency}"
        if self.min_amount and self.max_amount and not set(self.min_amount) & set(self.max_amount):
            yield "min_amount and max_amount name no currency in common"
        if None not in (self.min_tenure_days, self.max_tenure_days) and (
            (self.min_tenure_days or 0) > (self.max_tenure_days or 0)
        ):
            yield "min_tenure_days is more than max_tenure_days"


class _Step(BaseModel):
    """A table `[[messages.steps]]`. `day` counts from the first failure; else an `event`, and the time from it."""

    model_config = {"extra": "forbid", "frozen": True}

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,40}$")
    template: str | None = None  # in_app steps have none
    day: float | None = Field(None, ge=0, le=120)
    event: On | None = None
    days: float = Field(0, ge=0, le=120)
    hours: float = Field(0, ge=0, le=24 * 120)
    channel: tuple[Via, ...] = (Via.EMAIL,)
    audience: tuple[Audience, ...] = (Audience.BILLING,)
    wall: Literal["soft_wall", "hard_wall"] | None = None
    conditions: _Conditions = _Conditions()

    @field_validator("channel", "audience", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @property
    def on(self) -> On:
        return self.event or On.FAILURE

    @property
    def after(self) -> timedelta:
        return timedelta(days=self.days + (self.day or 0), hours=self.hours)

    @property
    def value(self) -> Planned:
        return Planned(
            name=self.name,
            template=Step(self.template or Step.REMINDER),
            on=self.on,
            after=self.after,
            via=self.channel,
            audience=self.audience,
            only=self.conditions.value,
            wall=self.wall,
        )

    def mistakes(self, window: timedelta) -> Iterator[tuple[str, str]]:
        """(key, what is wrong)."""
        if (self.day is None) == (self.event is None):
            yield "day", "either a day or an event says when it is due"
        if self.day is not None and (self.days or self.hours):
            yield "day", "days and hours go with an event"
        yield from self._late(window)
        yield from self._template()
        if Via.EMAIL not in self.channel and self.audience != (Audience.BILLING,):
            yield "audience", "only e-mail goes to several people"
        for key, named in (("channel", self.channel), ("audience", self.audience)):
            if not named or len(set(named)) < len(named):
                yield key, "one is named twice, or none is"
        yield from (("conditions", wrong) for wrong in self.conditions.contradictions())

    def _late(self, window: timedelta) -> Iterator[tuple[str, str]]:
        key = "day" if self.event is None else "days" if self.days else "hours"
        if self.on in (On.FAILURE, On.AFTER_RETRY) and self.after >= window:
            yield key, f"{span(self.after)} is after the window of {span(window)}"
        if self.on in BACKWARDS and self.after >= window:
            yield key, f"{span(self.after)} before is longer than the window of {span(window)}"

    def _template(self) -> Iterator[tuple[str, str]]:
        if Via.IN_APP in self.channel:
            if self.channel != (Via.IN_APP,) or self.wall is None or self.template or self.on is not On.FAILURE:
                yield "channel", "an in_app step stands alone, with a day and a wall, and has no template"
            return
        if self.wall:
            yield "wall", "only a step with the channel in_app raises a wall"
        if self.template is None:
            yield "template", "is missing"
        elif self.template not in list(Step) or self.template in AHEAD:
            there = ", ".join(step for step in Step if step not in AHEAD)
            yield "template", f"there is no message {self.template!r} about a failed payment; there are {there}"
        elif self.template not in FITS[self.on]:
            yield "template", f"{self.template} does not go with {'a day' if self.day is not None else self.on}"
        else:
            for language in catalogue.languages():
                if self.template not in catalogue.shipped(language).entries:
                    yield "template", f"{self.template} is missing in config/messages/{language}.toml"


class Messages(BaseModel):
    """The table `[messages]`."""

    model_config = {"extra": "forbid", "frozen": True}

    silent_hours: float = Field(0, ge=0, le=24 * 30)
    mends_itself_hours: float = Field(0, ge=0, le=24 * 30)
    wait_for_retry_minutes: float = Field(60, ge=0, le=24 * 60)
    at_most: int = Field(0, ge=0, le=100)
    per_days: float = Field(7, gt=0, le=60)
    quiet_hours: tuple[Hour, Hour] | None = None
    weekdays_only: bool = False
    merge: bool = False
    steps: tuple[_Step, ...] = Field(min_length=1, max_length=60)

    @field_validator("quiet_hours")
    @classmethod
    def _leaves_a_day(cls, hours: tuple[float, float] | None) -> tuple[float, float] | None:
        if hours and not 0 < (hours[1] - hours[0]) % 24 <= 18:
            raise ValueError("between 0 and 18 hours may be quiet")
        return hours

    @property
    def value(self) -> Sequence:
        return Sequence(
            steps=tuple(step.value for step in self.steps),
            silent=timedelta(hours=self.silent_hours),
            patient=timedelta(hours=self.mends_itself_hours),
            hold=timedelta(minutes=self.wait_for_retry_minutes),
            at_most=self.at_most,
            per=timedelta(days=self.per_days),
            quiet=self.quiet_hours,
            weekdays=self.weekdays_only,
            merge=self.merge,
        )

    @property
    def first(self) -> timedelta:
        """How long after the failure the first message is due."""
        days = [step.after for step in self.steps if step.on is On.FAILURE and Via.EMAIL in step.channel]
        return max(min(days, default=timedelta(0)), timedelta(hours=self.silent_hours))

    def mistakes(self, window: timedelta) -> list[str]:
        """One line for each: the dotted key, the step's name, and what is wrong."""
        found = []
        if timedelta(hours=max(self.silent_hours, self.mends_itself_hours)) >= window:
            found.append("messages.silent_hours: the silent time is longer than the window")
        names = [step.name for step in self.steps]
        for number, step in enumerate(self.steps):
            if step.name in names[:number]:
                found.append(f"messages.steps.{number}.name: step {step.name}: another step has this name")
            found += [
                f"messages.steps.{number}.{key}: step {step.name}: {wrong}" for key, wrong in step.mistakes(window)
            ]
        return found


def _days(number: float | None) -> timedelta | None:
    return None if number is None else timedelta(days=number)
