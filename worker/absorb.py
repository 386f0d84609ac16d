"""What follows from events: under the lock of the customers concerned, in one transaction, facts first, then every
case that an event concerns is decided anew and saved with what should wait for it.

Both halves of `worker/flow.py` end here, so everything that happens to a case goes through the same door.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from billing.actions import Action, Kind
from billing.case import Past, RecoveryCase
from billing.decide import Decision, decide, opened, plan
from billing.events import Event
from billing.events.occurrences import CustomerSeen, InvoiceFailed, InvoiceRead
from billing.events.snapshots import Customer
from billing.memory import invoice_of, kept, subscription_of
from billing.notices.due import Facts
from worker import cards, entitlement, people, queue_review, store, tidings
from worker.ahead import known as ahead
from worker.app import App
from worker.outbox import Claim
from worker.store import Owner

OURS = "reprieve."


def absorb(app: App, db: Connection, owner: Owner, events: Sequence[Event]) -> list[str]:
    """Add these events of one account to what is known and save what follows; one reason for each event."""
    return _absorbed(app, db, owner, events)[0]


def _absorbed(
    app: App, db: Connection, owner: Owner, events: Sequence[Event]
) -> tuple[list[str], dict[str, RecoveryCase]]:
    """The reasons, and the cases of these customers and invoices as they are afterwards, by invoice."""
    now = app.now()
    events = _with_customers(db, owner, events)
    store.lock(db, owner, [event.customer for event in events if event.customer])
    # An event may not name its customer: it waits for the one of the same invoice that does, always after customers.
    store.lock(db, owner, [name for event in events if (name := invoice_of(event))])
    policy = app.policies.current(owner.account, owner.livemode)
    cards.learn(db, owner, events, policy.declines, now)
    store.keep(db, owner, [fact for fact in map(kept, events) if fact], now)
    store.save_customers(db, owner, [person for event in events if (person := _person(event))], now)
    ahead.learn(db, owner, events)
    customers = [event.customer for event in events if event.customer]
    cases = store.cases_for_update(db, owner, customers, [i for i in map(invoice_of, events) if i])
    before = dict(cases)
    plans: dict[str, tuple[RecoveryCase, tuple[Action, ...]]] = {}
    reasons = []
    new = [case for event in events if invoice_of(event) not in cases and (case := opened(event, policy)[0])]
    used = {case.policy for case in cases.values()}
    policies = [policy, *(app.policies.of(owner.account, owner.livemode, id) for id in sorted(used - {policy.id}))]
    whom = [case.customer for case in (*cases.values(), *new) if case.customer]
    facts = people.facts_of(db, app.settings, owner, whom, policies)
    known = _Known(store.recall(db, owner, new), store.past_of(db, owner, new), facts)
    for event in events:
        decisions = _decide(app, cases, event, known, now)
        for decision in decisions:
            if decision.case is not None and _worth_saving(decision.case, cases, event):
                cases[decision.case.invoice] = decision.case
                plans[decision.case.invoice] = (decision.case, decision.actions)
        reasons.append("; ".join(decision.because for decision in decisions))
    changed = [case for case, _ in plans.values()]
    store.save_cases(db, changed, now)
    store.end_debits(db, owner, before, changed, now)
    if plans:
        store.plan_actions(db, owner, plans, now)
    retrying = {invoice for invoice, (_, actions) in plans.items() if any(a.kind is Kind.RETRY for a in actions)}
    queue_review.review(app, db, owner, changed, retrying)
    tidings.tell(app, db, owner, before, changed, events)
    entitlement.tell_after(app, db, owner, cases, changed, events)
    return reasons, cases


def absorb_one(app: App, db: Connection, owner: Owner, event: Event) -> RecoveryCase | None:
    """`absorb` for an occurrence of our own on one invoice; the case as it is afterwards."""
    return _absorbed(app, db, owner, [event])[1].get(invoice_of(event) or "")


def replan(app: App, db: Connection, owner: Owner, case: RecoveryCase, not_before: datetime) -> None:
    """Plan a case anew without an event; nothing that was just refused comes back before `not_before`."""
    now = app.now()
    policy = app.policies.of(case.account, case.livemode, case.policy)
    facts = people.facts_of(db, app.settings, owner, filter(None, [case.customer]), [policy])
    wanted = plan(case, policy, now, facts.get(case.customer or "", Facts()))
    later = tuple(
        action if action.kind is not Kind.RETRY or action.due_at > now else action.at(not_before) for action in wanted
    )
    store.plan_actions(db, owner, {case.invoice: (case, later)}, now)


@dataclass(frozen=True, slots=True)
class _Known:
    """What cases have behind and beside them, by invoice."""

    remembered: Mapping[str, Sequence[Event]]
    past: Mapping[str, tuple[Past, ...]]
    facts: Mapping[str, Facts]  # by customer

    def of(self, customer: str | None) -> Facts:
        return self.facts.get(customer or "", Facts())


def _decide(app: App, cases: dict[str, RecoveryCase], event: Event, known: _Known, now: datetime) -> list[Decision]:
    """One decision for each case that the event concerns, or one that opens a case or says why there is none."""
    concerned = [case for case in cases.values() if _concerns(event, case)]
    if not concerned:
        policy = app.policies.current(event.account, event.livemode)
        invoice = invoice_of(event) or ""
        remembered, past = known.remembered.get(invoice, ()), known.past.get(invoice, ())
        return [decide(None, event, policy, now, remembered, past, known.of(event.customer))]
    return [
        decide(
            case,
            event,
            app.policies.of(case.account, case.livemode, case.policy),
            now,
            facts=known.of(case.customer),
        )
        for case in concerned
    ]


def _concerns(event: Event, case: RecoveryCase) -> bool:
    """An event names an invoice, or a subscription, or only a customer: the narrowest of these decides."""
    if invoice := invoice_of(event):
        return invoice == case.invoice
    if subscription := subscription_of(event):
        return subscription == case.subscription
    return event.customer is not None and event.customer == case.customer


def _worth_saving(case: RecoveryCase, known: dict[str, RecoveryCase], event: Event) -> bool:
    """An event of Stripe that taught nothing changes nothing; what we did ourselves is always planned from anew."""
    return event.type.startswith(OURS) or known.get(case.invoice) != case


def _with_customers(db: Connection, owner: Owner, events: Sequence[Event]) -> list[Event]:
    """Some events do not say whom they concern; what we know of their invoice does."""
    nameless = [i for event in events if event.customer is None and (i := invoice_of(event))]
    known = store.customers_of_invoices(db, owner, nameless)
    return [event if event.customer else event.belonging_to(known.get(invoice_of(event) or "")) for event in events]


def _person(event: Event) -> Customer | None:
    match event.what:
        case CustomerSeen(customer) if not customer.deleted:
            return customer
        case InvoiceFailed(invoice) if invoice.customer:
            return Customer(invoice.customer, invoice.customer_email, invoice.customer_name)
        case _:
            return None


def read_event(claim: Claim, seen: InvoiceRead, now: datetime) -> Event:
    """What a reading of an invoice showed, as something that happened."""
    return Event(
        f"reprieve:read:{claim.key}:{claim.token}",
        "reprieve.invoice_read",
        now,
        claim.owner.account,
        claim.owner.livemode,
        seen,
        customer=claim.customer,
    )
