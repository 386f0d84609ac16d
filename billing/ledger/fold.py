"""One customer's history, replayed: what each event and each passing of time does to recurring revenue.

Sections 2 and 3 of the metrics definitions. A fold lives for one replay and is read out as values (`book`). Instants
come from the events; at one instant events go before what merely falls due.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from heapq import heappop, heappush
from itertools import count

from billing.ledger import mrr
from billing.ledger.cash import Debts
from billing.ledger.changes import Part, compare, moved_down_unpaid
from billing.ledger.journal import Journal
from billing.ledger.movement import Known, Line, Outcome
from billing.ledger.policy import INVOICES, LedgerPolicy
from billing.ledger.state import Loss, Phase, Sub, Swap
from billing.ledger.swaps import Days
from billing.ledger.vocabulary import Cause, Kind, LedgerEvent

MOST_INVOICES = max(INVOICES.values())
NEVER = datetime.max.replace(tzinfo=UTC)
STOPS_COLLECTION = frozenset({"void", "mark_uncollectible"})
KEEPS_DRAFTS = "keep_as_draft"
SAME_END = timedelta(hours=1)  # an announced end is told within this, with its cause and its own instant


class Fold:
    """Replays one customer's events, given in their order, up to and including `until`."""

    def __init__(self, customer: str, policy: LedgerPolicy, until: datetime) -> None:
        self.policy, self.until = policy, until
        self.next_due: datetime | None = None  # when something may fall due after `until`
        self.journal, self.debts = Journal(customer), Debts(customer)
        self._subs: dict[str, Sub] = {}
        self._timers: list[tuple[datetime, int, str, Sub | None]] = []
        self._turns = count()
        self._swaps: dict[date, Swap] = {}
        self._days = Days(policy.zone)
        self._ends: dict[str, datetime] = {}

    def run(self, events: Sequence[LedgerEvent]) -> None:
        past = [event for event in events if event.at <= self.until]
        self._days.foresee(past, self.until)
        self._ends = {event.subscription: event.at for event in reversed(past) if event.kind is Kind.SUB_CANCEL}
        for event in past:
            while self._timers and self._timers[0][0] < event.at:
                self._fall_due()
            self._apply(event)
        while self._timers and self._timers[0][0] <= self.until:
            self._fall_due()
        self.journal.cases += [sub.case for sub in self._subs.values() if sub.case]
        self.journal.marks += [mark for sub in self._subs.values() for mark in sub.marks.values()]

    # ------------------------------------------------------------ what happened

    def _apply(self, event: LedgerEvent) -> None:
        sub = self._subs.get(event.subscription)
        if sub is None:
            return self._start(event) if event.kind is Kind.SUB_START else None
        match event.kind:
            case Kind.CASH_RECOVERED:
                gone = sub.phase in (Phase.LOST, Phase.ENDED)
                return self.debts.paid(event, sub.currency, sub.case, gone)
            case Kind.CASH_REFUNDED:
                return self.debts.refunded(event, sub.currency)
            case _ if sub.phase is Phase.ENDED:
                return None
            case Kind.TRIAL_ENDED:
                return self._activate(sub, event)
            case Kind.SUB_ITEMS:
                return self._change_items(sub, event)
            case Kind.SUB_DISCOUNTS:
                sub.discounts = event.discounts
                self._foresee_discounts(sub, event.at)
                return self._change_discounts(sub, event.at, event)
            case Kind.USAGE:
                return self._use(sub, event)
            case Kind.PAUSE:
                return self._pause(sub, event)
            case Kind.RESUME:
                return self._resume(sub, event)
            case Kind.CANCEL_SCHEDULED:
                sub.cancel_at = event.effective_at and max(event.effective_at, event.at)
                self.journal.mark(sub, Known.ENDING, event.at, sub.cancel_at)
                return self._remind(sub.cancel_at, "cancel", sub)
            case Kind.CANCEL_UNSCHEDULED:
                sub.cancel_at = None
                return self.journal.unmark(sub, event.at, Known.ENDING)
            case Kind.TRIAL_FIRST_PAYMENT_FAILED:
                sub.refused = True
                self._activate(sub, event)
                return self._fail(sub, event)
            case Kind.PAYMENT_FAILED:
                return self._fail(sub, event)
            case Kind.TRIAL_CONVERTED:
                return self._convert(sub, event)
            case Kind.PAYMENT_SUCCEEDED:
                return self._succeed(sub, event)
            case Kind.FORGIVEN:
                return self._forgive(sub, event)
            case Kind.DEADLINE_PASSED:
                if self.policy.deadline_is_loss and sub.case:
                    self._lose(sub, event.at, "deadline", Phase.LOST, event)
            case Kind.MARK_UNPAID:
                return self._unpaid(sub, event)
            case Kind.SUB_CANCEL:
                return self._end(sub, event.at, event.cause, event)
            case Kind.SUB_START | Kind.NOISE:  # it exists already, or nothing recurs
                return None
        return None

    def _start(self, event: LedgerEvent) -> None:
        sub = self._subs[event.subscription] = Sub(event.subscription, event.currency, event.items, event.discounts)
        self._foresee_discounts(sub, event.at)
        if event.status == "active":
            self._begin(sub, event.at, event)

    def _activate(self, sub: Sub, event: LedgerEvent) -> None:
        """A trial is over without a payment; it counts only when payment is no condition."""
        if sub.phase is Phase.WAITING and not self.policy.first_payment_gate:
            self._begin(sub, event.at, event)

    def _convert(self, sub: Sub, event: LedgerEvent) -> None:
        if sub.phase is Phase.WAITING:
            self._begin(sub, event.at, event)
        elif sub.case:
            self._recover(sub, event)

    def _change_items(self, sub: Sub, event: LedgerEvent) -> None:
        before, sub.items = sub.level.items, event.items
        self._reprice(sub, event.at)
        if sub.moves:
            parts = moved_down_unpaid if event.cause is Cause.PAYMENT_FAILED else compare
            self.journal.change(sub, parts(before, sub.level.items), event.at, event)
            self.journal.step(sub, event.at)

    def _change_discounts(self, sub: Sub, at: datetime, event: LedgerEvent | None) -> None:
        before = sub.level.total
        self._reprice(sub, at)
        minor = sub.level.total - before
        if sub.moves and minor:
            gain = Part(Line.EXPANSION, "discount_expiry", minor)
            self.journal.change(
                sub, [gain if minor > 0 else Part(Line.RESTRUCTURING, "discount_start", minor)], at, event
            )
            self.journal.step(sub, at)

    def _use(self, sub: Sub, event: LedgerEvent) -> None:
        """An invoice says what was used; it counts as far as the policy lets usage count."""
        for item, minor in event.usage:
            sub.usage[item] = (*sub.usage.get(item, ()), minor)[-MOST_INVOICES:]
        before = sub.level.total
        self._reprice(sub, event.at)
        minor = sub.level.total - before
        if sub.moves and minor:
            line = Line.EXPANSION if minor > 0 else Line.DOWNGRADE
            self.journal.change(sub, [Part(line, "usage", minor)], event.at, event)
            self.journal.step(sub, event.at)

    def _pause(self, sub: Sub, event: LedgerEvent) -> None:
        if event.behavior == KEEPS_DRAFTS:
            return self.journal.mark(sub, Known.DEFERRED, event.at)
        self.journal.unmark(sub, event.at, Known.DEFERRED)
        if event.behavior in STOPS_COLLECTION and self.policy.void_pause_stops:
            sub.pause_at = max(event.effective_at or event.at, event.at)
            self._remind(sub.pause_at, "pause", sub)
        return None

    def _resume(self, sub: Sub, event: LedgerEvent) -> None:
        self.journal.unmark(sub, event.at, Known.DEFERRED)
        sub.pause_at = None
        if sub.paused:
            sub.paused = False
            self.journal.gain(sub, sub.counted, "resume", event.at, event)
            self.journal.step(sub, event.at)

    def _fail(self, sub: Sub, event: LedgerEvent) -> None:
        if sub.phase is not Phase.LIVE or (sub.case is None and sub.counted <= 0):
            return
        if sub.case is None:
            self._open(sub, event.at, event)
        if sub.case is not None:
            self.debts.failed(event, sub.currency, sub.case)

    def _succeed(self, sub: Sub, event: LedgerEvent) -> None:
        if sub.case:
            self._recover(sub, event)
        elif sub.phase is Phase.LOST:
            self._restore(sub, event)
        elif sub.phase is Phase.WAITING and sub.refused:  # the first payment came after all
            self._begin(sub, event.at, event)

    def _forgive(self, sub: Sub, event: LedgerEvent) -> None:
        self.debts.forgiven(sub.id, sub.currency, event.at, event.invoice)
        if sub.case:
            self.journal.close(sub, Outcome.FORGIVEN, event.at, event, "forgiven", released=sub.counted)
        elif sub.phase is Phase.LOST:
            self._come_back(sub, event.at)
            self.journal.gain(sub, sub.counted, "forgiven", event.at, event)
            self.journal.step(sub, event.at)

    def _unpaid(self, sub: Sub, event: LedgerEvent) -> None:
        if sub.phase is Phase.LIVE and self.policy.unpaid_is_loss:
            self._lose(sub, event.at, "unpaid", Phase.LOST, event)
        elif sub.phase is Phase.LIVE and sub.case is None and sub.counted > 0:
            self._open(sub, event.at, event)

    # ------------------------------------------------------------ what falls due

    def _remind(self, at: datetime | None, what: str, sub: Sub | None) -> None:
        if at is not None and at <= self.until:
            heappush(self._timers, (at, next(self._turns), what, sub))
        elif at is not None:
            self.next_due = min(self.next_due or at, at)

    def _fall_due(self) -> None:
        at, _, what, sub = heappop(self._timers)
        if sub is None:
            return self._settle(at)
        if sub.phase is Phase.ENDED:
            return None
        match what:
            case "pause":
                if sub.pause_at == at and not sub.paused:
                    self._stop(sub, at)
            case "cancel":
                if sub.cancel_at == at and not at <= self._ends.get(sub.id, NEVER) <= at + SAME_END:
                    self._end(sub, at, Cause.CUSTOMER, None)
            case "deadline":
                if sub.case and sub.deadline == at:
                    self._lose(sub, at, "past_due_limit", Phase.LOST, None)
            case _:
                self._change_discounts(sub, at, None)
        return None

    def _foresee_discounts(self, sub: Sub, at: datetime) -> None:
        for discount in sub.discounts:
            for turn in (discount.starts, discount.ends):
                if turn is not None and turn > at:
                    self._remind(turn, "discount", sub)

    def _stop(self, sub: Sub, at: datetime) -> None:
        """The paid period of a paused subscription is over."""
        minor, sub.paused = sub.counted, True
        self.journal.post(Line.DOWNGRADE, "pause", sub, -minor, at)
        self.journal.step(sub, at)

    # ------------------------------------------------------------ cases

    def _open(self, sub: Sub, at: datetime, event: LedgerEvent | None) -> None:
        self.journal.open(sub, at, event)
        by_invoice = event is not None and event.by_invoice
        days = self.policy.max_overdue_days if by_invoice else self.policy.max_past_due_days
        if days is not None:
            since = (event.due_at if event and by_invoice else None) or at
            sub.deadline = max(since + timedelta(days=days), at)
            self._remind(sub.deadline, "deadline", sub)

    def _recover(self, sub: Sub, event: LedgerEvent) -> None:
        """Current again: the pair is what had failed, as far as it still counts (3.3, rule 2)."""
        if sub.case is None:
            return
        minor = min(sub.case.opened.minor, sub.counted)
        self.journal.pair(sub, minor, event.at, event)
        because = f"paid: {event.source}" if event.source else "paid"
        self.journal.close(sub, Outcome.RECOVERED, event.at, event, because, released=sub.counted, recovered=minor)

    def _lose(self, sub: Sub, at: datetime, reason: str, phase: Phase, event: LedgerEvent | None) -> None:
        minor = sub.counted
        if minor:
            if sub.case is None:  # its failure was not seen
                self.journal.open(sub, at, event)
            key = self.journal.post(Line.INVOLUNTARY, reason, sub, -minor, at, event, closes=True)
            products = frozenset(each.item.product for each in sub.level.items if each.minor)
            sub.loss = Loss(key or "", at, minor, sub.currency, products)
        self.debts.lost(sub.id, sub.currency, at)
        self.journal.close(sub, Outcome.LOST, at, event, reason)
        sub.phase = phase
        self._gone(at, Line.INVOLUNTARY)
        self.journal.step(sub, at)

    def _restore(self, sub: Sub, event: LedgerEvent) -> None:
        """A lost subscription is paid after all: a recovery of the loss while that is recent, else a return."""
        self._come_back(sub, event.at)
        minor = sub.counted
        if sub.loss and sub.loss in self._losses(sub.currency, event.at):
            minor -= self._undo(sub.loss, sub, minor, event)
        self.journal.gain(sub, minor, "returned", event.at, event)
        self.journal.step(sub, event.at)

    def _undo(self, loss: Loss, sub: Sub, upto: int, event: LedgerEvent) -> int:
        minor = max(0, min(loss.remaining, upto))
        loss.remaining -= minor
        reason = event.source or ("paid_after_loss" if sub.loss is loss else "bought_again")
        self.journal.post(Line.RECOVERED, reason, sub, minor, event.at, event, loss=loss.key)
        return minor

    def _losses(self, currency: str, at: datetime) -> list[Loss]:
        """The losses that a payment now would undo, oldest first."""
        recent = timedelta(days=self.policy.post_loss_recovery_days)
        losses = [sub.loss for sub in self._subs.values() if sub.loss and sub.loss.remaining]
        return sorted(
            (loss for loss in losses if loss.currency == currency and at <= loss.at + recent),
            key=lambda loss: (loss.at, loss.key),
        )

    # ------------------------------------------------------------ beginnings and ends

    def _begin(self, sub: Sub, at: datetime, event: LedgerEvent) -> None:
        """The subscription counts from now on; a product lost for non-payment shortly before is thereby recovered."""
        self._reprice(sub, at)
        day = self._days.of(at)
        if day in self._swaps or self._days.ends_again(day, at):
            self._join(day, at).begun.append(sub)
            sub.held, sub.phase = 0, Phase.LIVE
            return
        self._come_back(sub, at)
        minor = sub.counted
        for loss in self._losses(sub.currency, at):
            bought = sum(each.minor for each in sub.level.items if each.item.product in loss.products)
            minor -= self._undo(loss, sub, min(bought, minor), event)
        self.journal.gain(sub, minor, "subscription_added", at, event)
        self.journal.step(sub, at)

    def _end(self, sub: Sub, at: datetime, cause: Cause, event: LedgerEvent | None) -> None:
        """Over for good. What had not counted ends without a trace; what nobody paid for is lost."""
        self.journal.unmark(sub, at, *Known)
        if sub.phase is not Phase.LIVE:
            sub.phase = Phase.ENDED
            return
        if cause is Cause.PAYMENT_FAILED:
            self._lose(sub, at, "canceled_for_non_payment", Phase.ENDED, event)
            return
        self.debts.lost(sub.id, sub.currency, at)
        minor, day = sub.counted, self._days.of(at)
        sub.phase = Phase.ENDED
        if cause is Cause.CUSTOMER and minor and (day in self._swaps or self._days.begins_again(day, at)):
            self.journal.close(sub, Outcome.VOLUNTARY, at, event, "changed", released=minor)
            self._join(day, at).ended.append(sub)
            sub.held = minor
            return
        self._drop(sub, minor, at, "dispute" if cause is Cause.DISPUTE else "canceled", event)

    def _drop(self, sub: Sub, minor: int, at: datetime, reason: str, event: LedgerEvent | None) -> None:
        """One of several subscriptions dropped is a downgrade, the last one is churn (D16)."""
        line = Line.DOWNGRADE if self._alive() else Line.VOLUNTARY
        self.journal.post(line, reason, sub, -minor, at, event, closes=True)
        self.journal.close(sub, Outcome.VOLUNTARY, at, event, reason)
        self._gone(at, Line.VOLUNTARY)
        self.journal.step(sub, at)

    def _come_back(self, sub: Sub, at: datetime) -> None:
        sub.phase = Phase.LIVE
        self.journal.standing(at, alive=True)

    def _gone(self, at: datetime, because: Line) -> None:
        if not self._alive():
            self.journal.standing(at, alive=False, because=because)

    def _alive(self) -> bool:
        return any(sub.phase is Phase.LIVE for sub in self._subs.values())

    def _reprice(self, sub: Sub, at: datetime) -> None:
        sub.level = mrr.level(sub.items, sub.discounts, self.policy, at, sub.usage)

    # ------------------------------------------------------------ one change told as an end and a beginning

    def _join(self, day: date, at: datetime) -> Swap:
        """Today's swap, which is complete when nothing more ends or begins today."""
        self._remind(self._days.last(day, at), "settle", None)
        return self._swaps.setdefault(day, Swap())

    def _settle(self, at: datetime) -> None:
        """Book what ended and began on one day as one change from the old items to the new."""
        swap = self._swaps.pop(self._days.of(at), Swap())
        begun = [sub for sub in swap.begun if sub.phase is Phase.LIVE]
        for sub in (*swap.ended, *swap.begun):
            sub.held = None
        if swap.ended and begun and len({sub.currency for sub in (*swap.ended, *begun)}) == 1:
            before = [each for sub in swap.ended for each in sub.level.items]
            after = [each for sub in begun for each in sub.level.items]
            self.journal.change(begun[0], compare(before, after), at, None)
        else:
            for sub in begun:
                self._come_back(sub, at)
                self.journal.gain(sub, sub.counted, "subscription_added", at)
            for sub in swap.ended:
                self._drop(sub, sub.level.total, at, "canceled", None)
        for sub in (*swap.ended, *swap.begun):
            self.journal.step(sub, at)
