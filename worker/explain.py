"""The whole story of one invoice: every fact, decision and reason, in order of time, and what waits now.

`story` gathers it from the rows as a value; the command line prints it and the dashboard shows it. Nothing personal is
in it: ids, codes, amounts, and the hash of a mailbox.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table as Columns
from rich.text import Text
from sqlalchemy import Connection, Row, Table, or_, select

from billing import case as cases
from billing import declines
from billing.case import RecoveryCase
from billing.events import occurrences as seen
from billing.events.occurrences import Event
from billing.events.snapshots import Decline
from billing.money import Amount
from billing.retry.schedule import next_attempt
from worker import explain_card, explain_people, report, store, switch
from worker import tables as t
from worker.app import App
from worker.store import Owner
from worker.values import event_from_json

AROUND = timedelta(days=1)
"""A subscription's events so long before the failure, and after the end, belong to the story."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the story. `who` is one of ORDER."""

    at: datetime
    who: str
    what: str
    because: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An action that was not performed yet."""

    due_at: datetime
    kind: str
    because: str
    state: str
    key: str


@dataclass(frozen=True, slots=True)
class Story:
    """`case` is None for an invoice that never failed. `otherwise`: why nothing else waits, one sentence each."""

    invoice: str
    account: str
    livemode: bool
    customer: str | None
    subscription: str | None
    case: dict[str, Any] | None
    moments: tuple[Moment, ...]
    waiting: tuple[Waiting, ...]
    otherwise: tuple[str, ...]
    rows: dict[str, list[dict[str, Any]]]  # facts, actions, attempts, messages, entries: as stored

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name not in ("moments", "waiting")} | {
            "moments": [asdict(moment) for moment in self.moments],
            "waiting": [asdict(waiting) for waiting in self.waiting],
        }


def run(app: App, invoice: str, as_json: bool, out: TextIO) -> None:
    """Print the story of one invoice. Raises LookupError when nothing is known of it."""
    found = stories(app, invoice)
    if as_json:
        json.dump([each.to_json() for each in found], out, indent=2, default=_plain)
        out.write("\n")
        return
    for each in found:
        _print(each, Console(file=out, highlight=False, width=None if out.isatty() else 140))


def stories(app: App, invoice: str) -> list[Story]:
    """The story in every account and mode that knows the invoice: almost always one. Raises LookupError."""
    known = report.owners(app)
    with app.db.read() as db:
        found = [owner for owner in known if any(_knows(db, owner, table, invoice) for table in (t.fact, t.action))]
    if not found:
        raise LookupError(f"nothing is known of an invoice {invoice}")
    return [story(app, owner, invoice) for owner in found]


def _knows(db: Connection, owner: Owner, table: Table, invoice: str) -> bool:
    wanted = select(table.c.id).where(owner.of(table), table.c.invoice == invoice).limit(1)
    return db.execute(wanted).first() is not None


def story(app: App, owner: Owner, invoice: str) -> Story:
    app.policies.refresh()  # the worker may have learnt since this process began
    with app.db.read() as db:
        case = store.case_of(db, owner, invoice)
        events = _events(db, owner, invoice, case)
        handled = _reasons(db, owner, [event.id for event in events])
        rows = {
            name: list(
                db.execute(select(table).where(owner.of(table), table.c.invoice == invoice).order_by(table.c.id))
            )
            for name, table in (
                *(("actions", t.action), ("attempts", t.attempt), ("messages", t.notice)),
                ("refusals", t.refusal),
            )
        }
        entries = list(
            db.execute(select(t.entry).where(owner.of(t.entry), t.entry.c.invoice == invoice).order_by(t.entry.c.id))
        )
        postings = _postings(db, [entry.id for entry in entries])
        stops = switch.standing(db)
        people = [Moment(*line) for line in explain_people.lines(db, owner, invoice)]
        needed = explain_people.standing(db, owner, invoice)
        policy = app.policies.of(case.account, case.livemode, case.policy) if case else None
        budgets = explain_card.budgets(db, owner, case, policy, app.now()) if case and policy else []
        own_rules = explain_card.own_rules(case, policy, app.now()) if case and policy else []
    moments = [
        *(_fact(event, handled.get(event.id, "")) for event in events if not event.type.startswith("reprieve.")),
        *(moment for row in rows["attempts"] for moment in _attempt(row)),
        *(Moment(*explain_card.refusal(row)) for row in rows["refusals"]),
        *(_message(row) for row in rows["messages"]),
        *(moment for row in rows["actions"] for moment in _action(row)),
        *(_entry(row, postings[row.id]) for row in entries),
        *people,
    ]
    waiting = sorted(
        (
            Waiting(row.due_at, row.kind, row.because, row.state, row.key)
            for row in rows["actions"]
            if row.state not in ("done", "cancelled")
        ),
        key=lambda each: each.due_at,
    )
    who = case or next((event for event in events if event.customer), None)
    return Story(
        invoice=invoice,
        account=owner.account,
        livemode=owner.livemode,
        customer=who.customer if who else None,
        subscription=case.subscription if case else None,
        case={**_case(app, case), "budgets": budgets, "own_rules": own_rules} if case else None,
        moments=tuple(sorted(moments, key=lambda moment: (moment.at, ORDER.index(moment.who)))),
        waiting=tuple(waiting),
        otherwise=(*([needed] if needed else []), *_otherwise(app, owner, case, waiting, stops)),
        rows={
            "facts": [{**_told(event), "because": handled.get(event.id)} for event in events],
            **{name: [_stored(row) for row in found] for name, found in rows.items()},
            "entries": [{**_stored(row), "postings": postings[row.id]} for row in entries],
        },
    )


# ---------------------------------------------------------------- gathering


def _events(db: Connection, owner: Owner, invoice: str, case: RecoveryCase | None) -> list[Event]:
    """The facts that name the invoice and, for a case, those of its subscription and customer around it."""
    fact = t.fact
    about = [fact.c.invoice == invoice]
    if case and case.customer:
        until = case.closed_at + AROUND if case.closed_at else datetime.max.replace(tzinfo=case.failed_at.tzinfo)
        near = fact.c.at.between(case.failed_at - AROUND, until)
        its_own = (fact.c.subscription == case.subscription) & fact.c.invoice.is_(None)
        methods = fact.c.kind.in_(["PaymentMethodSeen", "ChargeDisputed"])
        about.append((fact.c.customer == case.customer) & near & or_(its_own, methods))
    rows = db.execute(select(fact.c.body).where(owner.of(fact), or_(*about)).order_by(fact.c.at, fact.c.id))
    return [event_from_json(body) for (body,) in rows]


def _reasons(db: Connection, owner: Owner, events: list[str]) -> dict[str, str]:
    """What each event was found to mean when it was handled."""
    inbox = t.inbox
    rows = db.execute(select(inbox.c.event_id, inbox.c.because).where(owner.of(inbox), inbox.c.event_id.in_(events)))
    return {id: because or "" for id, because in rows}


def _postings(db: Connection, entries: list[int]) -> dict[int, list[str]]:
    lines = db.execute(
        select(t.posting).where(t.posting.c.entry.in_(entries)).order_by(t.posting.c.entry, t.posting.c.line)
    )
    found: dict[int, list[str]] = {entry: [] for entry in entries}
    for line in lines:
        found[line.entry].append(f"{line.name} {'+' if line.minor > 0 else ''}{Amount(line.minor, line.unit)}")
    return found


# ---------------------------------------------------------------- moments

ORDER = ("people", "we", "bank", "stripe", "message", "plan", "books")  # of what stands at the same instant


def _fact(event: Event, because: str) -> Moment:
    return Moment(event.at, "stripe", f"{event.type}: {_said(event.what)}", because, event.id)


def _said(what: seen.What) -> str:
    """One occurrence in words."""
    match what:
        case seen.InvoiceFailed(invoice=invoice, decline=decline, action_required=action):
            failed = "the customer must authenticate" if action else "the payment failed"
            again = invoice.next_payment_attempt
            after = f"; Stripe tries again at {_minute(again)}" if again else ""
            owed = f"{invoice.remaining} owed after {invoice.attempt_count} of Stripe's attempts"
            return f"{failed}{_no(decline)}, {owed}{after}"
        case seen.InvoicePaid(invoice=invoice):
            return f"paid, {invoice.paid}{' outside Stripe' if invoice.paid_out_of_band else ''}"
        case seen.InvoiceVoided() | seen.InvoiceUncollectible():
            return "voided" if isinstance(what, seen.InvoiceVoided) else "written off"
        case seen.InvoiceSeen(invoice=invoice) | seen.InvoiceRead(invoice=invoice):
            return f"the invoice is {invoice.status}, {invoice.remaining} owed"
        case seen.InvoicePaymentPaid(payment_intent=intent, amount=amount):
            return f"{amount or 'money'} came by {intent or 'a payment outside Stripe'}"
        case seen.SubscriptionSeen(subscription=subscription, previous_status=before):
            was = f", was {before}" if before and before != subscription.status else ""
            end = f", ends at {_minute(subscription.cancel_at)}" if subscription.cancel_at else ""
            return f"the subscription is {subscription.status}{was}{end}"
        case seen.ChargeFailed(charge=charge):
            return f"the bank declined {charge.amount}{_no(charge.decline)}"
        case seen.PaymentIntentSeen(intent=intent):
            return f"the payment is {intent.status}{_no(intent.decline)}"
        case seen.PaymentMethodSeen(method=method, change=change):
            brand = f" {method.card.brand}" if method.card and method.card.brand else ""
            return f"a {method.kind or 'payment method'}{brand} was {change.replace('_', ' ')}"
        case seen.ChargeRefunded(amount=amount):
            return f"{amount} was given back"
        case seen.ChargeDisputed(status=status, reason=reason):
            return f"dispute {status or 'seen'}{f', {reason}' if reason else ''}"
        case seen.EndMade(part=part, outcome=outcome):
            return f"the end of its {part}: {outcome}"
        case _:
            return type(what).__name__


def _no(decline: Decline | None) -> str:
    """The bank's no, with every code that says something."""
    if decline is None:
        return ""
    named = (decline.decline_code or decline.code, decline.advice_code, decline.network_advice_code)
    codes = [code for code in named if code]
    return f" ({', '.join(codes)})" if codes else ""


