"""History that Stripe no longer has, or never had, from CSV files whose columns are in docs/history.md.

A file is read whole before anything is stored, and stored in one transaction: a row that cannot be read is named by
file, line and column, and nothing of its file is booked. Ids come from the rows' content, so the same file twice
changes nothing. Facts only: no case is opened, nothing is charged or written because of an import.
"""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from io import StringIO
from pathlib import Path

from sqlalchemy import Connection, func, select

from billing.events import Event, InvoiceFailed, InvoicePaid, InvoiceVoided, SubscriptionSeen, What
from billing.events.snapshots import Invoice, Item, Subscription
from billing.memory import kept
from billing.money import Amount, exponent
from worker import books, store
from worker import tables as t
from worker.app import App
from worker.store import Owner
from worker.values import to_json

BATCH = 500
INTERVALS = ("day", "week", "month", "quarter", "year")
ENDS = {"customer": "cancellation_requested", "payment_failed": "payment_failed", "dispute": "payment_disputed"}
OUTCOMES = ("recovered", "forgiven", "")


class BadFile(ValueError):
    """A file cannot be booked; the message names file, line and column."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line, read cell by cell; `line` counts from 1, the header included."""

    path: Path
    line: int
    cells: Mapping[str, str]

    def wrong(self, column: str, because: str) -> BadFile:
        return BadFile(f"{self.path}, line {self.line}, column {column}: {because}")

    def text(self, column: str) -> str:
        if not (found := self.cells.get(column, "").strip()):
            raise self.wrong(column, "is empty")
        if not found.isprintable() or len(found) > 255:
            raise self.wrong(column, "is no readable text of at most 255 characters")
        return found

    def one_of(self, column: str, allowed: Sequence[str]) -> str:
        found = self.cells.get(column, "").strip()
        if found not in allowed:
            raise self.wrong(column, f"{found!r} is none of {', '.join(each or 'nothing' for each in allowed)}")
        return found

    def instant(self, column: str) -> datetime:
        """A date (midnight UTC) or a time; without an offset it is UTC."""
        text = self.text(column)
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise self.wrong(column, f"{text!r} is no date such as 2025-03-31 or 2025-03-31T12:00:00Z") from None
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)

    def maybe_instant(self, column: str) -> datetime | None:
        return self.instant(column) if self.cells.get(column, "").strip() else None

    def count(self, column: str, default: int = 1, least: int = 1) -> int:
        text = self.cells.get(column, "").strip()
        if not text:
            return default
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= 2**31 - 1:
            raise self.wrong(column, f"{text!r} is no whole number from {least}")
        return int(text)

    def currency(self, column: str = "currency") -> str:
        text = self.text(column).lower()
        if len(text) != 3 or not (text.isascii() and text.isalpha()):
            raise self.wrong(column, f"{text!r} is no currency such as usd")
        return text

    def minor(self, column: str, currency: str) -> Decimal:
        """A decimal amount such as 49.00 in minor units; finer than the currency's own unit is allowed for prices."""
        text = self.text(column)
        try:
            amount = Decimal(text)
        except InvalidOperation:
            raise self.wrong(column, f"{text!r} is no amount such as 49.00") from None
        if not amount.is_finite() or amount < 0 or amount >= Decimal(10) ** 12:
            raise self.wrong(column, f"{text!r} is no amount from 0")
        return amount.scaleb(exponent(currency))


def run(app: App, owner: Owner, path: Path) -> tuple[int, int]:
    """Book one file: (rows in it, facts that were not known before). Raises BadFile, and then nothing is stored."""
    rows = list(_rows(path))
    events = [fact for event in _events(owner, rows) if (fact := kept(event))]
    with app.db.begin() as db:
        before = _facts(db, owner)
        for start in range(0, len(events), BATCH):
            store.keep(db, owner, events[start : start + BATCH], app.now())
        new = _facts(db, owner) - before
    books.keep(app)
    return len(rows), new


def _facts(db: Connection, owner: Owner) -> int:
    imported = t.fact.c.source.like("import:%")
    return db.scalar(select(func.count()).select_from(t.fact).where(owner.of(t.fact), imported)) or 0


