"""Recovery policies as TOML files, read into `billing.policy.Policy`; a mistake is named with its file and key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from billing.declines import RETRYABLE, BadDeclineTable, DeclineClass, DeclineTable
from billing.policy import Mode, Policy, Retry, Strategy
from billing.retry.rules import NetworkRule
from config.network_rules import BadNetworkRules, network_rules
from config.policies.access import AccessTable
from config.policies.ahead import AheadTable
from config.policies.assist import AssistTable
from config.policies.ending import EndTable
from config.policies.messages import Messages
from config.zones import zones

HERE = Path(__file__).parent
Days = Annotated[float, Field(gt=0, le=120)]


class BadPolicy(Exception):
    """A policy cannot be used; the message names the file, the key and what is wrong."""


Hour = Annotated[float, Field(ge=0, lt=24)]


class _Retry(BaseModel):
    """The table `[retry]`; a policy without it goes by its ladders."""

    model_config = {"extra": "forbid", "frozen": True}

    strategy: Literal["learned", "ladder"] = "ladder"
    quiet_hours: tuple[Hour, Hour] | None = None
    explore: float = Field(0.0, ge=0, le=0.1)
    attempt_cost: float = Field(6.0, ge=0, le=1000)
    returned_debit_cost: float = Field(350.0, ge=0, le=10_000)
    goodwill_cost: float = Field(0.004, ge=0, le=0.2)

    @field_validator("quiet_hours")
    @classmethod
    def _not_all_day(cls, hours: tuple[float, float] | None) -> tuple[float, float] | None:
        if hours and (hours[1] - hours[0]) % 24 > 16:
            raise ValueError("at most 16 hours may be quiet")
        return hours

    @property
    def value(self) -> Retry:
        return Retry(
            strategy=Strategy(self.strategy),
            quiet=self.quiet_hours,
            explore=self.explore,
            attempt_cost=self.attempt_cost,
            returned_debit_cost=self.returned_debit_cost,
            goodwill_cost=self.goodwill_cost,
        )


class _File(BaseModel):
    """The shape of a policy file."""

    model_config = {"extra": "forbid", "frozen": True}

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")
    version: int = Field(ge=1)
    window_days: Days
    max_attempts: int = Field(ge=0, le=15)  # 15 in 30 days is Visa's older and safe cap
    min_gap_hours: float = Field(ge=1, le=24 * 30)
    stripe_distance_hours: float = Field(ge=0, le=24 * 30)
    notice_delay_hours: float | None = Field(None, ge=0, le=24 * 30)  # of a policy without [messages]
    after_card_change_minutes: float = Field(ge=0, le=24 * 60)
    ahead: AheadTable = AheadTable()
    backup_methods: bool = False
    retry: _Retry = _Retry()
    messages: Messages | None = None
    end: EndTable = EndTable()
    access: AccessTable | None = None
    assist: AssistTable = AssistTable()
    ladders: dict[DeclineClass, tuple[Days, ...]]

    @model_validator(mode="after")
    def _sound(self) -> _File:
        for kind, rungs in self.ladders.items():
            if kind not in RETRYABLE:
                raise ValueError(f"ladders.{kind}: a decline of this class is never retried silently")
            if list(rungs) != sorted(set(rungs)):
                raise ValueError(f"ladders.{kind}: the days must rise")
            if rungs and rungs[-1] >= self.window_days:
                raise ValueError(f"ladders.{kind}: day {rungs[-1]:g} is after the window of {self.window_days:g} days")
        if (self.notice_delay_hours is None) == (self.messages is None):
            raise ValueError("notice_delay_hours: wanted without [messages], and only then")
        if self.messages and (wrong := self.messages.mistakes(timedelta(days=self.window_days))):
            raise ValueError("\n".join(wrong))
        return self

    @property
    def first_message(self) -> timedelta:
        return self.messages.first if self.messages else timedelta(hours=self.notice_delay_hours or 0)


def parse(body: Mapping[str, Any], where: str) -> Policy:
    """The policy in a TOML document that was read already; `where` is named in BadPolicy."""
    try:
        file = _File.model_validate(dict(body))
    except ValidationError as error:
        lines = [
            f"{where}: {'.'.join(map(str, e['loc'])) or 'policy'}: {said}"
            for e in error.errors()
            for said in e["msg"].splitlines()
        ]
        raise BadPolicy("\n".join(lines)) from None
    ladders = {kind: tuple(timedelta(days=day) for day in rungs) for kind, rungs in file.ladders.items()}
    return Policy(
        name=file.name,
        version=file.version,
        mode=Mode.OBSERVE,
        window=timedelta(days=file.window_days),
        ladders=MappingProxyType(ladders),
        declines=declines(),
        max_attempts=file.max_attempts,
        min_gap=timedelta(hours=file.min_gap_hours),
        stripe_distance=timedelta(hours=file.stripe_distance_hours),
        after_card_change=timedelta(minutes=file.after_card_change_minutes),
        notice_delay=file.first_message,
        messages=file.messages.value if file.messages else None,
        ahead=file.ahead.value,
        rules=_rules(),
        retry=file.retry.value,
        zones=zones(),
        backup_methods=file.backup_methods,
        end=file.end.value,
        access=file.access.value if file.access else None,
        assist=file.assist.value,
    )


def read(name: str, own: Path | None = None) -> dict[str, Any]:
    """The body of the policy file of this name, from the operator's folder or the shipped ones."""
    path = find(name, own)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise BadPolicy(f"{path}: {error}") from error


def find(name: str, own: Path | None = None) -> Path:
    """The policy file of this name. Raises BadPolicy."""
    for folder in filter(None, (own, HERE)):
        if (path := folder / f"{name}.toml").is_file():
            return path
    raise BadPolicy(f"there is no policy {name!r}; the shipped ones are: {', '.join(shipped())}")


def shipped() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.toml"))


def in_mode(policy: Policy, mode: str) -> Policy:
    return replace(policy, mode=Mode(mode))


def _rules() -> tuple[NetworkRule, ...]:
    try:
        return network_rules()
    except BadNetworkRules as error:
        raise BadPolicy(str(error)) from error


@cache
def declines() -> DeclineTable:
    """The decline codes and what they mean, from `config/declines.toml`."""
    path = HERE.parent / "declines.toml"
    try:
        return DeclineTable.from_toml(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, BadDeclineTable) as error:
        raise BadPolicy(f"{path}: {error}") from error