def _attempt(row: Row[Any]) -> Iterator[Moment]:
    amount = Amount(row.amount, row.currency)
    yield Moment(row.at, "we", f"asked the bank for {amount}, attempt {row.n}", "", row.idem_key)
    if row.finished_at or row.answer:
        codes = (row.decline or {}).get("decline_code") or (row.decline or {}).get("code")
        answer = f"{(row.answer or row.state).replace('_', ' ')}{f', {codes}' if codes else ''}"
        yield Moment(row.finished_at or row.at, "bank", f"answer to attempt {row.n}: {answer}", row.because or "")


def _message(row: Row[Any]) -> Moment:
    said = f"{row.step.replace('_', ' ')} by {row.channel} to mailbox {row.recipient_hash[:12]}: {row.state}"
    return Moment(row.finished_at or row.at, "message", said, row.because or "", row.message_id)


def _action(row: Row[Any]) -> Iterator[Moment]:
    """When it was planned, and how it ended; what an attempt or a message says itself is not said twice."""
    yield Moment(row.created_at, "plan", f"{row.kind} planned for {_minute(row.due_at)}", row.because, row.key)
    if row.state == "cancelled":
        yield Moment(row.finished_at or row.due_at, "plan", f"{row.kind} taken back", row.outcome or "", row.key)
    elif row.state in ("done", "stuck") and (row.kind not in ("retry", "notice") or row.state == "stuck"):
        yield Moment(row.finished_at or row.due_at, "plan", f"{row.kind} {row.state}", row.outcome or "", row.key)
    elif row.state == "done" and (row.outcome or "").startswith("skipped"):
        yield Moment(row.finished_at or row.due_at, "message", "not sent", row.outcome or "", row.key)


