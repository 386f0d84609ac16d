"""What a fold writes down: movements with their type, cases, levels, and whether the customer is still there.

The type of a gain depends on the whole customer (D16, D17), so the journal keeps the customer's level.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from billing.ledger.changes import Part
from billing.ledger.movement import Case, Known, Line, Mark, Movement, Outcome, Standing, Step, key_of
from billing.ledger.mrr import PER_MONTH, factor
from billing.ledger.state import Sub
from billing.ledger.vocabulary import Confidence, LedgerEvent
from billing.money import Amount


class Journal:
    """The growing record of one customer. Amounts are signed minor units a month."""

    def __init__(self, customer: str) -> None:
        self.customer = customer
        self.movements: list[Movement] = []
        self.cases: list[Case] = []
        self.steps: list[Step] = []
        self.standings: list[Standing] = []
        self.marks: list[Mark] = []
        self._levels: dict[str, int] = defaultdict(int)  # by currency
        self._had_revenue = False
        self._keys: set[str] = set()

    def post(
        self,
        line: Line,
        reason: str,
        sub: Sub,
        minor: int,
        at: datetime,
        event: LedgerEvent | None = None,
        loss: str | None = None,
        closes: bool = False,
    ) -> str | None:
        """Write one movement and return its key, None for nothing. `closes`: it ends the subscription's open case."""
        if not minor:
            return None
        case = sub.case
        self._levels[sub.currency] += minor
        self._had_revenue = True
        if case and not closes:
            sub.case = replace(case, remeasured=case.remeasured + minor)
        return self._write(line, reason, sub, minor, at, event, case=case.key if case else None, loss=loss)

    def gain(self, sub: Sub, minor: int, reason: str, at: datetime, event: LedgerEvent | None = None) -> None:
        """An increase: new, a reactivation or an expansion, by what the customer had and ever had."""
        if any(self._levels.values()):
            self.post(Line.EXPANSION, reason, sub, minor, at, event)
        elif self._had_revenue:
            self.post(Line.REACTIVATION, reason, sub, minor, at, event)
        else:
            self.post(Line.NEW, "first_revenue", sub, minor, at, event)

    def change(self, sub: Sub, parts: Sequence[Part], at: datetime, event: LedgerEvent | None) -> None:
        """A change of price or quantity, part by part; from zero it is a gain as a whole."""
        if any(self._levels.values()):
            for part in parts:
                self.post(part.line, part.reason, sub, part.minor, at, event)
        else:
            reason = parts[0].reason if parts else ""
            self.gain(sub, sum(part.minor for part in parts), reason, at, event)

    def step(self, sub: Sub, at: datetime) -> None:
        """Note what the subscription counts from now on, by product."""
        counted, products = sub.counted, defaultdict[str, int](int)
        usage = yearly = 0
        if counted:
            for priced in sub.level.items:
                products[priced.item.product] += priced.minor
                usage += priced.minor if priced.item.metered else 0
                long = factor(priced.item.interval, priced.item.interval_count) <= PER_MONTH["year"]
                yearly += priced.minor if long else 0
        by_product = tuple(sorted((product, minor) for product, minor in products.items() if minor))
        self.steps.append(Step(at, self.customer, sub.id, sub.currency, counted, by_product, usage, yearly))

    def standing(self, at: datetime, alive: bool, because: Line | None = None) -> None:
        """Note that the customer is back, or gone."""
        if not self.standings or (self.standings[-1].alive, self.standings[-1].because) != (alive, because):
            self.standings.append(Standing(at, self.customer, alive, because))

    def mark(self, sub: Sub, kind: Known, at: datetime, due: datetime | None = None) -> None:
        """Note something that moves nothing; what was noted of the same kind before is over."""
        self.unmark(sub, at, kind)
        sub.marks[kind] = Mark(kind, self.customer, sub.id, at, None, due)

    def unmark(self, sub: Sub, at: datetime, *kinds: Known) -> None:
        for kind in kinds:
            if mark := sub.marks.pop(kind, None):
                self.marks.append(replace(mark, until=at))

    def open(self, sub: Sub, at: datetime, event: LedgerEvent | None) -> Case:
        """Begin a case: nothing moves, the level is at risk from now on."""
        sub.case = Case(
            key=self._fresh("case", self.customer, sub.id, at),
            customer=self.customer,
            subscription=sub.id,
            invoice=event.invoice if event else None,
            opened_at=at,
            opened=Amount(sub.counted, sub.unit),
            confidence=event.confidence if event else Confidence.CERTAIN,
        )
        return sub.case

    def close(
        self,
        sub: Sub,
        outcome: Outcome,
        at: datetime,
        event: LedgerEvent | None,
        because: str,
        released: int = 0,
        recovered: int = 0,
    ) -> None:
        """End the open case, if there is one. `released` goes back to good standing."""
        if sub.case:
            closed = replace(
                sub.case,
                outcome=outcome,
                closed_at=at,
                released=released,
                recovered=recovered,
                source=event.source if event else None,
                evidence=event.evidence if event else "",
                because=because,
                confidence=event.confidence if event else Confidence.LIKELY,
            )
            self.cases.append(closed)
        sub.case = sub.deadline = None

    def pair(self, sub: Sub, minor: int, at: datetime, event: LedgerEvent) -> None:
        """A recovery before the loss: gross loss and recovery at one instant, which sum to zero (3.3, rule 2)."""
        if minor > 0 and sub.case:
            case, pair = sub.case.key, key_of("pair", sub.case.key, at)
            self._write(Line.INVOLUNTARY, "recovered", sub, -minor, at, event, case=case, pair=pair)
            self._write(Line.RECOVERED, event.source or "paid", sub, minor, at, event, case=case, pair=pair)

    def _write(
        self,
        line: Line,
        reason: str,
        sub: Sub,
        minor: int,
        at: datetime,
        event: LedgerEvent | None,
        case: str | None = None,
        pair: str | None = None,
        loss: str | None = None,
    ) -> str:
        key = self._fresh(self.customer, sub.id, line, reason, at, minor, sub.unit, case, pair, loss)
        self.movements.append(
            Movement(
                key=key,
                line=line,
                reason=reason,
                effective_at=at,
                customer=self.customer,
                subscription=sub.id,
                amount=Amount(minor, sub.unit),
                case=case,
                pair=pair,
                loss=loss,
                invoice=event.invoice if event else None,
                at_risk=case is not None and pair is None,
                evidence=event.evidence if event else "",
                confidence=event.confidence if event else Confidence.LIKELY,
            )
        )
        return key

    def _fresh(self, *content: object) -> str:
        """A key of its own, also for what happens twice at one instant."""
        key, twin = key_of(*content), 0
        while key in self._keys:
            twin += 1
            key = key_of(*content, twin)
        self._keys.add(key)
        return key
