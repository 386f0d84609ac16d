"""What the books say, for a person or a program: the bridge of a month, checked twice before it is shown.

The bridge is folded from the facts; the double-entry postings were appended one by one as things happened. Two ways to
the same closing figure: when they differ, no report is printed. Monthly roll-ups can replace the fold when a company
has too many customers to fold in one go; the check stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TextIO
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select, tuple_

from billing.ledger.entry import AT_RISK, GOOD
from billing.ledger.movement import Book
from billing.money import Amount
from billing.report import render
from billing.report.bridge import Bridge, bridges
from billing.report.period import Period
from worker import books
from worker import tables as t
from worker.app import App
from worker.store import Owner


class BooksDisagree(ValueError):
    """The postings do not come to the closing figure of the bridge; the message has both."""


@dataclass(frozen=True, slots=True)
class Reported:
    """One account's bridges, one for each period and currency."""

    owner: Owner
    bridges: tuple[Bridge, ...]


def nrr(
    app: App,
    month: str,
    out: TextIO,
    *,
    account: str | None = None,
    currency: str | None = None,
    net: bool = False,
    as_json: bool = False,
) -> None:
    """Print the bridge of a month (`2026-03`; the present one when empty) of each account and currency.

    Raises NotAPeriod, LookupError for an account or currency without facts, BooksDisagree and NotBalanced.
    """
    period = period_of(app, month)
    found = [
        Reported(each.owner, tuple(b for b in each.bridges if currency in (None, b.unit.partition("/")[0])))
        for each in reported(app, [period], account)
    ]
    if currency and not any(each.bridges for each in found):
        raise LookupError(f"the books hold no recurring revenue in {currency.upper()}")
    display = "net" if net else "gross"
    if as_json:
        json.dump([_as_json(each, display) for each in found], out, indent=2)
        out.write("\n")
        return
    several = len(found) > 1
    for each in found:
        if several:
            out.write(f"Account {each.owner.account}, {'live' if each.owner.livemode else 'test'} mode\n\n")
        for one in each.bridges:
            out.write(render.text(one, display) + "\n\n")
    if not any(each.bridges for each in found):
        out.write("The books are empty: no subscription has been seen yet.\n")


def period_of(app: App, month: str) -> Period:
    """The month in the time zone in which the company closes its books. Raises NotAPeriod."""
    zone = app.settings.reporting_timezone
    return Period.month(month or app.now().astimezone(ZoneInfo(zone)).strftime("%Y-%m"), zone)


def reported(app: App, periods: Sequence[Period], account: str | None = None) -> list[Reported]:
    """The checked bridges of every account, or of one, after the books were brought up to date."""
    return [Reported(owner, _bridges(app, owner, periods)) for owner in owners(app, account)]


def _bridges(app: App, owner: Owner, periods: Sequence[Period]) -> tuple[Bridge, ...]:
    """Folded and checked; again when a worker wrote between the two readings, which a real mistake survives."""
    for last in (False, False, True):
        books.keep(app)
        with app.db.read() as db:
            folded = fold(db, owner, app.now())
        made = tuple(one for period in periods for one in bridges(folded, period))
        try:
            with app.db.read() as db:
                for each in made:
                    check_postings(db, owner, each)
            break
        except BooksDisagree:
            if last:
                raise
    return made


def check_postings(db: Connection, owner: Owner, shown: Bridge) -> None:
    """Good and at-risk revenue by the postings must be the closing figure of the bridge. Raises BooksDisagree."""
    posted = db.scalar(
        select(func.coalesce(func.sum(t.posting.c.minor), 0))
        .join(t.entry, t.entry.c.id == t.posting.c.entry)
        .where(owner.of(t.entry), t.posting.c.name.in_((GOOD, AT_RISK)), t.posting.c.unit == shown.unit)
        .where(t.entry.c.effective_at < shown.period.closes)
    )
    if int(posted or 0) != shown.end:
        raise BooksDisagree(
            f"{shown.period}: the postings come to {Amount(int(posted or 0), shown.unit)}, "
            f"the bridge closes at {Amount(shown.end, shown.unit)}"
        )


def fold(db: Connection, owner: Owner, until: datetime) -> Book:
    """Every customer's facts as one book."""
    return books.whole(db, owner, until)


def owners(app: App, account: str | None = None) -> list[Owner]:
    """The accounts that there are facts of. Raises LookupError for one that is neither known nor configured."""
    with app.db.read() as db:
        found = list(_walk_owners(db))
    chosen = [owner for owner in found if account in (None, owner.account)]
    if account and not chosen and account not in {known.id for known in app.settings.all_accounts}:
        raise LookupError(f"nothing is known of an account {account}")
    return chosen


def _walk_owners(db: Connection) -> Iterator[Owner]:
    """From one to the next along the index: a DISTINCT would read every fact."""
    mine = tuple_(t.fact.c.account, t.fact.c.livemode)
    following = select(t.fact.c.account, t.fact.c.livemode).order_by(t.fact.c.account, t.fact.c.livemode).limit(1)
    row = db.execute(following).first()
    while row is not None:
        yield Owner(row.account, row.livemode)
        row = db.execute(following.where(mine > (row.account, row.livemode))).first()


def _as_json(each: Reported, display: str) -> dict[str, object]:
    return {
        "account": each.owner.account,
        "livemode": each.owner.livemode,
        "bridges": [render.to_json(one, display) for one in each.bridges],
    }
