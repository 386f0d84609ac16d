"""The table `[assist]` of a policy: which cases need a person, and how soon. Without it the defaults hold."""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, Field, field_validator

from billing.assist import EVERYBODY, Assist, Reason

Minor = Annotated[int, Field(ge=0)]


class AssistTable(BaseModel):
    """`mrr_over` is in minor units a month by currency: `usd = 50000` is 500.00 USD/mo."""

    model_config = {"extra": "forbid", "frozen": True}

    mrr_over: dict[str, Minor] | None = None
    answer_after_days: float = Field(EVERYBODY.answer_after / timedelta(days=1), gt=0, le=60)
    unknown_after_hours: float = Field(EVERYBODY.unknown_after / timedelta(hours=1), gt=0, le=24 * 30)
    extend_days: float = Field(EVERYBODY.extend / timedelta(days=1), ge=0, le=60)
    due_days: dict[Reason, Annotated[float, Field(gt=0, le=60)]] = {}

    @field_validator("mrr_over")
    @classmethod
    def _currencies(cls, value: dict[str, int] | None) -> dict[str, int] | None:
        for code in value or ():
            if not (len(code) == 3 and code.isascii() and code.isalpha() and code.islower()):
                raise ValueError(f"{code!r} is no currency: write it as in usd = 50000")
        return value

    @property
    def value(self) -> Assist:
        return Assist(
            mrr_over=EVERYBODY.mrr_over if self.mrr_over is None else MappingProxyType(self.mrr_over),
            answer_after=timedelta(days=self.answer_after_days),
            unknown_after=timedelta(hours=self.unknown_after_hours),
            due=MappingProxyType({reason: timedelta(days=days) for reason, days in self.due_days.items()}),
            extend=timedelta(days=self.extend_days),
        )
