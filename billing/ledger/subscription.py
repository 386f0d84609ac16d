"""Reads one subscription's snapshots and invoices, in their order, and says what happened to it.

Snapshots are compared with the one before. Whether money came is asked of the invoice's whole story, because the
status and the invoice tell it in two events that differ by a moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from billing.events import occurrences as seen
from billing.events.snapshots import Discount, Subscription
from billing.history import rebuilt
from billing.ledger.coupons import Coupons
from billing.ledger.facts import Fact, Origin
from billing.ledger.invoices import Brought, Hints, Story, Usage, brought_by
from billing.ledger.items import Item, items_of
from billing.ledger.vocabulary import Cause, Confidence, Kind, LedgerEvent

RUNNING = frozenset({"active", "past_due", "unpaid"})
PENDING = frozenset({"incomplete", "incomplete_expired"})
BEHIND = frozenset({"past_due", "unpaid"})
FIRST_INVOICE = "subscription_create"
SAME_STORY = timedelta(hours=1)  # an invoice is given up and its subscription ended by one decision within this


class Reading:
    """The events of one subscription so far."""

    def __init__(
        self,
        subscription: str,
        told: dict[str, Story],
        hints: Hints,
        snapshots: Sequence[tuple[datetime, seen.SubscriptionSeen]],
    ) -> None:
        self.subscription, self.events = subscription, list[LedgerEvent]()
        self._told, self._hints, self._snapshots = told, hints, snapshots
        self._last: Subscription | None = None
        self._items: tuple[Item, ...] = ()
        self._coupons, self._discounts = Coupons(), tuple[Discount, ...]()
        self._currency: str | None = None
        self._stage = "unseen"  # unseen, pending, trial, unpaid_trial, running, ended
        self._failing: set[str] = set()  # invoices asked for in vain and not settled since
        self._scheduled: datetime | None = None
        self._asked_at: datetime | None = None  # when its end was decided
        self._paused: str | None = None
        self._stopped_by_us = False  # collection, at the end of a case that nobody paid

    # ------------------------------------------------------------ snapshots

    def see(self, fact: Fact, what: seen.SubscriptionSeen) -> None:
        now, before = what.subscription, self._last
        if self._stage == "ended" or now.status is None:
            return
        self._last = now
        self._currency = self._currency or now.currency
        foreign = now.currency is not None and now.currency != self._currency  # kept, listed as a problem, not booked
        items = self._items if foreign or (not now.items_complete and self._items) else items_of(now.items)
        if not foreign:
            self._coupons.snapshot(now)
        if self._stage == "unseen":
            self._first(fact, what, items)
        self._advance(fact, now)
        if self._stage == "pending":
            self._items, self._discounts = items, self._coupons.running(self._currency)
            return
        if items != self._items:
            self._items = items
            sure = Confidence.CERTAIN if now.items_complete else Confidence.ASSUMED
            cause = Cause.PAYMENT_FAILED if self._failing and _by_us(fact) else Cause.CUSTOMER
            self._say(fact, Kind.SUB_ITEMS, items=items, cause=cause, confidence=sure)
        self._discount(fact)
        self._pause(fact, now, before)
        self._schedule(fact, now)
        if now.status == "unpaid" and (before is None or before.status != "unpaid"):
            self._say(fact, Kind.MARK_UNPAID, evidence="status unpaid")
        if now.status == "active" and before is not None and before.status in BEHIND:
            self._current(fact)
        if now.status in ("canceled", "incomplete_expired"):
            self._cancel(fact, now)

    def _first(self, fact: Fact, what: seen.SubscriptionSeen, items: tuple[Item, ...]) -> None:
        """The beginning, told by `created` or, for a subscription older than our knowledge, by its own dates."""
        now = what.subscription
        created = what.change == "created"
        begun = fact.at if created else min(fact.at, now.created or now.started_at or fact.at)
        self._items = items if what.previous_items is None else items_of(what.previous_items)
        self._discounts = self._coupons.running(self._currency)
        sure = Confidence.CERTAIN if created else Confidence.ASSUMED
        told = "subscription created" if created else f"first seen {fact.at:%Y-%m-%d}"
        if now.status in PENDING:
            self._stage = "pending"
        elif now.status == "trialing" or (now.trial_end is not None and now.trial_end > begun):
            self._stage = "trial"
            self._start(fact, begun, "trialing", sure, told)
            if not created and now.status != "trialing" and self._outlived_trial(fact, now):
                self._stage = "running"
                self._say(fact, Kind.TRIAL_CONVERTED, at=now.trial_end, evidence=told, confidence=sure)
        elif now.status == "paused":
            self._stage = "trial"  # paused from the first: a trial that ended without a payment method
            self._start(fact, begun, "trialing", sure, told)
        else:
            self._stage = "running"
            self._start(fact, begun, "active", sure, told)

    def _outlived_trial(self, fact: Fact, now: Subscription) -> bool:
        return now.trial_end is not None and now.trial_end < (now.ended_at or fact.at)

    def discounted(self, fact: Fact, what: seen.DiscountSeen) -> None:
        """A coupon of the subscription or of the whole customer came or went."""
        self._coupons.told(what)
        if self._stage not in ("unseen", "pending", "ended"):
            self._discount(fact)

    def _discount(self, fact: Fact) -> None:
        discounts = self._coupons.running(self._currency)
        if discounts != self._discounts:
            self._discounts = discounts
            self._say(fact, Kind.SUB_DISCOUNTS, discounts=discounts)

    def _advance(self, fact: Fact, now: Subscription) -> None:
        if self._stage == "pending" and now.status in RUNNING:
            self._stage = "running"
            self._start(fact, fact.at, "active", Confidence.CERTAIN, f"status {now.status}")
        elif self._stage == "pending" and now.status == "trialing":
            self._stage = "trial"
            self._start(fact, fact.at, "trialing", Confidence.CERTAIN, "status trialing")
        elif self._stage == "trial" and now.status in RUNNING:
            self._stage = "unpaid_trial"
            self._say(fact, Kind.TRIAL_ENDED, evidence=f"status {now.status}")
            if now.collection_method == "send_invoice":
                self._stage = "running"
                self._say(fact, Kind.TRIAL_CONVERTED, evidence="activated, paid by invoice")

    def _pause(self, fact: Fact, now: Subscription, before: Subscription | None) -> None:
        behavior = now.pause_behavior
        if now.status == "paused" and not self._failing and self._stage == "running":
            behavior = behavior or "void"  # paused while nothing is owed: it stops at once
        if behavior == self._paused:
            return
        self._paused = behavior
        self._stopped_by_us = behavior is not None and bool(self._failing) and _by_us(fact)
        if behavior is None:
            self._say(fact, Kind.RESUME)
        elif self._stopped_by_us:
            self._say(fact, Kind.MARK_UNPAID, evidence=f"we stopped its collection ({behavior})")
        else:
            period_end = before.period_end if before and before.period_end else now.period_end
            stops = fact.at if now.status == "paused" else period_end
            self._say(fact, Kind.PAUSE, behavior=behavior, effective_at=stops)

    def _schedule(self, fact: Fact, now: Subscription) -> None:
        scheduled = now.cancel_at or (now.period_end if now.cancel_at_period_end else None)
        if now.status in ("canceled", "incomplete_expired") or scheduled == self._scheduled:
            return
        self._scheduled, self._asked_at = scheduled, scheduled and (self._asked_at or fact.at)
        if scheduled is None:
            self._say(fact, Kind.CANCEL_UNSCHEDULED)
        else:
            self._say(fact, Kind.CANCEL_SCHEDULED, effective_at=scheduled)

    def _current(self, fact: Fact) -> None:
        """Back to active: paid, or forgiven, by the stories of the invoices that had failed."""
        failing = [self._told[invoice] for invoice in sorted(self._failing) if invoice in self._told]
        paid = [story for story in failing if story.paid_at is not None]
        if self._stage == "unpaid_trial":
            self._convert(fact, "status active")
        elif failing and not paid and any(story.given_up_at for story in failing):
            if not self._stopped_by_us:
                self._say(fact, Kind.FORGIVEN, evidence="status active, invoice given up")
        else:
            latest = max(paid, key=lambda story: (story.paid_at or fact.at, story.id), default=None)
            self._say(
                fact,
                Kind.PAYMENT_SUCCEEDED,
                invoice=latest.id if latest else None,
                source=found.source if (found := self._brought(latest)) else None,
                evidence=f"status active; {found.evidence}" if found else "status active",
                confidence=Confidence.CERTAIN if latest else Confidence.LIKELY,
            )
        self._failing.clear()

    def _cancel(self, fact: Fact, now: Subscription) -> None:
        """Voluntary or involuntary, in the fixed order of D19."""
        reason = now.cancel_reason
        by_us = _by_us(fact)
        wanted = not by_us and (bool(now.cancel_feedback) or self._asked_before())
        if reason == "payment_failed":
            cause, sure = Cause.PAYMENT_FAILED, Confidence.CERTAIN
        elif reason == "payment_disputed":
            cause, sure = Cause.DISPUTE, Confidence.CERTAIN
        elif wanted or not (self._failing or by_us):
            cause, sure = Cause.CUSTOMER, Confidence.CERTAIN if reason else Confidence.LIKELY
        else:  # by us, or through the API with an open case: Stripe gives the same reason whoever called it
            cause, sure = Cause.PAYMENT_FAILED, Confidence.LIKELY if reason else Confidence.ASSUMED
        evidence = f"reason {reason or 'not given'}"
        if now.cancel_feedback:
            evidence += ", feedback"
        if self._scheduled:
            evidence += ", scheduled before" if self._asked_before() else ", scheduled after the failure"
        if self._stage != "pending":
            ended = min(now.ended_at, fact.at) if now.ended_at else fact.at
            self._say(fact, Kind.SUB_CANCEL, at=ended, cause=cause, evidence=evidence, confidence=sure)
        self._stage = "ended"

    def _asked_before(self) -> bool:
        """Whether the end was decided before any of what is still unpaid had failed."""
        first = [at for id in self._failing if id in self._told and (at := self._told[id].failed_at)]
        return self._asked_at is not None and self._asked_at < min(first, default=datetime.max.replace(tzinfo=UTC))

    # ------------------------------------------------------------ invoices

    def failed(self, fact: Fact, what: seen.InvoiceFailed) -> None:
        invoice, story = what.invoice, self._told[what.invoice.id]
        by_invoice = invoice.collection_method == "send_invoice"
        settled = [at for at in (story.paid_at, story.given_up_at) if at is not None and at < fact.at]
        first = invoice.billing_reason == FIRST_INVOICE and not by_invoice
        if first or settled or invoice.due.minor <= 0 or self._stage in ("unseen", "pending", "ended"):
            return
        trial = self._stage in ("trial", "unpaid_trial")
        self._failing.add(invoice.id)
        self._say(
            fact,
            Kind.TRIAL_FIRST_PAYMENT_FAILED if trial else Kind.PAYMENT_FAILED,
            invoice=invoice.id,
            amount=invoice.remaining.minor or invoice.due.minor,
            by_invoice=by_invoice,
            due_at=invoice.due_at,
            evidence="action required" if what.action_required else "payment failed",
        )

    def paid(self, fact: Fact, story: Story) -> None:
        """Cash for an invoice that had failed; the end of a trial; and, when nothing else is owed, current again."""
        found = self._brought(story)
        source, shown = (found.source, f"invoice paid; {found.evidence}") if found else (None, "invoice paid")
        if story.failed_at is not None and story.failed_at <= fact.at and story.billing_reason != FIRST_INVOICE:
            self._say(fact, Kind.CASH_RECOVERED, invoice=story.id, amount=story.paid, source=source, evidence=shown)
        if self._converts(fact, story):
            self._convert(fact, "first payment")
        if story.id in self._failing:
            self._failing.discard(story.id)
            if not self._failing and not self._still_behind(fact.at):
                self._say(fact, Kind.PAYMENT_SUCCEEDED, invoice=story.id, source=source, evidence=shown)

    def _brought(self, story: Story | None) -> Brought | None:
        return brought_by(story, self._hints) if story else None

    def used(self, fact: Fact, usage: Usage) -> None:
        """What an invoice charged for the items that are metered."""
        metered = {item.id for item in self._items if item.metered}
        charged = tuple((item, minor) for item, minor in usage.charged if item in metered)
        if charged and self._stage not in ("unseen", "pending", "ended"):
            self._say(fact, Kind.USAGE, at=usage.at, invoice=usage.invoice, usage=charged, evidence="invoice finalised")

    def _converts(self, fact: Fact, story: Story) -> bool:
        trial_end = self._last.trial_end if self._last else None
        over = self._stage == "trial" and trial_end is not None and fact.at >= trial_end
        return (self._stage == "unpaid_trial" or over) and story.paid > 0 and story.billing_reason != FIRST_INVOICE

    def _convert(self, fact: Fact, evidence: str) -> None:
        self._stage = "running"
        self._say(fact, Kind.TRIAL_CONVERTED, evidence=evidence)

    def given_up(self, fact: Fact, story: Story) -> None:
        """Voided or written off: forgiven, unless the subscription ends or turns unpaid by the same decision."""
        if story.id not in self._failing:
            return
        self._failing.discard(story.id)
        ends = any(
            what.subscription.status in ("canceled", "unpaid") and fact.at <= at <= fact.at + SAME_STORY
            for at, what in self._snapshots
        )
        status = self._last.status if self._last else None
        ends = ends or self._stopped_by_us
        if not self._failing and not ends and status != "unpaid" and self._stage == "running":
            self._say(fact, Kind.FORGIVEN, invoice=story.id, evidence="invoice given up")

    def deadline(self, fact: Fact, invoice: str) -> None:
        self._say(fact, Kind.DEADLINE_PASSED, invoice=invoice)

    def refunded(self, fact: Fact, refund: seen.ChargeRefunded) -> None:
        for story in self._told.values():
            pays = refund.charge in story.payments or (refund.payment_intent or "") in story.payments
            if pays and story.failed_at is not None:
                self._say(fact, Kind.CASH_REFUNDED, invoice=story.id, amount=refund.amount.minor)

    def _still_behind(self, at: datetime) -> bool:
        """Whether the next snapshot says that the subscription owes more than the invoice just paid."""
        later = next((what for seen_at, what in self._snapshots if seen_at > at), None)
        if later is None:
            return False
        return later.subscription.status in BEHIND and later.previous_status not in ("active", "trialing")

    # ------------------------------------------------------------ saying

    def _start(self, fact: Fact, at: datetime, status: str, sure: Confidence, evidence: str) -> None:
        self._say(
            fact,
            Kind.SUB_START,
            at=at,
            status=status,
            items=self._items,
            discounts=self._discounts,
            evidence=evidence,
            confidence=sure,
        )

    def _say(self, fact: Fact, kind: Kind, at: datetime | None = None, **more: Any) -> None:
        currency = self._currency or "xxx"  # ISO 4217: no currency
        if rebuilt(fact.source) and more.get("confidence", Confidence.CERTAIN) is Confidence.CERTAIN:
            more["confidence"] = Confidence.LIKELY  # told by what Stripe still shows, not by an event
        self.events.append(
            LedgerEvent(
                kind,
                at or fact.at,
                fact.customer,
                self.subscription,
                id=fact.source,
                recorded_at=fact.recorded_at,
                currency=currency,
                **more,
            )
        )


def _by_us(fact: Fact) -> bool:
    """Whether it was our request, and not only our reading, that this is told of."""
    return fact.origin is Origin.OURS and isinstance(fact.what, seen.SubscriptionSeen)
