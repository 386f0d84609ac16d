"""The sums over all customers' months: kept with every change, or made anew from the months, which gives the same.

Many customers share a row, so that it is written last in a transaction, and in one order: whoever waits for a sum waits
only for a commit.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, delete, text

from billing.report.rollup import Month
from billing.report.rollup_total import DERIVED, EVERYBODY, PLAIN, SUMMED, totals
from worker import tables as t
from worker.columns import Flag
from worker.store import Owner

_KEY = ("currency", "month", "cohort")
_NAMES = ("account", "livemode", *_KEY, *SUMMED)
# ruff: noqa: S608 - the statements are made of our own words
_ADD = text(
    f"INSERT INTO ledger_total ({', '.join(_NAMES)}) VALUES ({', '.join(f':{name}' for name in _NAMES)})"
    " ON CONFLICT (account, livemode, currency, month, cohort) DO UPDATE SET "
    + ", ".join(f"{name} = ledger_total.{name} + excluded.{name}" for name in SUMMED)
).bindparams(bindparam("livemode", type_=Flag()))


def change(db: Connection, owner: Owner, gained: Iterable[Month], lost: Iterable[Month]) -> None:
    """Add what these months bring, and take off what those brought that are no more."""
    changes = totals(gained, lost)
    if not changes:
        return
    db.execute(
        _ADD, [dict(zip(_NAMES, (*owner.key.values(), *key, *sums), strict=True)) for key, sums in changes.items()]
    )
    at = SUMMED.index("rows")
    if any(sums[at] < 0 for sums in changes.values()):
        db.execute(delete(t.ledger_total).where(owner.of(t.ledger_total), t.ledger_total.c.rows == 0))


def renew(db: Connection, owner: Owner) -> None:
    """Make every sum anew from the months. The caller lets no bookkeeper work meanwhile."""
    db.execute(delete(t.ledger_total).where(owner.of(t.ledger_total)))
    least = "least" if db.dialect.name == "postgresql" else "min"
    sums = [f"sum({name})" for name in PLAIN]
    sums += [f"sum({sql.replace('least', least)})" for sql in DERIVED.values()]
    month = "account, livemode, currency, month"
    for by, cohort in ((f"{month}, cohort", "cohort"), (month, str(EVERYBODY))):
        statement = text(
            f"INSERT INTO ledger_total ({month}, cohort, {', '.join((*PLAIN, *DERIVED))})"
            f" SELECT {month}, {cohort}, {', '.join(sums)}"
            f" FROM ledger_month WHERE account = :account AND livemode = :livemode GROUP BY {by}"
        )
        db.execute(statement.bindparams(bindparam("livemode", type_=Flag())), owner.key)