def _rows(path: Path) -> Iterator[Row]:
    lines = list(StringIO(_text(path), newline=""))
    reader = csv.reader(lines, strict=True)
    header: list[str] = []
    line = 1  # where the record begins; a quoted cell may hold line ends
    try:
        for cells in reader:
            if not header:
                header = [name.strip() for name in cells]
                _check(path, header)
            elif cells:
                row = Row(path, line, dict(zip(header, cells, strict=False)))
                if len(cells) > len(header):
                    raise row.wrong(str(len(header) + 1), "the line has more cells than the header has columns")
                if len(cells) < len(header):
                    raise row.wrong(header[len(cells)], "the line ends before it")
                yield row
            line = reader.line_num + 1
    except csv.Error as error:
        raise Row(path, line, {}).wrong(_misquoted(lines[line - 1], header), str(error)) from None
    if not header:
        _check(path, header)


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, cell = raw.count(b"\n", 0, error.start) + 1, raw.rfind(b"\n", 0, error.start) + 1
        column = raw.count(b",", cell, error.start) + 1
        raise BadFile(f"{path}, line {line}, column {column}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}") from None


def _misquoted(line: str, header: Sequence[str]) -> str:
    """The column of the first cell whose quotes do not close, as far as commas tell."""
    well = re.compile(r'"(?:[^"]|"")*"|[^"]*')
    at = next((n for n, cell in enumerate(line.rstrip("\r\n").split(",")) if not well.fullmatch(cell)), 0)
    return header[at] if at < len(header) else str(at + 1)


def _check(path: Path, header: list[str]) -> None:
    """The header says which of the kinds of file this is."""
    for kind, (needed, optional, _) in KINDS.items():
        if set(needed) <= set(header):
            unknown = [name for name in header if name not in (*needed, *optional)]
            if unknown:
                raise BadFile(f"{path}, line 1, column {unknown[0]}: no such column in a file of {kind}")
            if len(set(header)) < len(header):
                raise BadFile(f"{path}, line 1: a column stands there twice")
            return
    wanted = "; or ".join(f"{kind}: {', '.join(needed)}" for kind, (needed, _, _) in KINDS.items())
    raise BadFile(f"{path}, line 1: columns are missing. A file needs, for {wanted}")


def _events(owner: Owner, rows: Sequence[Row]) -> Iterator[Event]:
    if not rows:
        return
    for needed, _, read in KINDS.values():
        if set(needed) <= rows[0].cells.keys():
            yield from read(owner, rows)
            return


# ---------------------------------------------------------------- periods of subscriptions


@dataclass(frozen=True, slots=True)
class Period:
    """One product of one subscription, at one price and quantity, from `starts` until `ends`."""

    row: Row
    customer: str
    subscription: str
    currency: str
    item: Item
    starts: datetime
    ends: datetime | None
    reason: str


def _periods(owner: Owner, rows: Sequence[Row]) -> Iterator[Event]:
    by_subscription: dict[str, list[Period]] = defaultdict(list)
    for row in rows:
        period = _period(row)
        by_subscription[period.subscription].append(period)
    for periods in by_subscription.values():
        yield from _subscription(owner, sorted(periods, key=lambda each: (each.starts, each.item.id)))


def _period(row: Row) -> Period:
    currency, product = row.currency(), row.text("product")
    interval, number = row.one_of("interval", INTERVALS), row.count("interval_count")
    starts, ends = row.instant("starts"), row.maybe_instant("ends")
    if ends is not None and ends <= starts:
        raise row.wrong("ends", "is not after starts")
    reason = row.one_of("end_reason", ("", *ENDS))
    if reason and ends is None:
        raise row.wrong("end_reason", "is given, and ends is empty")
    item = Item(
        id=f"import:{product}",
        price=None,
        product=product,
        unit_amount=format(row.minor("amount", currency).normalize(), "f"),
        quantity=row.count("quantity", least=0),
        interval="month" if interval == "quarter" else interval,
        interval_count=3 * number if interval == "quarter" else number,
    )
    return Period(row, row.text("customer"), row.text("subscription"), currency, item, starts, ends, reason)


