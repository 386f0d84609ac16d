"""Invented renewals that failed, with the truth of each: when its card would have paid, and whether its owner does.

Three small worlds for comparing retry policies where there is no history yet. The shares are round numbers after
published figures (half of the failed volume is missing funds, half of the generic declines hide it, most recoveries
fall in ten days); they are nobody's customers. A merchant's own history says more than any of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sandbox.issuer import Behaviour, Spell

START = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Failed:
    """One failed renewal. `pays_at`: when its owner pays by hand if nobody collected before; `renewed_at`: when the
    card's new details come by themselves. `code` is what the bank says first."""

    number: int
    failed_at: datetime
    amount: int  # minor units
    currency: str
    brand: str
    country: str
    funding: str
    code: str
    behaviour: Behaviour
    pays_at: datetime | None = None
    renewed_at: datetime | None = None


# Share of each cause, in percent.
WORLDS: dict[str, Mapping[str, int]] = {
    "mixed": {"funds": 52, "block": 16, "outage": 6, "stale": 9, "dead": 9, "authentication": 4, "leaving": 4},
    "paydays": {"funds": 78, "block": 8, "outage": 3, "stale": 4, "dead": 4, "authentication": 1, "leaving": 2},
    "blocks": {"funds": 25, "block": 45, "outage": 10, "stale": 8, "dead": 7, "authentication": 3, "leaving": 2},
}
PLACES = (("US", "usd", 70), ("GB", "gbp", 10), ("DE", "eur", 20))
CARDS = (("visa", 62), ("mastercard", 32), ("amex", 6))
FUNDINGS = (("debit", 50), ("credit", 42), ("prepaid", 8))
PRICES = (900, 1_900, 2_900, 4_900, 9_900)
MENDS = 0.25  # share of the owners who pay by hand after a message, sooner or later


def failed(world: str, cases: int, seed: int) -> Iterator[Failed]:
    """`cases` failed renewals of the named world, spread over a year. Raises KeyError for an unknown one."""
    shares = WORLDS[world]
    for number in range(cases):
        dice = random.Random(f"{world} {seed} {number}")
        yield _one(number, _drawn(dice, tuple(shares.items())), dice)


def _drawn(dice: random.Random, shares: tuple[tuple[str, int], ...]) -> str:
    return dice.choices([name for name, _ in shares], [share for _, share in shares])[0]


def _one(number: int, cause: str, dice: random.Random) -> Failed:
    at = START + timedelta(days=dice.randrange(365), hours=dice.choice((1, 3, 6, 9, 12, 15, 18)))
    country, currency, _ = dice.choices(PLACES, [share for *_, share in PLACES])[0]
    code, behaviour = _truth(cause, country, at, dice)
    pays = at + timedelta(days=1 + dice.expovariate(1 / 4)) if dice.random() < MENDS and cause != "leaving" else None
    renewed = at + timedelta(days=dice.uniform(1, 14)) if cause == "stale" and dice.random() < 0.4 else None
    return Failed(
        number=number,
        failed_at=at,
        amount=dice.choice(PRICES),
        currency=currency,
        brand=_drawn(dice, CARDS),
        country=country,
        funding=_drawn(dice, FUNDINGS),
        code=code,
        behaviour=behaviour,
        pays_at=pays,
        renewed_at=renewed,
    )


def _truth(cause: str, country: str, at: datetime, dice: random.Random) -> tuple[str, Behaviour]:
    """(what the bank says, how the card behaves from then on)."""
    match cause:
        case "funds":
            code = dice.choices(("insufficient_funds", "do_not_honor", "generic_decline"), (75, 17, 8))[0]
            return code, Behaviour(tuple(_without_money(code, country, at, dice)))
        case "block":
            code = dice.choice(("do_not_honor", "generic_decline", "transaction_not_allowed"))
            return code, Behaviour((Spell(code, until=at + timedelta(days=dice.expovariate(1 / 4))),))
        case "outage":
            code = dice.choice(("processing_error", "issuer_not_available", "try_again_later"))
            return code, Behaviour((Spell(code, until=at + timedelta(hours=dice.expovariate(1 / 9))),))
        case "stale":
            code = dice.choice(("expired_card", "generic_decline"))
        case "dead":
            code = dice.choice(("stolen_card", "lost_card", "pickup_card", "do_not_honor"))
        case "authentication":
            code = "authentication_required"
        case _:
            code = dice.choice(("insufficient_funds", "do_not_honor"))
    return code, Behaviour((Spell(code),))


def _without_money(code: str, country: str, at: datetime, dice: random.Random) -> Iterator[Spell]:
    """From one pay-day to the next: the money comes in the small hours and lasts some days, or is not enough."""
    weekly = country == "US" and dice.random() < 0.67
    step = timedelta(days=dice.choice((7, 14))) if weekly else timedelta(days=30.4)
    midnight = at.replace(hour=0, minute=0)
    comes = midnight + timedelta(days=dice.randrange(1, step.days + 1), hours=dice.uniform(1, 8))
    lasts = timedelta(days=min(step.days - 1, 0.5 + dice.expovariate(1 / 4)))
    since = None
    for _ in range(12):
        if dice.random() < 0.75:
            yield Spell(code, since, comes)
            since = comes + lasts
        comes += step
    yield Spell(code, since)
