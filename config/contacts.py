"""Whom else to write to at a customer, which Stripe does not say: a CSV file that the operator keeps.

Columns: `customer` (the Stripe id), `email`, `role` (billing, owner or member) and, if wanted, `language` (de, pt-BR).
A mistake names file, line and column, and nothing of the file is used. The company's product could be asked instead.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from billing.notices.address import Address, BadAddress, parse, recipient_hash

ROLES = ("billing", "owner", "member")
COLUMNS = ("customer", "email", "role", "language")
MOST = 20  # contacts of one customer: a message goes to each
_LANGUAGE = re.compile(r"[a-z]{2}(-[A-Z]{2})?")


class BadContacts(ValueError):
    """The file of contacts cannot be used; the message names file, line and column, and repeats no address."""


@dataclass(frozen=True, slots=True)
class Person:
    """One contact. `id` stands for the mailbox in keys and rows."""

    id: str
    address: Address
    role: str
    language: str | None = None


def contacts(file: Path | None) -> Mapping[str, tuple[Person, ...]]:
    """By Stripe customer, in order of the file; nothing without a file. Raises BadContacts."""
    if file is None:
        return MappingProxyType({})
    found: dict[str, tuple[Person, ...]] = {}
    for line, row in _rows(file):
        customer, person = row["customer"], _person(file, line, row)
        if not customer:
            raise BadContacts(f"{file}, line {line}, column customer: is empty")
        known = found.get(customer, ())
        if any(other.id == person.id for other in known):
            raise BadContacts(f"{file}, line {line}, column email: this address is in an earlier line of {customer}")
        if len(known) == MOST:
            raise BadContacts(f"{file}, line {line}: {customer} has more than {MOST} contacts")
        found[customer] = (*known, person)
    return MappingProxyType(found)


def _person(file: Path, line: int, row: Mapping[str, str]) -> Person:
    try:
        address = parse(row["email"])
    except BadAddress as bad:
        raise BadContacts(f"{file}, line {line}, column email: {bad}") from None
    if row["role"] not in ROLES:
        raise BadContacts(f"{file}, line {line}, column role: none of {', '.join(ROLES)}")
    language = row.get("language") or None
    if language and not _LANGUAGE.fullmatch(language):
        raise BadContacts(f"{file}, line {line}, column language: not of the form de or pt-BR")
    return Person(recipient_hash(address)[:16], address, row["role"], language)


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        reader = csv.reader(file.read_text(encoding="utf-8-sig").splitlines(keepends=True), strict=True)
    except (OSError, UnicodeDecodeError) as wrong:
        raise BadContacts(f"{file}: {wrong}") from None
    try:
        head = [name.strip() for name in next(reader, [])]
        for column in head:
            if column not in COLUMNS or head.count(column) > 1:
                raise BadContacts(f"{file}, line 1, column {column}: wanted once each are {', '.join(COLUMNS)}")
        if missing := [column for column in COLUMNS[:3] if column not in head]:
            raise BadContacts(f"{file}, line 1, column {missing[0]}: is missing")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(head):
                raise BadContacts(f"{file}, line {reader.line_num}: {len(cells)} cells, the header has {len(head)}")
            yield reader.line_num, dict(zip(head, (cell.strip() for cell in cells), strict=True))
    except csv.Error as wrong:
        raise BadContacts(f"{file}, line {reader.line_num}: {wrong}") from None
