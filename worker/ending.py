"""The end of a case at Stripe, once: cancel, pause, move down, void, write off, as the policy says.

    claim -> last look -> intent -> age guard -> change -> finish

The protocol of `worker/charge.py`: the row of `ending` holds request and key before Stripe hears of it, the result
follows in one transaction with what it causes, and whoever finds an intent without a result reads first. All of these
requests leave a state behind that reading shows, so nothing is repeated that was done. What Stripe did becomes facts
by its own webhooks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, insert, select, update

from billing.actions import end_idempotency_key, end_key
from billing.case import RecoveryCase
from billing.ending import NOTHING, STUCK, Due, End, Part, Price, Turn, Verdict, already, due_ends, last_look, price_for
from billing.events.occurrences import EndMade, Event, InvoiceRead
from billing.policy import Policy
from worker import crash, outbox, prices, store, switch
from worker.absorb import absorb_one, read_event
from worker.app import App
from worker.charge import KEY_AGE, backoff, too_old
from worker.columns import db_now
from worker.ending_tables import ending
from worker.outbox import Claim, Lost
from worker.stripe_gateway import Change, Gateway, StripeAway, StripeMissing, StripeNo, StripeRefused, dated
from worker.tables import action

log = structlog.get_logger(__name__)

AN_HOUR = timedelta(hours=1)
WORDS = "not paid within the recovery window (Reprieve)"  # for whoever reads it in Stripe's dashboard
CHANGES: Mapping[End, Change] = {
    End.CANCEL: Change.CANCEL,
    End.UNPAID: Change.UPDATE,
    End.PAUSE: Change.UPDATE,
    End.DOWNGRADE: Change.UPDATE,
    End.VOID: Change.VOID,
    End.UNCOLLECTIBLE: Change.WRITE_OFF,
}


def perform(app: App, claim: Claim) -> str:
    """Make the end that this action asks for, or say why not; returns what became of it."""
    crash.point("E1")
    gateway = app.stripe.of(claim.owner.account, claim.owner.livemode)
    if gateway is None:
        return _give_back(app, claim, AN_HOUR, "no Stripe key is configured for this account")
    looked = dated(app.now())
    try:
        seen = gateway.read(claim.invoice or "")
        named = _named_prices(app, claim, gateway)
    except StripeMissing as error:
        return _finish(app, claim, NOTHING, str(error))
    except StripeRefused as error:
        return _give_back(app, claim, AN_HOUR, str(error))
    except StripeAway as error:
        return _give_back(app, claim, backoff(claim), str(error))
    crash.point("E2")
    try:
        read = read_event(claim, seen, looked)
        if claim.sending:
            return _resolve(app, claim, gateway, seen, read, named)
        return _first_time(app, claim, gateway, seen, read, named)
    except Lost:
        return _give_back(app, claim, timedelta(seconds=30), "stopped before the request was sent")


def _named_prices(app: App, claim: Claim, gateway: Gateway) -> Sequence[Price]:
    """What the policy names, read anew: only a downgrade asks for it."""
    if claim.detail["end"] != End.DOWNGRADE:
        return ()
    with app.db.read() as db:
        case = store.case_of(db, claim.owner, claim.invoice or "")
    policy = app.policies.of(case.account, case.livemode, case.policy) if case else None
    return prices.named(gateway, policy.end.prices) if policy else ()


# ---------------------------------------------------------------- the first time


def _first_time(
    app: App, claim: Claim, gateway: Gateway, seen: InvoiceRead, read: Event, named: Sequence[Price]
) -> str:
    now = app.now()
    with app.db.begin() as db:
        store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
        outbox.hold(db, claim)
        case, verdict = _asked(app, db, claim, seen, read, named, now)
        if case is None or verdict is None:
            because = case.because if case else "there is no such case"
            outbox.finish(db, claim, f"{NOTHING}: {because}", now, "cancelled")
            return because
        if verdict.turn is Turn.LATER:
            outbox.postpone(db, claim, (verdict.until or now + AN_HOUR) - now, verdict.because, now)
            return verdict.because
        if verdict.turn is not Turn.GO:
            return _settle(app, db, claim, OUTCOMES.get(verdict.turn, claim.detail["end"]), verdict.because, now)
        outbox.intend(db, claim, live_case=False)
        what, request = _request(End(claim.detail["end"]), case, seen, named)
        _intent(db, claim, what, request, now)
        crash.point("E3")
    crash.point("E4")
    with app.db.read() as db:
        stopped, meanwhile = _stopped(db, claim), _changed_meanwhile(app, db, claim, now)
    if stopped:
        return _give_back(app, claim, backoff(claim), "stopped before the request was sent")
    if meanwhile:
        return _finish(app, claim, NOTHING, f"the request was not sent: {meanwhile}")
    if too_old(app, claim):
        return "too old to send: the next owner reads first"
    return _send(app, claim, gateway, what, request)


def _stopped(db: Connection, claim: Claim) -> bool:
    return any(scope in (switch.EVERYTHING, claim.owner.account) for scope, *_ in switch.standing(db))


def _changed_meanwhile(app: App, db: Connection, claim: Claim, now: datetime) -> str | None:
    """What was learnt since the intent and speaks against the end, None if nothing was."""
    case = store.case_of(db, claim.owner, claim.invoice or "")
    if case is None:
        return "there is no such case"
    policy = app.policies.of(case.account, case.livemode, case.policy)
    return None if _due(case, policy, claim, now) else case.because


OUTCOMES = {Turn.NOTHING: NOTHING, Turn.PERSON: STUCK}


def _asked(
    app: App, db: Connection, claim: Claim, seen: InvoiceRead, read: Event, named: Sequence[Price], now: datetime
) -> tuple[RecoveryCase | None, Verdict | None]:
    """The case with what the reading showed, and the verdict; no verdict: nothing is planned any more."""
    cases = store.cases_for_update(db, claim.owner, [claim.customer] if claim.customer else [], [claim.invoice or ""])
    before = cases.get(claim.invoice or "")
    case = absorb_one(app, db, claim.owner, read)
    if before is None or case is None:
        return None, None
    policy = app.policies.of(case.account, case.livemode, case.policy)
    due = _due(case, policy, claim, now)
    if due is None:
        return case, None
    waits = _subscription_waits(db, claim)
    others = list(cases.values())
    return case, last_look(due, case, before.amount, seen, policy.end, others, named, waits, now)


def _due(case: RecoveryCase, policy: Policy, claim: Claim, now: datetime) -> Due | None:
    found = due_ends(case, policy.end, policy.promise_grace, now) if policy.mode.charges else ()
    return next((due for due in found if due.part == claim.detail["part"] and due.end == claim.detail["end"]), None)


def _subscription_waits(db: Connection, claim: Claim) -> bool:
    first = claim.owner.of(action) & (action.c.key == end_key(claim.invoice or "", Part.SUBSCRIPTION))
    return db.scalar(select(action.c.state).where(first)) in ("waiting", "claimed", "sending")


def _request(end: End, case: RecoveryCase, seen: InvoiceRead, named: Sequence[Price]) -> tuple[str, dict[str, Any]]:
    """What is changed, and the body of the request."""
    if end in (End.VOID, End.UNCOLLECTIBLE):
        return case.invoice, {}
    subscription = seen.subscription
    if subscription is None:
        raise LookupError("the last look let pass what has no subscription")
    match end:
        case End.CANCEL:
            return subscription.id, {"cancellation_details": {"comment": WORDS}}
        case End.PAUSE:
            return subscription.id, {"pause_collection": {"behavior": "void"}}
        case End.UNPAID:
            return subscription.id, {"pause_collection": {"behavior": "keep_as_draft"}}
        case _:
            price = price_for(subscription, named)
            if isinstance(price, str):
                raise LookupError(price)
            item = {"id": subscription.items[0].id, "price": price.id}
            return subscription.id, {"items": [item], "proration_behavior": "none"}


def _intent(db: Connection, claim: Claim, what: str, request: Mapping[str, Any], now: datetime) -> None:
    part = str(claim.detail["part"])
    row = {
        **claim.owner.key,
        "invoice": claim.invoice,
        "part": part,
        "wanted": claim.detail["end"],
        "object": what,
        "state": "sending",
        "token": claim.token,
        "idem_key": _key(claim),
        "request": request,
        "first_sent_at": db.scalar(select(db_now())),
        "at": now,
    }
    db.execute(insert(ending), row)


def _key(claim: Claim) -> str:
    return end_idempotency_key(claim.owner.account, claim.owner.livemode, claim.invoice or "", claim.detail["part"])


def _send(app: App, claim: Claim, gateway: Gateway, what: str, request: Mapping[str, Any]) -> str:
    end = End(claim.detail["end"])
    try:
        gateway.change(CHANGES[end], what, request, _key(claim))
    except (StripeNo, StripeMissing) as error:
        return _look_closer(app, claim, gateway, request, str(error))
    except StripeRefused as error:
        return _finish(app, claim, STUCK, f"Stripe does not allow this key to do it: {error}")
    except StripeAway as error:
        return _give_back(app, claim, backoff(claim), str(error))
    crash.point("E6")
    return _finish(app, claim, end, "Stripe did it")


def _look_closer(app: App, claim: Claim, gateway: Gateway, request: Mapping[str, Any], refused: str) -> str:
    """Stripe said no: perhaps because it was done before, or because the customer paid a moment ago."""
    try:
        seen = gateway.read(claim.invoice or "")
    except (StripeAway, StripeMissing, StripeRefused) as error:
        return _give_back(app, claim, backoff(claim), str(error))
    end = End(claim.detail["end"])
    if already(end, seen, _price_in(request)):
        return _finish(app, claim, end, "reading shows that it is so")
    if seen.invoice.status != "open":
        return _finish(app, claim, NOTHING, f"the invoice is {seen.invoice.status} at Stripe")
    return _finish(app, claim, STUCK, refused)


# ---------------------------------------------------------------- found with an intent and no result


def _resolve(app: App, claim: Claim, gateway: Gateway, seen: InvoiceRead, read: Event, named: Sequence[Price]) -> str:
    with app.db.begin() as db:
        ours = _row(claim)
        row = db.execute(select(ending, db_now().label("db_now")).where(ours)).first()
        if row is None:
            raise Lost(claim.key)
        db.execute(update(ending).where(ours, ending.c.token < claim.token).values(token=claim.token))
    end = End(row.wanted)
    if already(end, seen, _price_in(row.request)):
        return _finish(app, claim, end, "reading shows that it was done")
    if row.db_now - row.first_sent_at >= KEY_AGE:
        return _finish(app, claim, STUCK, f"asked at {row.at:%Y-%m-%d %H:%M} UTC, and reading shows that it is not so")
    now = app.now()
    with app.db.begin() as db:
        store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
        outbox.hold(db, claim)
        case, verdict = _asked(app, db, claim, seen, read, named, now)
        stopped = _stopped(db, claim)
    if case is None or verdict is None:
        return _finish(app, claim, NOTHING, case.because if case else "there is no such case")
    if stopped or verdict.turn is Turn.LATER:
        because = "everything is stopped" if stopped else verdict.because
        return _give_back(app, claim, backoff(claim), f"the request is not repeated: {because}")
    if verdict.turn is not Turn.GO:
        return _finish(app, claim, OUTCOMES.get(verdict.turn, end), verdict.because)
    if too_old(app, claim):
        return "too old to send: the next owner reads first"
    return _send(app, claim, gateway, row.object, row.request)


def _price_in(request: Mapping[str, Any]) -> str | None:
    return next((str(item["price"]) for item in request.get("items", ())), None)


def _row(claim: Claim) -> Any:
    return claim.owner.of(ending) & (ending.c.invoice == claim.invoice) & (ending.c.part == claim.detail["part"])


# ---------------------------------------------------------------- the end


def _finish(app: App, claim: Claim, outcome: str, because: str) -> str:
    now = app.now()
    try:
        with app.db.begin() as db:
            store.lock(db, claim.owner, [claim.customer or claim.invoice or ""])
            told = _settle(app, db, claim, outcome, because, now)
            crash.point("E7")
    except Lost:
        return "another worker finished this"
    crash.point("E8")
    return told


def _settle(app: App, db: Connection, claim: Claim, outcome: str, because: str, now: datetime) -> str:
    """In one transaction: the action's end, the row's end, and what the case learns of it."""
    outbox.finish(db, claim, f"{outcome}: {because}", now, "stuck" if outcome == STUCK else "done")
    state = {NOTHING: "not_made", STUCK: "stuck"}.get(outcome, "made")
    closed = {"state": state, "token": claim.token, "because": because, "finished_at": now}
    db.execute(update(ending).where(_row(claim), ending.c.state == "sending").values(**closed))
    made = EndMade(claim.invoice or "", str(claim.detail["part"]), str(outcome))
    event = Event(
        f"reprieve:{claim.key}:{outcome}",
        "reprieve.end_made",
        now,
        claim.owner.account,
        claim.owner.livemode,
        made,
        customer=claim.customer,
    )
    absorb_one(app, db, claim.owner, event)
    log.info("end_settled", invoice=claim.invoice, part=made.part, outcome=made.outcome, because=because)
    return f"{outcome}: {because}"


def _give_back(app: App, claim: Claim, wait: timedelta, because: str) -> str:
    try:
        with app.db.begin() as db:
            outbox.postpone(db, claim, wait, because, app.now())
    except Lost:
        return "another worker has this"
    return because
