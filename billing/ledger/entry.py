"""Double entry: what the ledger appends. An entry is made by a verb and balances, or does not exist.

Recurring revenue is booked in `usd/mo` and its like: a customer's `good` and `at_risk` hold the level, one account per
line holds the other side, so losses stand there with a plus. Cash asked for in vain is booked in `usd`. Nothing is
ever updated: `corrections` says what to append so that the books say what the latest fold says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from billing.ledger.movement import Book, Case, Cash, CashKind, Line, Movement, Outcome, key_of
from billing.money import Amount

GOOD, AT_RISK = "good", "at_risk"
RECEIVABLE, CASH_AT_RISK, COLLECTED = "receivable", "cash_at_risk", "cash_collected"
CASH_LOST, CASH_FORGIVEN, CASH_REFUNDED = "cash_lost", "cash_forgiven", "cash_refunded"


class Unbalanced(ArithmeticError):
    """The postings of an entry do not sum to zero in each unit; the message has the key and the sums."""


@dataclass(frozen=True, slots=True)
class Posting:
    """`amount` added to one account of the entry's customer."""

    account: str
    amount: Amount


@dataclass(frozen=True, slots=True)
class Entry:
    """One balanced change of the books. `reverses` is the key of the entry that this one takes back."""

    key: str
    effective_at: datetime
    because: str
    postings: tuple[Posting, ...]
    customer: str
    subscription: str
    invoice: str | None = None
    case: str | None = None
    reverses: str | None = None

    def __post_init__(self) -> None:
        sums: dict[str, int] = defaultdict(int)
        for posting in self.postings:
            sums[posting.amount.unit] += posting.amount.minor
        if any(sums.values()):
            raise Unbalanced(f"entry {self.key} is off by {dict(sums)}")


# ---------------------------------------------------------------- verbs: recurring revenue


def failed(case: Case) -> Entry:
    """A payment failed: its level moves from good standing to risk. Nothing is lost."""
    return _of_case("failed", case, case.opened_at, "payment failed", _move(case.opened, GOOD, AT_RISK))


def released(case: Case) -> Entry:
    """A case ended and its level is in good standing again: recovered, forgiven, or changed for something else."""
    at = case.closed_at or case.opened_at
    amount = Amount(case.released, case.opened.unit)
    return _of_case("released", case, at, case.because or str(case.outcome), _move(amount, AT_RISK, GOOD))


def recovered(movement: Movement) -> Entry:
    """Paid before the loss: the gross loss and the recovery, side by side; the level does not change."""
    return _of(movement, "payment recovered", _move(movement.amount, Line.RECOVERED, Line.INVOLUNTARY))


def moved(movement: Movement) -> Entry:
    """Any other movement: between the customer's level and the account of its line."""
    level = AT_RISK if movement.at_risk else GOOD
    return _of(movement, movement.reason, _move(movement.amount, movement.line, level))


# ---------------------------------------------------------------- verbs: cash


_CASH: Mapping[CashKind, tuple[str, str, str]] = {
    CashKind.FAILED: (RECEIVABLE, CASH_AT_RISK, "asked for in vain"),
    CashKind.RECOVERED: (CASH_AT_RISK, COLLECTED, "paid after all"),
    CashKind.LOST: (CASH_AT_RISK, CASH_LOST, "given up"),
    CashKind.RECOVERED_AFTER_LOSS: (CASH_LOST, COLLECTED, "paid after the loss"),
    CashKind.FORGIVEN: (CASH_AT_RISK, CASH_FORGIVEN, "forgiven"),
    CashKind.REFUNDED: (COLLECTED, CASH_REFUNDED, "refunded"),
}


def cash_moved(cash: Cash) -> Entry:
    """What became of money that an invoice asked for."""
    source, target, because = _CASH[cash.kind]
    return Entry(
        key=f"cash:{cash.key}",
        effective_at=cash.at,
        because=f"{because}: {cash.source}" if cash.source else because,
        postings=_move(cash.amount, source, target),
        customer=cash.customer,
        subscription=cash.subscription,
        invoice=cash.invoice,
        case=cash.case,
    )


