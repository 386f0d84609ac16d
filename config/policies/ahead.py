"""The table `[ahead]` of a policy file: warnings before anything failed. Without it there are none."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, Field, field_validator

from billing.ahead.warnings import CardExpiring, RenewalComing, Updater, Warn, Warnings

Days = Annotated[int, Field(ge=1, le=60)]
Minor = Annotated[int, Field(ge=0, le=10**12)]


class _Warn(BaseModel):
    model_config = {"extra": "forbid", "frozen": True}

    on: bool = False
    days_before: Days = 14
    control: float = Field(0.5, ge=0, le=0.9)
    min_amount: dict[str, Minor] = {}

    @field_validator("min_amount")
    @classmethod
    def _currencies(cls, amounts: dict[str, int]) -> dict[str, int]:
        for code in amounts:
            if not re.fullmatch(r"[a-z]{3}", code):
                raise ValueError(f"{code!r} is no currency; write usd = 50000 for minor units of US dollars")
        return amounts


class _CardExpiring(_Warn):
    updater: Updater = Updater.WAIT
    updater_brands: frozenset[str] = CardExpiring().updater_brands
    updater_days_before: Days = 7


class _RenewalComing(_Warn):
    months: int = Field(12, ge=1, le=120)


class _MethodMissing(_Warn):
    days_before: Days = 7


class AheadTable(BaseModel):
    """`[ahead]` with `[ahead.card_expiring]`, `[ahead.renewal_coming]` and `[ahead.method_missing]`."""

    model_config = {"extra": "forbid", "frozen": True}

    card_expiring: _CardExpiring = _CardExpiring()
    renewal_coming: _RenewalComing = _RenewalComing()
    method_missing: _MethodMissing = _MethodMissing()
    hour: int = Field(10, ge=8, le=19)
    gap_days: int = Field(7, ge=0, le=60)

    @property
    def value(self) -> Warnings:
        card, renewal, missing = self.card_expiring, self.renewal_coming, self.method_missing
        return Warnings(
            card_expiring=CardExpiring(
                *_common(card),
                updater=card.updater,
                updater_brands=card.updater_brands,
                updater_days_before=card.updater_days_before,
            ),
            renewal_coming=RenewalComing(*_common(renewal), months=renewal.months),
            method_missing=Warn(*_common(missing)),
            hour=self.hour,
            gap_days=self.gap_days,
        )


def _common(table: _Warn) -> tuple[bool, int, float, MappingProxyType[str, int]]:
    return table.on, table.days_before, table.control, MappingProxyType(dict(table.min_amount))