def _subscription(owner: Owner, periods: list[Period]) -> Iterator[Event]:
    """One snapshot at each instant at which a period begins or ends, the end when none follows."""
    _consistent(periods)
    first = periods[0]
    open_ended = any(each.ends is None for each in periods)
    last = max((each.ends for each in periods if each.ends), default=None)
    for at in sorted({each.starts for each in periods} | {each.ends for each in periods if each.ends}):
        running = [each for each in periods if each.starts <= at and (each.ends is None or at < each.ends)]
        ended = not open_ended and at == last
        reason = next((each.reason for each in periods if each.ends == at and each.reason), "")
        seen = Subscription(
            id=first.subscription,
            customer=first.customer,
            status="canceled" if ended else "active",
            currency=first.currency,
            items=tuple(each.item for each in (periods if ended else running) if not ended or each.ends == at),
            created=first.starts,
            ended_at=at if ended else None,
            canceled_at=at if ended else None,
            cancel_reason=ENDS.get(reason or "customer") if ended else None,
            cancel_feedback="import" if ended and reason in ("", "customer") else None,
        )
        yield _event(owner, at, SubscriptionSeen(seen, "imported"), first.customer, first.subscription)


def _consistent(periods: list[Period]) -> None:
    first = periods[0]
    open_until: dict[str, datetime | None] = {}
    for each in periods:
        if each.customer != first.customer:
            raise each.row.wrong(
                "customer", f"{each.subscription} belongs to {first.customer} in line {first.row.line}"
            )
        if each.currency != first.currency:
            raise each.row.wrong("currency", f"{each.subscription} is in {first.currency} in line {first.row.line}")
        before = open_until.get(each.item.id, each.starts)
        if before is None or before > each.starts:
            raise each.row.wrong("starts", f"an earlier period of {each.item.product} has not ended by then")
        open_until[each.item.id] = each.ends


# ---------------------------------------------------------------- failures and what became of them


def _failures(owner: Owner, rows: Sequence[Row]) -> Iterator[Event]:
    for row in rows:
        customer, subscription, id = row.text("customer"), row.text("subscription"), row.text("invoice")
        currency = row.currency()
        due = row.minor("amount", currency)
        if due != due.to_integral_value() or not due:
            raise row.wrong("amount", f"is no amount of {currency} above 0")
        failed_at, outcome = row.instant("failed_at"), row.one_of("outcome", OUTCOMES)
        ended_at = row.maybe_instant("outcome_at")
        if bool(outcome) != (ended_at is not None):
            raise row.wrong("outcome_at", "must be given with an outcome, and only then")
        if ended_at is not None and ended_at < failed_at:
            raise row.wrong("outcome_at", "is before failed_at")
        whole, none = Amount(int(due), currency), Amount(0, currency)
        then = Invoice(id, customer, "open", whole, none, whole, subscription, billing_reason="subscription_cycle")
        yield _event(owner, failed_at, InvoiceFailed(then), customer, id)
        if outcome == "recovered" and ended_at:
            paid = Invoice(id, customer, "paid", whole, whole, none, subscription, billing_reason="subscription_cycle")
            yield _event(owner, ended_at, InvoicePaid(paid), customer, id)
        elif ended_at:
            yield _event(owner, ended_at, InvoiceVoided(then), customer, id)


def _event(owner: Owner, at: datetime, what: What, customer: str, object: str) -> Event:
    told = json.dumps([at.isoformat(), customer, to_json(what)], sort_keys=True)
    content = blake2b(told.encode(), digest_size=8).hexdigest()
    type = f"import.{what.__class__.__name__}"
    return Event(f"import:{object}:{content}", type, at, owner.account, owner.livemode, what, customer=customer)


Read = Callable[[Owner, Sequence[Row]], Iterator[Event]]
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Read]] = {
    "failures": (
        ("customer", "subscription", "invoice", "amount", "currency", "failed_at", "outcome", "outcome_at"),
        (),
        _failures,
    ),
    "periods": (
        ("customer", "subscription", "product", "amount", "currency", "interval", "starts", "ends"),
        ("interval_count", "quantity", "end_reason"),
        _periods,
    ),
}
