"""From what somebody asked for to a file or a screen: period, currency, tables, format.

    options -> periods -> one checked source per account -> one scope per currency -> tables -> a renderer

A file appears whole or not at all. Several currencies without rates are several tables, never a sum.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import BinaryIO, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from billing.report.bridge import Basis
from billing.report.currency import CARRY_DAYS
from billing.report.long import LongTable, Rows
from billing.report.period import NotAPeriod, Period
from billing.report.table import Table
from worker.app import App
from worker.reports.catalogue import CATALOGUE, VIEWED, Asked, NotAskedWell
from worker.reports.check import check_begun, check_booked
from worker.reports.source import Source, sources

FORMATS = ("text", "json", "csv", "xlsx", "parquet", "svg", "png")
SUFFIXES = {f".{name}": name for name in FORMATS[1:]} | {".txt": "text"}
PICTURES = frozenset({"svg", "png"})
BINARY = frozenset({"xlsx", "parquet", *PICTURES})
ROW_BY_ROW = frozenset({"csv", "json", "parquet"})  # the others lay a table out as a whole
MOST_HELD = 50_000  # rows of a table that is


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
    from_facts: bool = False
    carry: bool = True  # a day without a rate takes that of a few days before


def run(app: App, order: Order, stdout: TextIO) -> None:
    """Make the report and write it.

    Raises NotAskedWell, NotAPeriod, NotBegun, NothingBooked, LookupError, BadRates, BooksDisagree.
    """
    form = format_of(order)
    fits(order)
    if form in BINARY and order.out is None and stdout.isatty():
        raise NotAskedWell(f"{form} is no text for a terminal: name a file with --out")
    period = period_of(app, order)
    check_begun(period, app.now())
    found = list(sources(app, [period], order.account, from_facts=order.from_facts))
    check_booked(each.currencies for each in found)
    asked = [(source, one) for source in found for one in _asked(source, order, period, form)]
    write = partial(_write, order, asked, form, styled=order.out is None and stdout.isatty())
    if order.out is not None:
        put(order.out, write)
        return
    with TemporaryFile() as file:  # a report that fails halfway prints nothing
        write(file)
        file.seek(0)
        if form in BINARY:
            stdout.flush()
            copyfileobj(file, stdout.buffer)
        else:
            with io.TextIOWrapper(file, "utf-8", newline="") as text:
                copyfileobj(text, stdout)


def format_of(order: Order) -> str:
    """The format asked for, else what the file's name ends with, else text. Raises NotAskedWell."""
    if order.form:
        if order.form not in FORMATS:
            raise NotAskedWell(f"no format {order.form!r}: choose {', '.join(FORMATS)}")
        return order.form
    ending = order.out.suffix.lower() if order.out else ""
    if ending and ending not in SUFFIXES:
        raise NotAskedWell(f"no format is known by the ending {ending!r}: choose {', '.join(SUFFIXES)}, or --format")
    return SUFFIXES.get(ending, "text")


def fits(order: Order) -> None:
    """Every option says something about this report. Raises NotAskedWell."""
    given = {"--by": order.cut, "--measure": order.measure, "--back": order.back}
    for option, reports in VIEWED.items():
        if given[option] and order.report not in reports:
            raise NotAskedWell(f"{order.report} has no {option}: {', '.join(sorted(reports))} have it")


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

        rates = read(order.rates, codes[0], CARRY_DAYS if order.carry else 0)
    elif order.currency and codes[0] not in source.currencies:
        raise LookupError(f"the books hold no recurring revenue in {order.currency.upper()}")
    usual = "nrr" if form in PICTURES or form == "text" else "all"
    basis = Basis(order.basis)
    among = period.trailing(12) if period.end.day == 1 else period  # the longest that a report looks back
    return [
        Asked(
            source.scope(code, period.zone, rates, among),
            period,
            partial(source.folded, code, period.zone, rates),
            partial(source.held, code, period.zone, rates),
            source.accounts,
            basis,
            order.display,
            order.back,
            order.cut,
            order.measure or usual,
            source.app.settings.bands,
            source.events,
            source.seen,
        )
        for code in codes
    ]


