"""Closed cases of a made-up merchant, as rows: declined for want of money, some paid by a retry days later."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection, insert

from billing.case import No, RecoveryCase, settle
from tests.billing.stories import DAY, DAY0, FUNDS, usd
from worker import store
from worker import tables as t
from worker.store import Owner

SELF = Owner("self", False)


def a_closed_case(number: int, days: list[float], paid: bool) -> RecoveryCase:
    """It failed `number` hours before the story's start; attempts after `days`, the last one approved if `paid`."""
    failed_at = DAY0 - timedelta(hours=number)
    times = [failed_at + day * DAY for day in days]
    noes = [failed_at, *(times[:-1] if paid else times)]
    last = noes[-1]
    case = RecoveryCase(
        *("self", False, f"in_{number}", f"cus_{number}", "sub_1", usd(4900), "standard@2"),
        *(failed_at, last, failed_at + 28 * DAY),
        decline=FUNDS,
        decline_at=last,
        brand="visa",
        country="US",
        funding="debit",
        noes=tuple(No(at, "insufficient_funds") for at in noes),
    )
    if not paid:
        return settle(replace(case, expired_at=case.deadline))
    return settle(replace(case, paid_at=times[-1], stripe_next_attempt=times[-1]))


def some_closed_cases(number: int, seed: int = 1, pays: float | None = None) -> list[RecoveryCase]:
    """Attempts on random days; each pays with chance `pays`, or more often on Fridays and the two days after."""
    dice, found = random.Random(seed), []  # noqa: S311 - nobody gains by guessing these
    for each in range(number):
        hours = each * 7
        failed_at, days, paid = DAY0 - timedelta(hours=hours), [0.0], False
        while not paid and len(days) < 5:
            days.append(days[-1] + dice.uniform(1.5, 6))
            local = failed_at + days[-1] * DAY - timedelta(hours=6)
            chance = pays if pays is not None else 0.45 if local.weekday() in (4, 5, 6) else 0.12
            paid = dice.random() < chance
        found.append(a_closed_case(hours, days[1:], paid))
    return found


def keep(db: Connection, cases: list[RecoveryCase]) -> None:
    for start in range(0, len(cases), 500):
        store.save_cases(db, cases[start : start + 500], DAY0)


def attempts_that_were_told(db: Connection, number: int, told: int, paid: int) -> None:
    """So many attempts of a model that told `told` thousandths for each; the first `paid` of them paid."""
    for n in range(number):
        invoice, came = f"in_told_{n}", n < paid
        detail = {"n": 1, "model": "prior-3", "told": told, **({"explored": 1} if n == 0 else {})}
        action = {"key": f"retry:{invoice}:1", "kind": "retry", "invoice": invoice, "detail": detail, "due_at": DAY0}
        action |= {"because": "a test", "state": "done", "token": 1, "tries": 1, "created_at": DAY0}
        db.execute(insert(t.action), {**SELF.key, **action})
        attempt = {"invoice": invoice, "n": 1, "action_key": f"retry:{invoice}:1", "token": 1, "idem_key": invoice}
        attempt |= {"request": {}, "amount": 4900, "currency": "usd", "first_sent_at": DAY0, "at": DAY0}
        attempt |= {"state": "succeeded" if came else "failed", "answer": "paid" if came else "declined"}
        db.execute(insert(t.attempt), {**SELF.key, **attempt})
