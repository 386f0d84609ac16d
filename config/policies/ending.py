"""The table `[end]` of a policy: what becomes of subscription and invoice when nobody paid."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from billing.ending import End, Ending, Others

Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[!-~]+$")]


class EndTable(BaseModel):
    """`downgrade_to` names prices by id or lookup key, one for each currency and interval that is sold."""

    model_config = {"extra": "forbid", "frozen": True}

    subscription: Literal["leave", "cancel", "unpaid", "pause", "downgrade"] = "leave"
    invoice: Literal["leave", "void", "uncollectible"] = "leave"
    downgrade_to: tuple[Name, ...] = Field((), max_length=20)
    wait_days: float = Field(0, ge=0, le=90)
    other_cases: Literal["keep", "act"] = "keep"
    rescue_days: float = Field(30, ge=0, le=365)

    @model_validator(mode="after")
    def _sound(self) -> EndTable:
        if self.subscription == "downgrade" and not self.downgrade_to:
            raise ValueError("downgrade_to: name at least one price to move down to")
        if self.downgrade_to and self.subscription != "downgrade":
            raise ValueError(f"downgrade_to: is of no use while subscription is {self.subscription!r}")
        return self

    @property
    def value(self) -> Ending:
        return Ending(
            subscription=End(self.subscription),
            invoice=End(self.invoice),
            prices=self.downgrade_to,
            wait=timedelta(days=self.wait_days),
            others=Others(self.other_cases),
            rescue=timedelta(days=self.rescue_days),
        )
