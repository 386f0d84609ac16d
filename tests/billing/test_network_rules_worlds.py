"""The rules hold in the simulated worlds: the best fixed schedule, held to our rules alone, breaks none of theirs.

The worlds lie beside the repository, not in it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from billing.events.snapshots import Decline
from billing.money import Amount
from billing.retry.rules import Allowed, Charging, Declined, NetworkRule, Never, NotBefore, ruled
from config.network_rules import network_rules

pytest.importorskip("numpy")
FOLDERS = [parent / "shared" / "worlds" for parent in Path(__file__).resolve().parents]
WORLDS = next((folder for folder in FOLDERS if (folder / "world.py").exists()), None)
DAYS = [float(day) for day in (1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 25, 27)]
CATEGORY_1 = "14"  # one of Visa's codes of category 1, for the worlds' V1
pytestmark = pytest.mark.skipif(WORLDS is None, reason="the worlds are not beside this repository")


@pytest.fixture(scope="module")
def world() -> Iterator[ModuleType]:
    sys.path.insert(0, str(WORLDS))
    try:
        yield importlib.import_module("world")
    finally:
        sys.path.remove(str(WORLDS))


@dataclass
class Guarded:
    """A fixed schedule that asks only the rules; `free`: it does not even ask."""

    free: bool = False
    rules: tuple[NetworkRule, ...] = field(default_factory=network_rules)

    def next_attempt(self, view: Any, attempts: list[Any], now: datetime) -> datetime | None:
        done = attempts[-1].at if len(attempts) > 1 else view.created_at
        times: list[datetime] = [view.created_at + timedelta(days=day) for day in DAYS]
        at = next((time for time in times if time > done and time >= now), None)
        if self.free or at is None:
            return at
        amount = Amount(round(view.amount * 100), view.currency)
        changed = _aware(view.card_updated_at) if view.card_updated_at else None
        brand = "sepa_debit" if view.brand == "sepa" else view.brand
        charging = Charging(amount, brand, view.country, invoice=view.id, changed_at=changed)
        known = [Declined(_aware(each.at), amount, _decline(view.brand, each), view.id) for each in attempts]
        match ruled(self.rules, charging, known, _aware(at)):
            case Allowed():
                return at
            case NotBefore(at=later):
                return later.replace(tzinfo=None)
            case Never():
                return None


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)


def _decline(brand: str, attempt: Any) -> Decline:
    """The worlds tell Visa's category where Stripe tells the response code."""
    code = CATEGORY_1 if attempt.advice == "V1" else None
    advice = attempt.advice if brand == "mastercard" else None
    return Decline("card_declined", attempt.decline_code, None, code, advice or None)


@pytest.mark.parametrize("name", ["us_smb_debit", "eu_b2b_sepa", "global_b2c_prepaid"])
def test_a_schedule_held_to_our_rules_breaks_none_in_a_world(world: ModuleType, name: str) -> None:
    played = world.World(3, name, 1500)
    assert played.run(Guarded()).summary()["violations_per_1k"] == 0


def test_the_same_schedule_without_rules_breaks_many(world: ModuleType) -> None:
    assert world.World(3, "us_smb_debit", 1500).run(Guarded(free=True)).summary()["violations_per_1k"] > 100
