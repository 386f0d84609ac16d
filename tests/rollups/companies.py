"""Companies whose customers fail, lose, come back and shrink often: every corner of netting within a few months."""

from __future__ import annotations

import random
from datetime import timedelta

from billing.ledger.items import Item
from billing.ledger.vocabulary import Cause, Kind, LedgerEvent
from tests.billing.test_bridge_properties import START

OFTEN = (
    *(Kind.PAYMENT_FAILED, Kind.PAYMENT_SUCCEEDED) * 4,
    *(Kind.SUB_ITEMS, Kind.MARK_UNPAID) * 3,
    Kind.PAUSE,
    Kind.RESUME,
    Kind.SUB_CANCEL,
    Kind.SUB_START,
)


def troubled(seed: int, customers: int = 5) -> list[LedgerEvent]:
    """A seeded company over eight months, some of its customers in two currencies."""
    dice = random.Random(seed)  # noqa: S311 - a story, not a secret
    told: list[LedgerEvent] = []
    for customer in range(customers):
        name, number = f"cus_{customer}", 0
        subs = [f"{name}_{each}" for each in range(dice.choice([1, 1, 2, 3]))]
        currency = {sub: dice.choice(["usd", "usd", "eur"]) for sub in subs}
        begin = START - timedelta(days=dice.randrange(60))
        for sub in subs:
            at = begin + timedelta(days=dice.randrange(40))
            told.append(
                LedgerEvent(Kind.SUB_START, at, name, sub, f"{sub}:start", currency=currency[sub], items=some(dice))
            )
        for number in range(dice.randrange(5, 45)):
            at = begin + timedelta(days=dice.randrange(270), hours=dice.choice([0, 4, 23]))
            kind, sub = dice.choice(OFTEN), dice.choice(subs)
            if kind is Kind.SUB_START:
                sub = f"{sub}_again{number}"
                subs.append(sub)
                currency[sub] = currency[subs[0]]
            told.append(
                LedgerEvent(
                    kind,
                    at,
                    name,
                    sub,
                    f"{name}:{number}",
                    currency=currency[sub],
                    items=some(dice),
                    cause=dice.choice(list(Cause)),
                    behavior="void",
                    invoice=f"in_{number}",
                )
            )
    return told


def some(dice: random.Random) -> tuple[Item, ...]:
    products = dice.sample(["pro", "basic"], dice.choice([1, 1, 2]))
    return tuple(
        Item(f"si_{each}", each, str(dice.randrange(1, 20) * 500), dice.randrange(1, 4), "month") for each in products
    )
