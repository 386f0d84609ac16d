"""What the books say, for a person or a program: the bridge of a month, checked twice before it is shown.

The bridge comes from the roll-ups, or from the facts where those cannot be believed or an auditor wants it so; the
double-entry postings were appended one by one as things happened. When they differ, no report is printed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TextIO
from zoneinfo import ZoneInfo

from billing.report import render
from billing.report.bridge import Bridge
from billing.report.period import Period
from billing.report.scope import FACTS
from worker.app import App
from worker.reports.check import BooksDisagree, check_begun, check_booked, check_postings, owners
from worker.reports.source import Source, checked
from worker.store import Owner

__all__ = ["BooksDisagree", "Reported", "check_postings", "nrr", "owners", "period_of", "reported"]


@dataclass(frozen=True, slots=True)
class Reported:
    """One account's bridges, one for each period and currency; `origin` says what they were made from, `notes` since
    when they can be trusted, and up to when they are."""

    owner: Owner
    bridges: tuple[Bridge, ...]
    origin: str = FACTS
    notes: tuple[str, ...] = ()


def nrr(
    app: App,
    month: str,
    out: TextIO,
    *,
    account: str | None = None,
    currency: str | None = None,
    net: bool = False,
    as_json: bool = False,
    from_facts: bool = False,
) -> None:
    """Print the bridge of a month (`2026-03`; the present one when empty) of each account and currency.

    Raises NotAPeriod, NotBegun, NothingBooked, LookupError for an account or currency without facts, BooksDisagree and
    NotBalanced.
    """
    period = period_of(app, month)
    check_begun(period, app.now())
    made = reported(app, [period], account, from_facts=from_facts)
    check_booked(each.bridges for each in made)
    found = [
        replace(each, bridges=tuple(b for b in each.bridges if currency in (None, b.unit.partition("/")[0])))
        for each in made
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
            out.write(render.text(one, display) + "\n")
            out.write("\n".join([f"Made from {each.origin}.", *each.notes]) + "\n\n")


def period_of(app: App, month: str) -> Period:
    """The month in the time zone in which the company closes its books. Raises NotAPeriod."""
    zone = app.settings.reporting_timezone
    return Period.month(month or app.now().astimezone(ZoneInfo(zone)).strftime("%Y-%m"), zone)


def reported(
    app: App, periods: Sequence[Period], account: str | None = None, *, from_facts: bool = False
) -> list[Reported]:
    """The checked bridges of every account, or of one, after the books were brought up to date."""
    return [_reported(checked(app, owner, periods, from_facts=from_facts), periods) for owner in owners(app, account)]


def _reported(source: Source, periods: Sequence[Period]) -> Reported:
    scopes = [source.scope(code, periods[0].zone) for code in source.currencies]
    made = [scope.bridges(periods) for scope in scopes]
    by_period = tuple(of_code[at] for at in range(len(periods)) for of_code in made)
    said = [each for scope in scopes[:1] for each in (scope.runs(periods[-1]), scope.begins(periods[0])) if each]
    return Reported(source.owner, by_period, scopes[0].origin if scopes else FACTS, tuple(said))


def _as_json(each: Reported, display: str) -> dict[str, object]:
    return {
        "account": each.owner.account,
        "livemode": each.owner.livemode,
        "made_from": each.origin,
        "notes": list(each.notes),
        "bridges": [render.to_json(one, display) for one in each.bridges],
    }