def _entry(row: Row[Any], postings: list[str]) -> Moment:
    reversal = "taken back: " if row.reverses else ""
    return Moment(row.effective_at, "books", f"{reversal}{'; '.join(postings)}", row.because, row.key)


# ---------------------------------------------------------------- how it stands


def _case(app: App, case: RecoveryCase) -> dict[str, Any]:
    policy = app.policies.of(case.account, case.livemode, case.policy)
    return {
        "state": case.state.value,
        "sentence": cases.SENTENCES[case.state],
        "because": case.because,
        "amount": {"minor": case.amount.minor, "currency": case.amount.currency, "text": str(case.amount)},
        "mrr": {"minor": case.mrr.minor, "unit": case.mrr.unit, "text": str(case.mrr)} if case.mrr else None,
        "decline_class": case.decline_class.value,
        "decline_sentence": declines.SENTENCES[case.decline_class],
        "decline_because": case.decline_because,
        "failed_at": case.failed_at,
        "deadline": case.deadline,
        "closed_at": case.closed_at,
        "recovered_by": case.recovered_by.value if case.recovered_by else None,
        "policy": case.policy,
        "mode": policy.mode.value,
        "arm": case.arm,
        "attempts": len(case.executed),
        "stripe_attempts": case.stripe_attempts,
    }


