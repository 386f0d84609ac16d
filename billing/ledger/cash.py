"""Money that an invoice asked for in vain, and what became of it. Cash never moves recurring revenue.

Replayed by the fold beside the subscriptions. Every debt ends as recovered, lost or forgiven; a payment after the loss
undoes the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from billing.ledger.movement import Case, Cash, CashKind, key_of
from billing.ledger.vocabulary import LedgerEvent
from billing.money import Amount


@dataclass(slots=True)
class Debt:
    """One unpaid invoice; amounts in minor units."""

    subscription: str
    invoice: str | None
    open: int = 0
    lost: int = 0
    paid: int = 0
    refunded: int = 0
    case: str | None = None
    settled: bool = False  # paid or forgiven: nothing more is owed


class Debts:
    """All debts of one customer, and the record of their changes in the order of the replay."""

    def __init__(self, customer: str) -> None:
        self.customer = customer
        self.debts: dict[str, Debt] = {}
        self.record: list[Cash] = []

    def failed(self, event: LedgerEvent, currency: str, case: Case) -> None:
        """Money was asked for in vain; only the first time for each invoice counts."""
        key = event.invoice or event.subscription
        if event.amount <= 0 or (key in self.debts and not self.debts[key].settled):
            return
        debt = self.debts[key] = Debt(event.subscription, event.invoice, case=case.key)
        self._owe(debt, event.amount, currency, event.at, gone=False)

    def paid(self, event: LedgerEvent, currency: str, case: Case | None, gone: bool) -> None:
        """An invoice that had failed was paid in full; what was written down of it in between is forgiven."""
        key = event.invoice or event.subscription
        debt = self.debts.get(key)
        if event.amount <= 0 or (debt is not None and debt.settled):
            return
        if debt is None:
            debt = self.debts[key] = Debt(event.subscription, event.invoice, case=case.key if case else None)
        gone = gone or debt.lost > 0
        more = event.amount - debt.open - debt.lost
        if more > 0:
            self._owe(debt, more, currency, event.at, gone)
        late, early = min(event.amount, debt.lost), event.amount - min(event.amount, debt.lost)
        self._note(debt, CashKind.RECOVERED_AFTER_LOSS, late, currency, event.at, event.source)
        self._note(debt, CashKind.RECOVERED, early, currency, event.at, event.source)
        self._note(debt, CashKind.FORGIVEN, debt.open - early, currency, event.at)
        debt.open, debt.lost, debt.paid, debt.settled = 0, debt.lost - late, debt.paid + event.amount, True

    def lost(self, subscription: str, currency: str, at: datetime) -> None:
        """The case ended without the money."""
        for debt in self._open(subscription):
            self._note(debt, CashKind.LOST, debt.open, currency, at)
            debt.open, debt.lost = 0, debt.lost + debt.open

    def forgiven(self, subscription: str, currency: str, at: datetime, invoice: str | None) -> None:
        """One invoice was given up, or all of them when none is named."""
        for debt in self._open(subscription):
            if invoice is None or debt.invoice == invoice:
                self._note(debt, CashKind.FORGIVEN, debt.open, currency, at)
                debt.open, debt.settled = 0, True

    def refunded(self, event: LedgerEvent, currency: str) -> None:
        """`amount` is all that was ever refunded of the payment, as Stripe counts it; repetition changes nothing."""
        debt = self.debts.get(event.invoice or event.subscription)
        if debt is not None and debt.paid:
            upto = min(event.amount, debt.paid)
            self._note(debt, CashKind.REFUNDED, upto - debt.refunded, currency, event.at)
            debt.refunded = max(upto, debt.refunded)

    def _open(self, subscription: str) -> list[Debt]:
        return [debt for debt in self.debts.values() if debt.subscription == subscription and debt.open]

    def _owe(self, debt: Debt, minor: int, currency: str, at: datetime, gone: bool) -> None:
        self._note(debt, CashKind.FAILED, minor, currency, at)
        if gone:
            self._note(debt, CashKind.LOST, minor, currency, at)
            debt.lost += minor
        else:
            debt.open += minor

    def _note(
        self, debt: Debt, kind: CashKind, minor: int, currency: str, at: datetime, source: str | None = None
    ) -> None:
        if minor > 0:
            key = key_of(self.customer, debt.subscription, debt.invoice, kind, at, minor, currency)
            amount = Amount(minor, currency)
            self.record.append(
                Cash(key, kind, at, self.customer, debt.subscription, debt.invoice, amount, debt.case, source)
            )