def reversal(entry: Entry) -> Entry:
    """Takes an entry back, at the same effective instant."""
    postings = tuple(Posting(each.account, -each.amount) for each in entry.postings)
    because = f"no longer so: {entry.because}"
    return replace(entry, key=f"{entry.key}!", because=because, postings=postings, reverses=entry.key)


# ---------------------------------------------------------------- a book's entries, and corrections


def entries_of(book: Book) -> tuple[Entry, ...]:
    """Everything that the books should hold, in the order of time."""
    entries: list[Entry] = []
    for case in book.cases:
        entries.append(failed(case))
        if case.outcome is not Outcome.OPEN and case.released:
            entries.append(released(case))
    for movement in book.movements:
        if movement.pair is None:
            entries.append(moved(movement))
        elif movement.line is Line.RECOVERED:  # its other half is the other posting of the same entry
            entries.append(recovered(movement))
    entries += [cash_moved(cash) for cash in book.cash]
    return tuple(sorted(entries, key=lambda entry: (entry.effective_at, entry.key)))


def corrections(booked: Mapping[str, Entry], wanted: Iterable[Entry]) -> tuple[Entry, ...]:
    """What to append to `booked` (all entries ever, by key) so that it sums to `wanted`: reversals, then new entries.

    An entry that was taken back and is right again gets a numbered key. Appending the answer and asking again gives
    nothing.
    """
    taken_back = {entry.reverses for entry in booked.values() if entry.reverses}
    live = {_plain(key): entry for key, entry in booked.items() if not entry.reverses and key not in taken_back}
    times = Counter(_plain(key) for key, entry in booked.items() if not entry.reverses)
    right = {entry.key: entry for entry in wanted}
    stale = [reversal(entry) for key, entry in live.items() if key not in right]
    fresh = [_numbered(entry, times[key]) for key, entry in right.items() if key not in live]
    return tuple(sorted(stale, key=_order)) + tuple(sorted(fresh, key=_order))


def balances(entries: Iterable[Entry], of: Callable[[Entry], str] = lambda _: "") -> dict[tuple[str, str, str], int]:
    """Minor units by (group, account, unit); accounts at zero are left out."""
    sums: dict[tuple[str, str, str], int] = defaultdict(int)
    for entry in entries:
        for posting in entry.postings:
            sums[of(entry), posting.account, posting.amount.unit] += posting.amount.minor
    return {account: minor for account, minor in sums.items() if minor}


def _order(entry: Entry) -> tuple[datetime, str]:
    return entry.effective_at, entry.key


def _plain(key: str) -> str:
    return key.partition("#")[0]


def _numbered(entry: Entry, times: int) -> Entry:
    return replace(entry, key=f"{entry.key}#{times + 1}") if times else entry


def _move(amount: Amount, source: str, target: str) -> tuple[Posting, ...]:
    return (Posting(str(target), amount), Posting(str(source), -amount))


def _of(movement: Movement, because: str, postings: tuple[Posting, ...]) -> Entry:
    return Entry(
        key=f"{movement.line}:{movement.key}",
        effective_at=movement.effective_at,
        because=because,
        postings=postings,
        customer=movement.customer,
        subscription=movement.subscription,
        invoice=movement.invoice,
        case=movement.case,
    )


def _of_case(verb: str, case: Case, at: datetime, because: str, postings: tuple[Posting, ...]) -> Entry:
    minor = max(posting.amount.minor for posting in postings)
    return Entry(
        key=f"{verb}:{key_of(case.key, at, minor, case.opened.unit)}",
        effective_at=at,
        because=because,
        postings=postings,
        customer=case.customer,
        subscription=case.subscription,
        invoice=case.invoice,
        case=case.key,
    )
