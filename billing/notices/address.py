"""E-mail addresses: which ones we write to, and one spelling for each mailbox.

A library such as email-validator could replace this file; it would also ask the DNS, which rules may not.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass

# RFC 5321 4.1.2: a dot-string or a quoted string; RFC 6531 lets both hold other letters than ASCII's.
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u00a1-\U0010ffff]+"
_DOTTED = re.compile(rf"{_ATEXT}(\.{_ATEXT})*")
_QUOTED = re.compile(r'"([\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"')
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MISREAD = frozenset("ßς\u200c\u200d")  # Python's IDNA of 2003 turns them into another domain: mail to a stranger
LONGEST_LOCAL, LONGEST = 64, 254  # octets, RFC 5321 4.5.3.1 and its erratum 1690


class BadAddress(ValueError):
    """No mail can be sent to this address; the message says why, without repeating the address."""


@dataclass(frozen=True, slots=True)
class Address:
    """`local@domain`, the domain in lower-case ASCII."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def mailbox(self) -> str:
        """One spelling for what people take for the same mailbox; for comparing, never for sending."""
        local = re.sub(r"\\(.)", r"\1", self.local[1:-1]) if self.local.startswith('"') else self.local
        return f"{local.casefold()}@{self.domain}"


def parse(text: str) -> Address:
    """One bare address, without a name or comments. Raises BadAddress."""
    local, at, domain = text.strip(" ").rpartition("@")
    if not at or not local:
        raise BadAddress("the address is not of the form name@domain")
    if not local.isprintable() or not (_DOTTED.fullmatch(local) or _QUOTED.fullmatch(local)):
        raise BadAddress("the part of the address before the @ is not allowed in mail")
    found = Address(local, _domain(domain))
    if len(local.encode()) > LONGEST_LOCAL or len(str(found).encode()) > LONGEST:
        raise BadAddress("the address is longer than mail allows")
    return found


def _domain(name: str) -> str:
    if not _MISREAD.isdisjoint(name):
        raise BadAddress("the domain of the address has letters that are read in two ways")
    try:
        ascii_name = name.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise BadAddress("the domain of the address is not a domain name") from error
    labels = ascii_name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise BadAddress("the domain of the address is not a domain name")
    if len(labels) < 2 and ascii_name != "localhost":
        raise BadAddress("the domain of the address has no dot")
    return ascii_name


def recipient_hash(address: Address, key: bytes = b"") -> str:
    """32 hex digits that stand for the mailbox in keys and rows; with a secret `key` nobody can guess it back."""
    return hmac.digest(key, address.mailbox.encode(), "sha256").hex()[:32]
