"""What the books say, for a person or a program: the bridge of a month, checked twice before it is shown.

The bridge is folded from the facts; the double-entry postings were appended one by one as things happened. Two ways to
the same closing figure: when they differ, no report is printed. Monthly roll-ups can replace the fold when a company
has too many customers to fold in one go; the check stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TextIO
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from billing.ledger.book import book
from billing.ledger.entry import AT_RISK, GOOD, entries_of
from billing.ledger.facts import facts_of
from billing.ledger.interpret import ledger_events
from billing.ledger.movement import Book
from billing.ledger.policy import DEFAULT
from billing.money import Amount
from billing.report import render
from billing.report.bridge import Bridge, bridges
from billing.report.period import Period
from worker import books, store
from worker import tables as t
from worker.app import App
from worker.store import Owner
from worker.values import event_from_json


class BooksDisagree(ValueError):
    """The postings do not come to the closing figure of the bridge; the message has both."""


@dataclass(frozen=True, slots=True)
class Reported:
    """One account's bridges of one period, one for each currency."""

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
        for each in reported(app, period, account)
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


def reported(app: App, period: Period, account: str | None = None) -> list[Reported]:
    """The checked bridges of every account, or of one, after the books were brought up to date."""
    return [Reported(owner, _bridges(app, owner, period)) for owner in _owners(app, account)]


def _bridges(app: App, owner: Owner, period: Period) -> tuple[Bridge, ...]:
    """Folded and checked; again when a worker wrote between the two readings, which a real mistake survives."""
    for last in (False, False, True):
        made = bridges(up_to_date(app, owner), period)
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


def up_to_date(app: App, owner: Owner) -> Book:
    """All facts of an account as one book, after its entries were appended."""
    books.keep(app)
    with app.db.read() as db:
        folded = fold(app, db, owner)
        late = _not_booked(db, owner, folded)
    if late:  # something fell due without an event: a past-due limit, a coupon's end
        with app.db.begin() as db:
            now = app.now()
            rows = [{**owner.key, "customer": customer, "since": now} for customer in sorted(late)]
            db.execute(store.insert(db, t.to_book).on_conflict_do_nothing(), rows)
        books.keep(app)
    return folded


def fold(app: App, db: Connection, owner: Owner) -> Book:
    """Every customer's facts, folded up to now."""
    return book((event for facts in _facts(db, owner) for event in ledger_events(facts)), DEFAULT, app.now())


def _facts(db: Connection, owner: Owner) -> Iterator[list[object]]:
    fact = t.fact
    rows = db.execution_options(yield_per=1_000).execute(
        select(fact.c.customer, fact.c.body)
        .where(owner.of(fact), fact.c.customer.is_not(None))
        .order_by(fact.c.customer, fact.c.id)
    )
    for _, of_one in groupby(rows, key=lambda row: row.customer):
        yield [fact for row in of_one for fact in facts_of(event_from_json(row.body))]


def _not_booked(db: Connection, owner: Owner, folded: Book) -> set[str]:
    """Customers of whom the fold says something that no entry says."""
    booked = {key.partition("#")[0] for (key,) in db.execute(select(t.entry.c.key).where(owner.of(t.entry)))}
    return {entry.customer for entry in entries_of(folded) if entry.key not in booked}


def _owners(app: App, account: str | None) -> list[Owner]:
    """The accounts that there are facts of. Raises LookupError for one that is neither known nor configured."""
    fact = t.fact
    with app.db.read() as db:
        rows = db.execute(select(fact.c.account, fact.c.livemode).distinct().order_by(fact.c.account, fact.c.livemode))
        found = [Owner(row.account, row.livemode) for row in rows]
    chosen = [owner for owner in found if account in (None, owner.account)]
    if account and not chosen and account not in {known.id for known in app.settings.all_accounts}:
        raise LookupError(f"nothing is known of an account {account}")
    return chosen


def _as_json(each: Reported, display: str) -> dict[str, object]:
    return {
        "account": each.owner.account,
        "livemode": each.owner.livemode,
        "bridges": [render.to_json(one, display) for one in each.bridges],
    }
