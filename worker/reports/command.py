"""From what somebody asked for to a file or a screen: period, currency, tables, format.

    options -> periods -> one checked book per account -> one scope per currency -> tables -> a renderer

A file appears whole or not at all. Several currencies without rates are several tables, never a sum.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from billing.report.bridge import Basis
from billing.report.period import NotAPeriod, Period
from billing.report.table import Table
from worker.app import App
from worker.reports.catalogue import CATALOGUE, Asked, NotAskedWell
from worker.reports.source import Source, sources

FORMATS = ("text", "json", "csv", "xlsx", "parquet", "svg", "png")
SUFFIXES = {f".{name}": name for name in FORMATS[1:]} | {".txt": "text"}
PICTURES = frozenset({"svg", "png"})
BINARY = frozenset({"xlsx", "parquet", *PICTURES})


@dataclass(frozen=True, slots=True)
class Order:
    """The options of one report, as somebody wrote them; empty means the usual."""

    report: str
    month: str = ""
    quarter: str = ""
    ttm: str = ""  # the twelve months that end with this one
    begin: str = ""
    end: str = ""  # excluded
    zone: str = ""
    basis: str = "netted"
    display: str = "gross"
    currency: str = ""
    rates: Path | None = None
    form: str = ""
    out: Path | None = None
    account: str | None = None
    back: int | None = None
    cut: str = ""
    measure: str = ""


def run(app: App, order: Order, stdout: TextIO) -> None:
    """Make the report and write it. Raises NotAskedWell, NotAPeriod, LookupError, BadRates, BooksDisagree."""
    form = format_of(order)
    if form in BINARY and order.out is None and stdout.isatty():
        raise NotAskedWell(f"{form} is no text for a terminal: name a file with --out")
    period = period_of(app, order)
    asked = [
        (source, one) for source in sources(app, [period], order.account) for one in _asked(source, order, period, form)
    ]
    content = _content(order, asked, form, styled=order.out is None and stdout.isatty())
    if order.out is not None:
        put(order.out, content)
    elif form in BINARY:
        stdout.flush()
        stdout.buffer.write(content)
    else:
        stdout.write(content.decode())


def format_of(order: Order) -> str:
    """The format asked for, else what the file's name ends with, else text. Raises NotAskedWell."""
    suffix = SUFFIXES.get(order.out.suffix.lower(), "text") if order.out else "text"
    form = order.form or suffix
    if form not in FORMATS:
        raise NotAskedWell(f"no format {form!r}: choose {', '.join(FORMATS)}")
    return form


def period_of(app: App, order: Order) -> Period:
    """One way of naming a period, or the present month. Raises NotAPeriod and NotAskedWell."""
    zone = order.zone or app.settings.reporting_timezone
    try:
        today = app.now().astimezone(ZoneInfo(zone)).date()
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise NotAskedWell(f"no time zone {zone!r}: write one like Europe/Berlin") from None
    named = [name for name in ("month", "quarter", "ttm") if getattr(order, name)]
    named += ["from and --to"] if order.begin or order.end else []
    if len(named) > 1:
        raise NotAskedWell(f"choose one period: --{' or --'.join(named)}")
    if order.quarter:
        return Period.quarter(order.quarter, zone)
    if order.ttm:
        return Period.month(order.ttm, zone).trailing(12)
    if named == ["from and --to"]:
        return Period(_day(order.begin, "from"), _day(order.end, "to"), zone)
    return Period.month(order.month or f"{today:%Y-%m}", zone)


def _day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise NotAPeriod(f"--{option} {text!r} is no date: write --from YYYY-MM-DD --to YYYY-MM-DD") from None


def _asked(source: Source, order: Order, period: Period, form: str) -> list[Asked]:
    """One question for each currency: the one asked for, or every one the books hold."""
    codes = [order.currency.lower()] if order.currency else source.currencies
    if order.display not in ("gross", "net") or order.basis not in set(Basis):
        raise NotAskedWell("--display is gross or net, --basis is netted or activity")
    rates = None
    if order.rates is not None:
        if not order.currency:
            raise NotAskedWell("--rates needs --currency: into which currency?")
        from worker.reports.rates import read

        rates = read(order.rates, codes[0])
    elif order.currency and codes[0] not in source.currencies:
        raise LookupError(f"the books hold no recurring revenue in {order.currency.upper()}")
    usual = "nrr" if form in PICTURES or form == "text" else "all"
    basis = Basis(order.basis)
    found = []
    for scope in (source.scope(code, period.zone, rates) for code in codes):
        found.append(
            Asked(
                scope,
                period,
                basis,
                order.display,
                order.back,
                order.cut,
                order.measure or usual,
                source.events,
                source.seen,
                source.posted,
                partial(source.bridge, scope, basis=basis),
            )
        )
    return found


