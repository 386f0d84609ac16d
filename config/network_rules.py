"""The rules of networks, debit schemes and Stripe, read from `network_rules.toml` into `billing.retry.rules`.

An operator may edit the file: a mistake is named with its line and key, and nothing of the file is used then.
"""

from __future__ import annotations

import re
import tomllib
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from billing.money import Amount
from billing.retry.rules import Effect, Fee, NetworkRule, Scope

FILE = Path(__file__).with_name("network_rules.toml")


class BadNetworkRules(ValueError):
    """The network rules cannot be used; the message names the file, line and key of every mistake."""


class _Strict(BaseModel):
    model_config = {"extra": "forbid", "frozen": True}


class _Money(_Strict):
    minor: int = Field(ge=0)
    currency: str = Field(pattern=r"^[a-z]{3}$")

    @property
    def amount(self) -> Amount:
        return Amount(self.minor, self.currency)


class _Fee(_Money):
    region: Literal["domestic", "cross_border"] | None = None


class Entry(_Strict):
    """The shape of one rule in the file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{2,60}$")
    effect: Effect
    because: str = Field(min_length=5)
    source: str = Field(min_length=5)
    since: date = Field(alias="from")
    until: date | None = None
    brands: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()
    above: _Money | None = None
    scope: Scope = Scope.CARD
    decline_codes: frozenset[str] = frozenset()
    advice_codes: frozenset[str] = frozenset()
    network_codes: frozenset[str] = frozenset()
    but: frozenset[str] = frozenset()
    network_advice: frozenset[str] = frozenset()
    unknown: bool = False
    hours: int | None = Field(default=None, ge=1, le=24 * 60)
    most: int | None = Field(default=None, ge=1, le=100)
    days: int | None = Field(default=None, ge=1, le=400)
    fees: tuple[_Fee, ...] = ()
    loosens: bool = False  # in an operator's file: it is looser than the shipped rule, and meant to be

    @model_validator(mode="after")
    def _sound(self) -> Entry:
        if self.until is not None and self.until <= self.since:
            raise ValueError("until: must be after from")
        if (self.hours is None) == (self.effect is Effect.NOT_BEFORE):
            raise ValueError("hours: belongs to not_before, and is needed there")
        if (self.most is None) == (self.effect is Effect.AT_MOST):
            raise ValueError("most: belongs to at_most, and is needed there")
        if self.days is not None and self.effect is not Effect.AT_MOST:
            raise ValueError("days: belongs to at_most")
        if (self.network_codes or self.network_advice) and not self.brands:
            raise ValueError("brands: the same code means opposite things to two networks, so a brand is needed")
        if self.but and "*" not in self.network_codes:
            raise ValueError('but: belongs to network_codes = ["*"]')
        if {country.upper() for country in self.countries} != self.countries:
            raise ValueError("countries: are written in upper case")
        final = self.effect in (Effect.NEVER, Effect.NEW_CARD, Effect.CUSTOMER)
        if final and self.above is None and self.rule.about_all:
            raise ValueError("effect: a rule that forbids needs codes, or an amount above which it holds")
        return self

    @property
    def rule(self) -> NetworkRule:
        values = {name: getattr(self, name) for name in type(self).model_fields if name != "loosens"}
        values["above"] = self.above.amount if self.above else None
        values["fees"] = tuple(Fee(fee.amount, fee.region) for fee in self.fees)
        return NetworkRule(**{**values, "hours": self.hours or 0, "most": self.most or 0})


class _File(_Strict):
    as_of: date
    rule: tuple[Entry, ...] = Field(min_length=1)


@cache
def network_rules(file: Path = FILE) -> tuple[NetworkRule, ...]:
    """Every rule of the file, whatever its dates. Raises BadNetworkRules."""
    return parse(text_of(file), file.name)


def text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadNetworkRules(f"{file}: {error}") from error


def parse(text: str, where: str) -> tuple[NetworkRule, ...]:
    """The rules in the text of a file; `where` is named in BadNetworkRules, with the line and key."""
    return tuple(entry.rule for entry in entries(text, where))


def entries(text: str, where: str) -> tuple[Entry, ...]:
    """What stands in the text of a file, checked: each rule by itself, and that none holds twice."""
    try:
        body = tomllib.loads(text)
        found = _File.model_validate(body).rule
    except tomllib.TOMLDecodeError as error:
        raise BadNetworkRules(f"{where}: {error}") from error
    except ValidationError as error:
        raise BadNetworkRules("\n".join(_mistake(text, where, dict(each)) for each in error.errors())) from None
    rules = tuple(entry.rule for entry in found)
    if twice := _twice(rules):
        line = line_of(text, rules.index(twice), "name")
        raise BadNetworkRules(f"{where}, line {line}: name: {twice.name!r} holds twice on {twice.since}")
    return found


def _twice(rules: tuple[NetworkRule, ...]) -> NetworkRule | None:
    """The first rule that begins while another one of the same name holds."""
    for at, rule in enumerate(rules):
        for other in rules[:at] + rules[at + 1 :]:
            if other.name == rule.name and other.since <= rule.since and (not other.until or rule.since < other.until):
                return rule
    return None


def _mistake(text: str, where: str, error: dict[str, Any]) -> str:
    place = [part for part in error["loc"] if part != "function-after[_sound(), Entry]"]
    said = str(error["msg"]).removeprefix("Value error, ")
    index = place[1] if len(place) > 1 and place[0] == "rule" else None
    key = str(place[2]) if len(place) > 2 else said.split(":")[0] if index is not None else str(place[0])
    named = f"{key}: {said}" if not said.startswith(f"{key}:") else said
    if not isinstance(index, int):
        return f"{where}, line {line_of(text, None, key)}: {named}"
    return f"{where}, line {line_of(text, index, key)}: rule {index + 1}, {named}"


def line_of(text: str, rule: int | None, key: str) -> int:
    """The line of a key in the n-th rule (or before all rules); where the key is missing, the rule's own line."""
    seen, start = -1, 1
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(r"\s*\[\[\s*rule\s*\]\]", line):
            seen += 1
            if rule is not None and seen == rule:
                start = number
            elif rule is None or seen > rule:
                break
        elif re.match(rf'\s*"?{re.escape(key)}"?\s*=', line) and seen == (-1 if rule is None else rule):
            return number
    return start