def _write(order: Order, asked: Sequence[tuple[Source, Asked]], form: str, out: BinaryIO, *, styled: bool) -> None:
    if form == "xlsx" and order.report == "bridge" and asked:
        return _bridge_workbook(order, asked, out)
    make = CATALOGUE[order.report]
    tables = [
        replace(table, labels=(("account", source.name), *table.labels))
        for source, each in asked
        for table in make(each)
    ]
    if form not in ROW_BY_ROW:
        tables = [_held(table) for table in tables]
    if form in BINARY:
        return WRITE_BYTES[form](tables, out)
    text = io.TextIOWrapper(out, "utf-8", newline="", write_through=True)
    _write_text(tables, form, text, styled=styled)
    text.flush()
    text.detach()
    return None


def _held(table: Table) -> Table:
    """A table that is laid out as a whole has to fit into memory. Raises NotAskedWell."""
    if not isinstance(table, LongTable):
        return table
    rows = tuple(islice(table.rows, MOST_HELD + 1))
    if len(rows) > MOST_HELD:
        raise NotAskedWell(f"the {table.title.lower()} has more than {MOST_HELD:,} rows: choose csv, json or parquet")
    return Table(table.name, table.title, table.columns, rows, table.labels, table.notes)


def _write_text(tables: Sequence[Table], form: str, out: TextIO, *, styled: bool) -> None:
    if form == "csv":
        from worker.reports import csv

        csv.write(alike(tables, form), out)
    elif form == "json":
        from worker.reports import json

        json.write(tables, out)
    else:
        from worker.reports import terminal

        terminal.write(tables, out, styled=styled)


def alike(tables: Sequence[Table], form: str) -> Sequence[Table]:
    """The tables, if they have the same columns: a file of rows holds one table. Raises NotAskedWell."""
    first = tables[0]
    accounts = {dict(table.labels)["account"] for table in tables}
    if len(accounts) > 1 or any(table.columns != first.columns for table in tables):
        raise NotAskedWell(
            f"{form} holds one table, this would be several: choose one with --by, --account or --currency"
        )
    return tables


def one_table(tables: Sequence[Table]) -> Table:
    """All rows of tables with the same columns."""
    first, rows = tables[0], Rows(lambda: (row for table in tables for row in table.rows))
    return LongTable(first.name, first.title, first.columns, rows, first.labels, first.notes)


def _write_xlsx(tables: Sequence[Table], out: BinaryIO) -> None:
    from worker.reports import xlsx

    xlsx.write(tables, out)


def _write_parquet(tables: Sequence[Table], out: BinaryIO) -> None:
    from worker.reports import parquet

    parquet.write(one_table(alike(tables, "parquet")), out)


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


def _bridge_workbook(order: Order, asked: Sequence[tuple[Source, Asked]], out: BinaryIO) -> None:
    """The bridge with the customers behind it, so that every line is a formula."""
    from worker.reports.bridge_workbook import Traced, write

    traced = []
    for source, each in asked:
        periods = each.period.back(each.back) if each.back and each.back > 1 else (each.period,)
        made = each.scope.bridges(periods, each.basis)
        rows = [list(each.scope.rows(period, each.basis)) for period in periods]
        whole = Period(periods[0].start, periods[-1].end, each.period.zone)
        notes = each.scope.notes(whole, periods)
        traced += [Traced(bridge, some, source.name, notes) for bridge, some in zip(made, rows, strict=True)]
    write(traced, out, order.display)


def put(file: Path, write: Callable[[BinaryIO], None]) -> None:
    """All of the file or none of it, under its name. Raises NotAskedWell when it cannot be written."""
    if not file.name:
        raise NotAskedWell("--out names no file")
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as opened:
            write(opened)
        temporary.replace(file)
    except OSError as error:
        raise NotAskedWell(f"{file} cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
