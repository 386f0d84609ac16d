"""The `reprieve ledger` commands: what the books say about themselves, for a person or a program."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from sqlalchemy import select

from billing.ledger.recoveries import recoveries as found_in
from billing.money import MONTHLY, Amount
from billing.report import render
from billing.report.attempts import attempts as first_attempts
from billing.report.attempts import attempts_table
from billing.report.currency import Currency
from billing.report.memos import memo_table
from billing.report.memos import memos as told
from billing.report.table import Table
from worker import books, closed, closing, identity, report
from worker import problems as doubtful
from worker import tables as t
from worker import verify as verifying
from worker.app import App
from worker.reports import json as json_tables
from worker.reports import terminal
from worker.store import Owner


def problems(app: App, account: str | None, as_json: bool, out: TextIO) -> None:
    """List every problem with its customer and what to do, as they are found. Raises LookupError for an account."""
    found = _problems(app, account)
    if as_json:
        return _json_one_by_one(found, out)
    number = 0
    for row in found:
        number += 1
        who = " ".join(part for part in (row["customer"] or "nobody", row["subscription"]) if part)
        out.write(f"{row['at']:%Y-%m-%d %H:%M}  {who}  [{row['kind']}, {row['source']}]\n")
        out.write(f"  {row['because']}\n  Booked: {row['booked']}.\n  To do: {row['what_to_do']}.\n")
    out.write(f"{number} problem(s).\n" if number else "No problems: every fact is booked in full.\n")
    return None


def _problems(app: App, account: str | None) -> Iterator[dict[str, Any]]:
    for owner in report.owners(app, account):
        with app.db.read() as db:
            for each in doubtful.listed(db, owner):
                yield {**owner.key, **asdict(each)}


def verify(app: App, account: str | None, out: TextIO) -> bool:
    """Print what is wrong with the books; whether nothing is."""
    sound = True
    for owner in report.owners(app, account):
        findings = verifying.findings(app, owner)
        entries, customers, months = verifying.counts(app, owner)
        ends = f"{len(findings)} finding(s)" if findings else "all as it should be"
        for finding in findings:
            out.write(f"{_name(owner)}: {finding}\n")
        out.write(f"{_name(owner)}: {entries} entries of {customers} customers, {months} closed month(s): {ends}.\n")
        sound = sound and not findings
    return sound


def close(app: App, month: str, by: str, account: str | None, out: TextIO) -> None:
    """Close a month of every account, or of one. Raises NotAPeriod, CannotClose and LookupError."""
    for owner in report.owners(app, account):
        made = closing.close(app, owner, month, by)
        figures = ", ".join(str(Amount(minor, unit)) for unit, minor in made.closing.items()) or "nothing"
        out.write(f"{_name(owner)}: {month} is closed with {figures}.\n")


def closed_report(app: App, month: str, restated: bool, account: str | None, as_json: bool, out: TextIO) -> None:
    """Print a closed month as it was known at its close, or by all that is known now; without a month, which are."""
    rows: list[dict[str, Any]] = []
    for owner in report.owners(app, account):
        with app.db.read() as db:
            if not month:
                rows += [{**owner.key, **_row(each)} for each in closed.all_of(db, owner)]
                continue
            one = closed.one(db, owner, month)
            made = closing.restated(db, one, app.now()) if restated else closing.report(db, one)
        rows += [{**owner.key, **render.to_json(each)} for each in made]
        if not as_json:
            out.write("".join(f"{render.text(each)}\n\n" for each in made))
    if as_json:
        _json(rows, out)
    elif not month:
        for row in rows:
            figures = ", ".join(str(Amount(minor, unit)) for unit, minor in row["closing"].items())
            out.write(f"{row['month']}  {figures}  closed {row['closed_at']:%Y-%m-%d %H:%M} UTC by {row['by']}\n")
        out.write("" if rows else "No month is closed.\n")


def memos(app: App, month: str, account: str | None, as_json: bool, out: TextIO) -> None:
    """Print what a month's bridges do not say: scheduled churn, committed revenue, what is deferred, by usage, by year.

    One customer after the other, by all that is known now. Raises NotAPeriod and LookupError.
    """
    period = report.period_of(app, month)
    tables: list[Table] = []
    for owner in report.owners(app, account):
        books.keep(app)
        with app.db.read() as db:
            units = select(t.posting.c.unit).join(t.entry, t.entry.c.id == t.posting.c.entry).where(owner.of(t.entry))
            codes = {unit.partition("/")[0] for unit in db.scalars(units.distinct()) if unit.endswith(MONTHLY)}
            asked = [(period, Currency(code)) for code in sorted(codes)]
            found = told(
                (made for _, made in books.one_by_one(db, owner, app.now(), app.settings.ledger_policy)), asked
            )
        labels = (("account", _name(owner)), ("time zone", period.zone), ("as known at", app.now().isoformat()))
        tables += [memo_table([memo], [each], labels) for memo, each in zip(found, asked, strict=True)]
    _tables(tables, as_json, out)


def attempts(app: App, account: str | None, as_json: bool, out: TextIO) -> None:
    """Print the failure rate of first attempts, month by month. Raises LookupError for an unknown account."""
    zone = app.settings.reporting_timezone
    tables: list[Table] = []
    for owner in report.owners(app, account):
        with app.db.read() as db:
            found = first_attempts(books.facts_by_customer(db, owner), zone)
        labels = (("account", _name(owner)), ("time zone", zone), ("as known at", app.now().isoformat()))
        tables += [attempts_table(found, code, labels) for code in sorted({code for _, code in found})]
    _tables(tables, as_json, out)


def recoveries(app: App, account: str | None, as_json: bool, out: TextIO) -> None:
    """Print every recovery with its source, evidence and what still counts, one customer after the other."""
    found = _recoveries(app, account)
    if as_json:
        return _json_one_by_one(found, out)
    number = 0
    for row in found:
        number += 1
        amount = Amount(**row["amount"])
        later = ", ".join(f"{minor} after {days} days" for days, minor in _shown(row["live"], amount.unit))
        out.write(f"{row['at']:%Y-%m-%d}  {row['customer']}  {amount}  {row['source'] or 'unknown'}  ({later})\n")
        out.write(f"  {row['evidence']}\n")
    out.write(f"{number} recoveries.\n")
    return None


def _recoveries(app: App, account: str | None) -> Iterator[dict[str, Any]]:
    for owner in report.owners(app, account):
        books.keep(app)
        with app.db.read() as db:
            for _, made in books.one_by_one(db, owner, app.now(), app.settings.ledger_policy):
                yield from ({**owner.key, **asdict(each)} for each in found_in(made))


def identify(app: App, customer: str, same_as: str, by: str, account: str | None, out: TextIO) -> None:
    """Say who is one account, by two ids or by a file. Raises NotReadable, Circular, LookupError and ValueError."""
    statements = [(customer, same_as)] if same_as else identity.read(Path(customer))
    owners = report.owners(app, account)
    if len(owners) != 1:
        raise ValueError("there are several Stripe accounts: name one with --account")
    number = identity.state(app, owners[0], statements, by)
    books.keep(app)
    out.write(f"{number} customer(s) are booked under another account than before.\n")


def _shown(live: Iterable[tuple[int, int | None]], unit: str) -> list[tuple[int, Amount]]:
    return [(days, Amount(minor, unit)) for days, minor in live if minor is not None]


def _row(each: closed.Closed) -> dict[str, Any]:
    return {"month": each.month, "closed_at": each.closed_at, "by": each.by, "closing": dict(each.closing)}


def _name(owner: Owner) -> str:
    return f"{owner.account}, {'live' if owner.livemode else 'test'} mode"


def _tables(tables: list[Table], as_json: bool, out: TextIO) -> None:
    if as_json:
        json_tables.write(tables, out)
    elif tables:
        terminal.write(tables, out, styled=False)
    else:
        out.write("The books are empty: nothing has been seen yet.\n")


def _json_one_by_one(rows: Iterable[dict[str, Any]], out: TextIO) -> None:
    """A list like any other, written while it is made."""
    before = "[\n"
    for row in rows:
        out.write(before + json.dumps(row, default=str))
        before = ",\n"
    out.write("[]\n" if before == "[\n" else "\n]\n")


def _json(rows: list[dict[str, Any]], out: TextIO) -> None:
    json.dump(rows, out, indent=2, default=str)
    out.write("\n")