def _otherwise(
    app: App,
    owner: Owner,
    case: RecoveryCase | None,
    waiting: list[Waiting],
    stops: list[tuple[str, str, str, datetime]],
) -> Iterator[str]:
    """Why nothing else waits."""
    for scope, by, because, since in stops:
        if scope in (switch.EVERYTHING, owner.account):
            yield f"Stopped by {by} since {_minute(since)}: {because}. No payment is asked for and no message is sent."
    if case is None:
        yield "No payment of this invoice is known to have failed: there is no case."
        return
    kinds = {each.kind for each in waiting}
    if "retry" not in kinds:
        wait = next_attempt(case, app.policies.of(case.account, case.livemode, case.policy), app.now())
        yield f"No further payment attempt: {wait.because}."
    if case.live and "notice" not in kinds:
        ended = ", ".join(f"{step.replace('_', ' ')} {outcome}" for step, outcome in case.notices)
        yield f"No further message: {ended or 'none is due in this state and mode'}."


def _told(event: Event) -> dict[str, Any]:
    return {"id": event.id, "type": event.type, "at": event.at, "said": _said(event.what), "caused_by": event.caused_by}


def _stored(row: Row[Any]) -> dict[str, Any]:
    return {name: value for name, value in row._mapping.items() if name not in ("account", "livemode", "lease_until")}


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _minute(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "an unknown time"


# ---------------------------------------------------------------- on paper


def _print(story: Story, console: Console) -> None:
    mode = "live" if story.livemode else "test"
    console.print(Text(f"Invoice {story.invoice}", style="bold"))
    console.print(f"customer {story.customer}, subscription {story.subscription}, account {story.account} ({mode})")
    if story.case:
        console.print(_standing(story.case))
    table = Columns(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for name in ("when (UTC)", "who", "what, and why"):
        table.add_column(name, no_wrap=name != "what, and why")
    said = ""
    for moment in story.moments:
        what = Text(moment.what)
        if moment.because and moment.because != said:
            what.append(f"\n{moment.because}", style="dim")
        if moment.source:
            what.append(f"  [{moment.source}]", style="dim")
        said = moment.because
        table.add_row(f"{moment.at:%Y-%m-%d %H:%M:%S}", moment.who, what)
    console.print(table)
    console.print()
    for waiting in story.waiting:
        console.print(f"waits: {waiting.kind} at {_minute(waiting.due_at)} ({waiting.state}): {waiting.because}")
    for sentence in story.otherwise:
        console.print(sentence)


def _standing(case: dict[str, Any]) -> str:
    mrr = f", {case['mrr']['text']}" if case["mrr"] else ""
    lines = [
        f"{case['state']}: {case['because']}",
        f"{case['amount']['text']}{mrr}; failed {_minute(case['failed_at'])}, window until {_minute(case['deadline'])}",
        f"{case['decline_class']}: {case['decline_because'] or case['decline_sentence']}",
        f"policy {case['policy']}, mode {case['mode']}",
        *(f"budget {each['text']}" for each in case["budgets"]),
        *case["own_rules"],
        "",
    ]
    return "\n".join(lines)