def _content(order: Order, asked: Sequence[tuple[Source, Asked]], form: str, *, styled: bool) -> bytes:
    if form == "xlsx" and order.report == "bridge" and asked:
        return _bridge_workbook(order, asked)
    make = CATALOGUE[order.report]
    tables = [
        replace(table, labels=(("account", source.name), *table.labels))
        for source, each in asked
        for table in make(each)
    ]
    if form in BINARY:
        return in_bytes(lambda out: WRITE_BYTES[form](tables, out))
    if not tables and form == "text":
        return b"The books are empty: no subscription has been seen yet.\n"
    return _in_text(tables, form, styled=styled)


def _in_text(tables: Sequence[Table], form: str, *, styled: bool) -> bytes:
    out = io.StringIO(newline="")
    if form == "csv":
        from worker.reports import csv

        csv.write(one_table(tables, form), out)
    elif form == "json":
        from worker.reports import json

        json.write(tables, out)
    else:
        from worker.reports import terminal

        terminal.write(tables, out, styled=styled)
    return out.getvalue().encode()


def one_table(tables: Sequence[Table], form: str) -> Table:
    """All rows of tables with the same columns; a file of rows holds one table. Raises NotAskedWell."""
    if not tables:
        raise NotAskedWell("the books are empty: no subscription has been seen yet")
    first = tables[0]
    accounts = {dict(table.labels)["account"] for table in tables}
    if len(accounts) > 1 or any(table.columns != first.columns for table in tables):
        raise NotAskedWell(
            f"{form} holds one table, this would be several: choose one with --by, --account or --currency"
        )
    return replace(first, rows=tuple(row for table in tables for row in table.rows))


def _write_xlsx(tables: Sequence[Table], out: BinaryIO) -> None:
    from worker.reports import xlsx

    xlsx.write(tables, out)


def _write_parquet(tables: Sequence[Table], out: BinaryIO) -> None:
    from worker.reports import parquet

    parquet.write(one_table(tables, "parquet"), out)


def _write_svg(tables: Sequence[Table], out: BinaryIO) -> None:
    from worker.reports import drawing, pictures

    pictures.write(drawing.picture(_only(tables)), out, "svg")


def _write_png(tables: Sequence[Table], out: BinaryIO) -> None:
    from worker.reports import drawing, pictures

    pictures.write(drawing.picture(_only(tables)), out, "png")


def _only(tables: Sequence[Table]) -> Table:
    if len(tables) != 1:
        many = f"{len(tables)} tables" if tables else "nothing"
        raise NotAskedWell(f"a picture shows one table, this would be {many}: choose one with --currency or --account")
    return tables[0]


WRITE_BYTES: Mapping[str, Callable[[Sequence[Table], BinaryIO], None]] = {
    "xlsx": _write_xlsx,
    "parquet": _write_parquet,
    "svg": _write_svg,
    "png": _write_png,
}


def _bridge_workbook(order: Order, asked: Sequence[tuple[Source, Asked]]) -> bytes:
    """The bridge with the customers behind it, so that every line is a formula."""
    from worker.reports.bridge_workbook import Traced, write

    traced = []
    for source, each in asked:
        for period in each.period.back(each.back or 1) if (each.back or 1) > 1 else (each.period,):
            rows = each.scope.rows(period, each.basis)
            traced.append(Traced(source.bridge(each.scope, period, each.basis), rows, source.name))
    return in_bytes(lambda out: write(traced, out, order.display))


def in_bytes(write: Callable[[BinaryIO], Any]) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def put(file: Path, content: bytes) -> None:
    """All of the file or none of it, under its name. Raises NotAskedWell when it cannot be written."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as opened:
            opened.write(content)
        temporary.replace(file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise NotAskedWell(f"{file} cannot be written: {error.strerror}") from None
