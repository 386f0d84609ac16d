"""Events made from objects: customers, invoices, payments and subscriptions as they are now.

The ids are made from the object's own, so that the same object read again is the same fact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2b

from billing.events import stripe_objects as read
from billing.events.occurrences import (
    CustomerSeen,
    DiscountSeen,
    Event,
    InvoiceFailed,
    InvoicePaid,
    InvoicePaymentPaid,
    InvoiceUncollectible,
    InvoiceVoided,
    SubscriptionSeen,
    What,
)
from billing.events.reading import Reader
from billing.events.snapshots import Invoice, Item, Subscription
from billing.history.billed import JSON, Billed, in_full
from billing.history.life import life

BACKFILL = "backfill:"
REBUILT = (BACKFILL, "import:")  # how the ids of facts begin that nobody saw happen
SOMEBODY = "backfill: a request"  # instead of the key of an API call that nobody remembers
LATER = timedelta(hours=1)  # a card answers at once: money that came later was asked for again


def rebuilt(source: str) -> bool:
    """Whether a fact with this id was rebuilt or imported, so that nothing made from it is certain."""
    return source.startswith(REBUILT)


@dataclass(frozen=True, slots=True)
class Historian:
    """Makes events of one account; only what happened before `before` is rebuilt, later things Stripe's events tell."""

    account: str
    livemode: bool
    before: datetime

    def event(self, id: str, at: datetime, what: What, customer: str | None, by: str | None = None) -> Event:
        type = f"backfill.{type_name(what)}"
        return Event(f"{BACKFILL}{id}", type, at, self.account, self.livemode, what, caused_by=by, customer=customer)

    # ------------------------------------------------------------ customers

    def customer(self, thing: JSON) -> list[Event]:
        """Who it is, and the coupon on everything the customer buys."""
        it = Reader(dict(thing))
        person = read.customer(it)
        found = [self.event(person.id, it.time("created") or self.before, CustomerSeen(person), person.id)]
        terms = read.discount(it.inside("discount"))
        if terms and terms.starts and terms.starts < self.before:
            id = it.ref("discount.id") or terms.coupon
            seen = DiscountSeen(None, person.id, terms, "created", id)
            found.append(self.event(f"{person.id}:{id}", terms.starts, seen, person.id))
        return found

    # ------------------------------------------------------------ invoices

    def invoice(self, thing: JSON) -> list[Event]:
        """Its first failure, as far as its attempts tell, and its end."""
        invoice = read.invoice(Reader(dict(thing)))
        begun = invoice.finalized_at or invoice.created
        if invoice.status in (None, "draft") or begun is None:
            return []
        found = [self._failed(invoice, failed_at)] if (failed_at := _failed_at(invoice, begun, self.before)) else []
        # Stripe's own retries count as attempts, a payment that somebody asked for does not.
        by = SOMEBODY if invoice.attempt_count <= 1 else None
        ends: list[tuple[str, datetime | None, What]] = [
            ("paid", invoice.paid_at or (begun if invoice.status == "paid" else None), InvoicePaid(invoice)),
            ("voided", invoice.voided_at, InvoiceVoided(invoice)),
            ("uncollectible", invoice.uncollectible_at, InvoiceUncollectible(invoice)),
        ]
        for name, at, what in ends:
            if at is not None and at < self.before:
                found.append(self.event(f"{invoice.id}:{name}", at, what, invoice.customer, by))
        return found

    def failure_now(self, thing: JSON) -> Event | None:
        """The failure of an open invoice whose failing nobody told, dated by its first attempt; None if none failed."""
        invoice = read.invoice(Reader(dict(thing)))
        begun = invoice.finalized_at or invoice.created
        failed = invoice.status == "open" and invoice.attempt_count > 0 and begun is not None
        return self._failed(invoice, begun) if failed and begun else None

    def payment(self, thing: JSON, billed: Billed | None) -> list[Event]:
        """What paid an invoice; a card that paid it later than at once had been declined before."""
        it = Reader(dict(thing))
        at, id, invoice = it.time("status_transitions.paid_at"), it.need("id"), it.need("invoice")
        if it.text("status") != "paid" or at is None or at >= self.before:
            return []
        intent = it.inside("payment.payment_intent")
        charge = read.charge_card(intent.inside("latest_charge"))
        what = InvoicePaymentPaid(
            invoice,
            it.ref("payment.payment_intent"),
            it.ref("payment.charge", "payment.payment_intent.latest_charge"),
            it.get("payment.type") == "payment_record",
            it.amount("amount_paid"),
        )
        found = [self.event(id, at, what, intent.ref("customer") or (billed.invoice.customer if billed else None))]
        if billed is not None and charge is not None and billed.invoice.attempt_count == 1:
            begun = billed.invoice.finalized_at
            if begun and begun + LATER < at and billed.invoice.collection_method != "send_invoice":
                found.append(self._failed(billed.invoice, begun))
        return found

    def _failed(self, invoice: Invoice, at: datetime) -> Event:
        """The invoice as it stood then: open, with all of it still owed."""
        then = replace(
            invoice,
            status="open",
            paid=replace(invoice.paid, minor=0),
            remaining=invoice.remaining if invoice.status == "open" else invoice.due,
            paid_at=None,
            voided_at=None,
            uncollectible_at=None,
            paid_out_of_band=False,
        )
        return self.event(f"{invoice.id}:failed", at, InvoiceFailed(then), invoice.customer)

    # ------------------------------------------------------------ subscriptions

    def subscription(
        self, thing: JSON, billed: Sequence[Billed], prices: Mapping[str, Item], now: datetime
    ) -> list[Event]:
        """Its life before the horizon, and how it stands `now` unless that is long over."""
        seen = read.subscription(Reader(dict(thing)))
        seen = replace(seen, items=tuple(in_full(item, prices) for item in seen.items))
        found = [
            self.event(f"{seen.id}:{int(at.timestamp())}", at, SubscriptionSeen(then, "rebuilt"), seen.customer)
            for at, then in life(seen, billed)
            if at < self.before
        ]
        if seen.ended_at is None or seen.ended_at >= self.before:
            present = self.event(f"{seen.id}:{fingerprint(seen)}", now, SubscriptionSeen(seen, "read"), seen.customer)
            found.append(present)
        return found


def type_name(what: What) -> str:
    return type(what).__name__


def fingerprint(seen: Subscription) -> str:
    """Of what matters about a subscription's state; the same from one renewal to the next."""
    items = sorted((item.id, item.price, item.unit_amount, item.quantity) for item in seen.items)
    coupons = sorted((each.coupon, str(each.starts), str(each.ends), each.item) for each in seen.discounts)
    ends = (seen.cancel_at_period_end, str(seen.cancel_at), str(seen.ended_at), seen.cancel_reason)
    state = (seen.status, str(seen.trial_end), seen.pause_behavior, *ends)
    return blake2b(repr((state, items, coupons)).encode(), digest_size=8).hexdigest()


def _failed_at(invoice: Invoice, begun: datetime, before: datetime) -> datetime | None:
    """When an invoice was first asked for in vain, if that was before the horizon."""
    if invoice.due.minor <= 0:
        return None
    if invoice.collection_method == "send_invoice":
        end = invoice.paid_at or invoice.voided_at or before
        return invoice.due_at if invoice.due_at and invoice.due_at < min(end, before) else None
    failed = invoice.attempt_count > 1 or (invoice.attempt_count == 1 and invoice.status != "paid")
    return begun if failed and begun < before else None
