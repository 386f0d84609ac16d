"""The issuer's rules, without a server."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from sandbox import FINE, Behaviour, Spell, declines, until
from sandbox.issuer import Issuer, Request, decide, troubled

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def asked(amount: int = 2000, at: datetime = NOW, on_session: bool = False, brand: str = "visa") -> Request:
    return Request(amount, "usd", brand, at, on_session)


@pytest.mark.parametrize(
    ("behaviour", "request_", "code"),
    [
        (FINE, asked(), None),
        (declines("do_not_honor"), asked(), "do_not_honor"),
        (until(NOW + HOUR), asked(), "insufficient_funds"),
        (until(NOW), asked(), None),
        (until(NOW + HOUR, "processing_error"), asked(), "processing_error"),
        (Behaviour((Spell("expired_card", since=NOW + HOUR),)), asked(), None),
        (Behaviour((Spell("expired_card", since=NOW),)), asked(), "expired_card"),
        (
            Behaviour((Spell("invalid_amount", above=1999),)),
            asked(2000),
            "invalid_amount",
        ),
        (Behaviour((Spell("invalid_amount", above=2000),)), asked(2000), None),
        (declines("authentication_required"), asked(on_session=True), None),
        (declines("authentication_required"), asked(), "authentication_required"),
    ],
)
def test_a_spell_declines_in_its_time_and_range(behaviour: Behaviour, request_: Request, code: str | None) -> None:
    answer = decide(behaviour, request_)
    assert (answer.decline_code, answer.approved) == (code, code is None)
    assert answer.because


@pytest.mark.parametrize(("code", "hard"), [("lost_card", True), ("insufficient_funds", False), ("stolen_card", True)])
def test_only_some_declines_are_hard(code: str, hard: bool) -> None:
    assert decide(declines(code), asked()).hard is hard


def test_too_many_declines_in_a_day_close_the_card() -> None:
    bank = Issuer(velocity=3)
    bank.set("pm", until(NOW + HOUR))
    codes = [bank.ask("pm", "print", asked()).decline_code for _ in range(5)]
    assert codes == ["insufficient_funds"] * 3 + ["card_velocity_exceeded"] * 2
    assert bank.ask("pm", "print", asked(at=NOW + timedelta(days=2))).approved


def test_a_population_fails_at_its_rate_and_mostly_for_a_while() -> None:
    rng = random.Random(7)  # noqa: S311 - repeatable, not secret
    renewals = [NOW + timedelta(days=30 * n) for n in range(3)]
    cards = [troubled(rng, renewals) for _ in range(4000)]
    spells = [spell for card in cards for spell in card]
    assert 0.06 < len(spells) / (4000 * 3) < 0.08
    lasting = [spell for spell in spells if spell.until is None]
    assert 0.05 < len(lasting) / len(spells) < 0.25
    assert all(spell.since is not None and spell.since < max(renewals) for spell in spells)
