"""Whether what is about to be printed agrees with the double entry; and whose books there are.

The bridge comes from the roll-ups or from the facts; the postings were appended one by one as things happened. Two
ways to the same closing figure: when they differ, no report is printed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from sqlalchemy import Connection, func, select, tuple_

from billing.ledger.entry import AT_RISK, GOOD
from billing.money import Amount
from billing.report.bridge import Bridge
from billing.report.period import Period
from worker import tables as t
from worker.app import App
from worker.store import Owner


class NothingBooked(LookupError):
    """nothing is booked yet; run `reprieve backfill` or wait for the first webhook"""

    def __str__(self) -> str:
        return str(self.__doc__)


class NotBegun(ValueError):
    """The whole period is in the future; the message names it."""


class BooksDisagree(ValueError):
    """The postings do not come to the closing figure of the bridge; the message has both."""


def check_booked(found: Iterable[Collection[object]]) -> None:
    """Some account has something to report. Raises NothingBooked."""
    if not any(found):
        raise NothingBooked


def check_begun(period: Period, now: datetime) -> None:
    """Raises NotBegun."""
    if period.opens > now:
        raise NotBegun(f"{period} has not begun yet: there is nothing to report")


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
