"""Consents from a CSV file: customer, number, granted_at, source, and channel if it is not SMS.

A file is read whole before anything is kept: a row that cannot be read is named by file, line and column, and nothing
of its file is kept. A consent that a later STOP or withdrawal forbids is no mistake of the file: it is left out, and
said.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import insert

from worker import consent
from worker.app import App
from worker.consent import CHANNELS, LONGEST_SOURCE, BadNumber, Grant
from worker.importing import BadFile, Row
from worker.store import Owner
from worker.tables import audit

NEEDED = ("customer", "number", "granted_at", "source")
OPTIONAL = ("channel",)


@dataclass(frozen=True, slots=True)
class Imported:
    """`refused`: line, and why that consent is not kept."""

    kept: int
    refused: tuple[tuple[int, str], ...]


def run(app: App, owner: Owner, path: Path, by: str) -> Imported:
    """Keep the consents of one file, in one transaction. Raises BadFile and NoSecret, and then nothing is kept."""
    rows = list(_rows(path))
    grants = [_grant(row) for row in rows]
    _once(rows, grants)
    now = app.now()
    for row, grant in zip(rows, grants, strict=True):
        if grant.granted_at > now:
            raise row.wrong("granted_at", "lies in the future")
    with app.db.begin() as db:
        answers = consent.grant(db, app.settings, owner, grants, by, now)
        refused = tuple((row.line, because) for row, because in zip(rows, answers, strict=True) if because)
        kept = len(grants) - len(refused)
        because = f"{kept} kept, {len(refused)} refused"
        line = {"actor": by, "what": "consent import", "object": path.name, "because": because, "at": now}
        db.execute(insert(audit), {**owner.key, **line})
    return Imported(kept, refused)


def _grant(row: Row) -> Grant:
    try:
        number = consent.number_in(row.text("number"))
    except BadNumber as bad:
        raise row.wrong("number", str(bad)) from None
    source = row.text("source")
    if len(source) > LONGEST_SOURCE:
        raise row.wrong("source", f"is longer than {LONGEST_SOURCE} characters")
    channel = row.one_of("channel", ("", *CHANNELS)) or "sms"
    return Grant(row.text("customer"), number, row.instant("granted_at"), source, channel)


def _once(rows: list[Row], grants: list[Grant]) -> None:
    seen: dict[tuple[str, str], int] = {}
    for row, grant in zip(rows, grants, strict=True):
        if first := seen.setdefault((grant.customer, grant.channel), row.line) - row.line:
            raise row.wrong("customer", f"is in line {row.line + first} too")


def _rows(path: Path) -> Iterator[Row]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as wrong:
        raise BadFile(f"{path}: {wrong}") from None
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in NEEDED if name not in header]
        unknown = [name for name in header if name not in (*NEEDED, *OPTIONAL)]
        if missing or unknown or len(set(header)) < len(header):
            wanted = f"the columns {', '.join(NEEDED)} are wanted, and {', '.join(OPTIONAL)} may be there"
            raise BadFile(f"{path}, line 1: {wanted}")
        for cells in reader:
            if any(cell.strip() for cell in cells):
                row = Row(path, reader.line_num, dict(zip(header, cells, strict=False)))
                if len(cells) != len(header):
                    raise row.wrong(header[-1], f"the line has {len(cells)} cells, the header has {len(header)}")
                yield row
    except csv.Error as wrong:
        raise BadFile(f"{path}, line {reader.line_num}: {wrong}") from None
