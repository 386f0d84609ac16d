"""Start here: one event and one case in, one decision out.

`decide` is the only place where something that happened becomes something to do. It is pure: what it needs comes in,
what it wants goes out, with the reason. First the event is added to the evidence of the case (`learn`), then the case
is settled into the state the evidence says, then everything that should be waiting for this case is planned anew
(`plan`). Nothing depends on the order in which events arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from billing.actions import (
    Action,
    Kind,
    access_key,
    backup_key,
    deadline_key,
    end_key,
    look_key,
    notice_key,
    retry_key,
    settle_key,
)
from billing.case import Past, RecoveryCase, State, settle
from billing.ending import due_ends, rescued_at
from billing.entitlement import Standing, changes_at
from billing.events.occurrences import Answer, Event, InvoiceFailed
from billing.evidence import learn
from billing.notices.due import AFTER_TRY, Due, Facts, Passed, weigh
from billing.notices.sequence import Via
from billing.policy import Policy
from billing.retry.schedule import Wait, held_until, next_attempt


@dataclass(frozen=True, slots=True)
class Decision:
    """The case as it now is, everything that should be waiting for it, and why.

    `case` is None when the event concerns no failed payment; `actions` is complete: what is not in it and still
    waits is to be cancelled.
    """

    case: RecoveryCase | None
    actions: tuple[Action, ...]
    because: str


def decide(
    case: RecoveryCase | None,
    event: Event,
    policy: Policy,
    now: datetime,
    remembered: Sequence[Event] = (),
    past: tuple[Past, ...] = (),
    facts: Facts = Facts(),
) -> Decision:
    """Add `event` to what is known of `case` and say what follows. Total: every event gives a decision.

    For a case that this event opens, `remembered` is what was learnt earlier and may concern it, and `past` are the
    earlier failures of its customer. `facts` is what messages depend on and no event tells.
    """
    if case is None:
        case, because = opened(event, policy)
        if case is None:
            return Decision(None, (), because)
        case = replace(case, past=past)
        for earlier in remembered:
            case = learn(case, earlier, policy)
    case = settle(learn(case, event, policy))
    return Decision(case, plan(case, policy, now, facts), case.because)


# ---------------------------------------------------------------- which invoice is a case


def opened(event: Event, policy: Policy) -> tuple[RecoveryCase | None, str]:
    """A new case if the event is the failure of a payment that may be recovered, else None and why not."""
    match event.what:
        case InvoiceFailed(invoice=invoice):
            pass
        case _:
            return None, f"{event.type}: no failed payment is known here"
    if invoice.billing_reason == "subscription_create":
        return None, "the first payment of a subscription is a checkout, not a failed renewal"
    if not invoice.remaining and not invoice.due:
        return None, "nothing is owed on this invoice"
    return (
        RecoveryCase(
            account=event.account,
            livemode=event.livemode,
            invoice=invoice.id,
            customer=invoice.customer or event.customer,
            subscription=invoice.subscription,
            amount=invoice.remaining if invoice.remaining else invoice.due,
            policy=policy.id,
            failed_at=event.at,
            last_failed_at=event.at,
            deadline=event.at + policy.window,
            number=invoice.number,
            collection_method=invoice.collection_method,
        ),
        "a payment failed",
    )


# ---------------------------------------------------------------- what should be waiting now


def plan(case: RecoveryCase, policy: Policy, now: datetime, facts: Facts = Facts()) -> tuple[Action, ...]:
    """Everything that should wait for this case; the keys are stable, so planning again changes only what changed."""

    def action(key: str, kind: Kind, due: datetime, because: str, **detail: str | int) -> Action:
        return Action(key, kind, due, because, case.invoice, case.customer, detail)

    wait = next_attempt(case, policy, now) if case.live else Wait(None, case.because)
    wanted = [
        action(notice_key(case.invoice, due.step), Kind.NOTICE, due.at, due.because, **_told(due))
        for due in weighed(case, policy, now, facts, wait)
        if isinstance(due, Due) and policy.mode.sends
    ]
    if policy.access and (turn := changes_at(Standing(case, policy.access, policy.promise_grace), now)):
        wanted.append(action(access_key(case.invoice, turn), Kind.ACCESS, turn, "what the customer may use changes"))
    if policy.mode.charges:
        wanted += [
            action(end_key(case.invoice, part), Kind.END, due, because, part=part, end=end)
            for part, end, due, because in due_ends(case, policy.end, policy.promise_grace, now)
        ]
    if case.operator.outside and case.operator.outside_told_at and case.state is not State.RECOVERED:
        because = "an operator says that it was paid outside Stripe"
        wanted.append(action(settle_key(case.invoice), Kind.SETTLE, case.operator.outside_told_at, because))
    if not case.live:
        return tuple(wanted)
    wanted.append(action(deadline_key(case.invoice), Kind.DEADLINE, case.deadline, "the recovery window ends"))
    if look := _look(case):
        looked, because = look
        wanted.append(action(look_key(case.invoice, looked), Kind.LOOK, looked, because))
    if wait.until:
        n = len(case.attempts) + 1
        key = backup_key(case.invoice, n) if wait.backup else retry_key(case.invoice, n)
        wanted.append(action(key, Kind.RETRY, wait.until, wait.because, n=n, **_foretold(wait)))
    return tuple(wanted)


def weighed(
    case: RecoveryCase, policy: Policy, now: datetime, facts: Facts = Facts(), wait: Wait | None = None
) -> tuple[Due | Passed, ...]:
    """Every message that did not end yet, with its time or the reason why not; those that ask wait for a promise.

    `wait` is the next attempt, where it was worked out already.
    """
    ours = (wait or next_attempt(case, policy, now)).until if case.live else None
    tries = [at for at in (ours, case.stripe_next_attempt) if at and at + AFTER_TRY >= now]
    facts = replace(
        facts,
        held_until=held_until(case, policy),
        next_try=min(tries, default=None),
        rescued_at=rescued_at(case, policy.end),
        asked=case.operator.notices,
    )
    return weigh(case, policy.sequence, facts, now)


def _told(due: Due) -> dict[str, str | int]:
    """What is kept with a message; the usual one is an e-mail to the address at Stripe, said as its step is called."""
    told: dict[str, str | int] = {"step": due.step}
    if due.step != due.template:
        told["template"] = due.template.value
    if due.via is not Via.EMAIL:
        told["channel"] = due.via.value
    return {**told, "to": due.to} if due.to else told


def _foretold(wait: Wait) -> dict[str, str | int]:
    """What is kept with an attempt, to be held against its answer: chances are told in thousandths."""
    told: dict[str, str | int] = {"backup": 1} if wait.backup else {}
    if wait.plan:
        told |= {"model": wait.plan.model, "told": round(1000 * wait.plan.told)}
        told |= {"explored": 1} if wait.plan.explored else {}
    return told


_SAME_FAILURE = timedelta(hours=1)
_LOOK_AGAIN = timedelta(days=1)


def _look(case: RecoveryCase) -> tuple[datetime, str] | None:
    """When the invoice should be read, and why: events since 2025 do not say what the bank answered."""
    debits = [attempt.at for attempt in case.attempts if attempt.answer is Answer.PROCESSING]
    if case.under_way or debits:
        seen = max(filter(None, (case.processing_at, case.looked_at, *debits)))
        return seen + _LOOK_AGAIN, "see how the payment under way ended"
    known = max(filter(None, (case.decline_at, case.looked_at)), default=None)
    if known is None or case.last_failed_at > known + _SAME_FAILURE:
        return case.last_failed_at, "learn what the bank answered"
    return None
