"""The table `[access]` of a policy: what a customer may use while a payment is open, and after it never came."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, Field, model_validator

from billing.entitlement import Access, Blocked


class AccessTable(BaseModel):
    """Days count from the first failure. Before `restricted_after_days` is grace; without it grace goes on."""

    model_config = {"extra": "forbid", "frozen": True}

    restricted_after_days: float | None = Field(None, ge=0, le=365)
    blocked: Literal["at_end", "after_days", "never"] = "at_end"
    blocked_after_days: float | None = Field(None, gt=0, le=365)

    @model_validator(mode="after")
    def _sound(self) -> AccessTable:
        if (self.blocked == "after_days") is not (self.blocked_after_days is not None):
            raise ValueError('blocked_after_days: stands with blocked = "after_days", and only there')
        if self.blocked_after_days is not None and (self.restricted_after_days or 0) >= self.blocked_after_days:
            raise ValueError("blocked_after_days: must be more than restricted_after_days")
        return self

    @property
    def value(self) -> Access:
        return Access(_span(self.restricted_after_days), Blocked(self.blocked), _span(self.blocked_after_days))


def _span(days: float | None) -> timedelta | None:
    return None if days is None else timedelta(days=days)
