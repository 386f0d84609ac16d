"""May this message go out now? Asked with everything that is known, before Stripe is read and once more after it.

A message that is not named any more is taken back and may come again; one whose time has not come waits. Messages to
one person about several open invoices become one, which names them all; the others end as merged once it was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from billing.actions import Kind
from billing.case import LIVE, RecoveryCase, State
from billing.decide import weighed
from billing.notices.due import Due, Facts, Passed
from billing.notices.sequence import ASKING, SILENT, Step, Via
from billing.policy import Policy
from billing.retry.schedule import held_until
from worker import links, people, store
from worker.app import App
from worker.outbox import Claim
from worker.store import Owner
from worker.tables import action, notice

MERGE_WITHIN = timedelta(hours=12)  # messages so near each other are one
WAIT, HOUR, DAY = timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)
MERGES = "merges"  # in an action's detail: keys of the messages that this one stands for
ASKED = ("accepted", "unknown", "handing_over")  # states of a message that may have reached somebody, or is about to

# Of messages that fall together, the more urgent one is said. A promise is nobody's but its own invoice's.
URGENCY = {Step.LAST_DAY: 3, Step.BEFORE_DEADLINE: 2, Step.REMINDER: 1, Step.PAYMENT_FAILED: 1}
ALIKE = (frozenset(URGENCY), frozenset({Step.RECOVERED}), frozenset({Step.ENDED}), frozenset({Step.LATE_RESCUE}))


@dataclass(frozen=True, slots=True)
class Go:
    """It may go out. `others`: the cases it names besides; `merges`: the actions that end with it."""

    case: RecoveryCase
    policy: Policy
    due: Due
    others: tuple[RecoveryCase, ...] = ()
    merges: tuple[str, ...] = ()
    next_try: datetime | None = None

    @property
    def states(self) -> frozenset[State]:
        """In which the case has to be at the moment of intent."""
        return states_for(self.due.template)


@dataclass(frozen=True, slots=True)
class Later:
    """Not before `until`."""

    until: datetime
    because: str


@dataclass(frozen=True, slots=True)
class Never:
    """Nothing asks for it as things stand."""

    because: str


def states_for(template: Step) -> frozenset[State]:
    if template in ASKING:
        return LIVE - SILENT
    return frozenset({State.RECOVERED if template is Step.RECOVERED else State.LOST})


def standing(app: App, db: Connection, claim: Claim) -> Go | Later | Never:
    """What holds for this message now; call it under the lock of the customer."""
    now, label = app.now(), str(claim.detail["step"])
    cases = store.cases_for_update(db, claim.owner, filter(None, [claim.customer]), [claim.invoice or ""])
    case = cases.get(claim.invoice or "")
    if case is None:
        return Never("there is no such case")
    policy = app.policies.of(case.account, case.livemode, case.policy)
    if not policy.mode.sends:
        return Later(
            now + DAY, f"the mode is {policy.mode}"
        )  # it may be another one by then, and nothing else would ask
    names = filter(None, [case.customer])
    facts = people.facts_of(db, app.settings, claim.owner, names, [policy]).get(case.customer or "", Facts())
    found = next((each for each in weighed(case, policy, now, facts) if each.step == label), None)
    if found is None or isinstance(found, Passed):
        return Never(found.because if found else f"the policy has no message {label}")
    if found.at > now:
        return Later(found.at, found.because)
    go = Go(case, policy, found)
    if not policy.sequence.merge or links.base_of(app.settings) is None or found.via is Via.CHAT:
        return go
    return _merged(app, db, claim, go, cases)


def _merged(app: App, db: Connection, claim: Claim, go: Go, cases: dict[str, RecoveryCase]) -> Go | Later | Never:
    """The same with what falls together with it; Later when a more urgent message is about to be said."""
    if go.due.template is Step.RECOVERED and any(case.live for case in cases.values()):
        # In time to be one message of thanks if the other one is paid, too; else there is none.
        return Later(app.now() + MERGE_WITHIN / 2, "another invoice of the customer is open: not everything is settled")
    now, alike = app.now(), next((group for group in ALIKE if go.due.template in group), frozenset[Step]())
    near = [case for case in cases.values() if case is not go.case and _belongs(app, case, go)]
    near.sort(key=lambda case: (case.failed_at, case.invoice))
    rows = [
        row
        for row in _waiting(db, claim.owner, [case.invoice for case in near], now + MERGE_WITHIN)
        if _template(row) in alike and _same_way(row, go.due)
    ]
    urgent = [row for row in rows if _urgency(_template(row)) > _urgency(go.due.template)]
    if not go.due.asked and any(row.due_at <= now and row.tries == 0 for row in urgent):
        return Later(now + WAIT, "a more urgent message to the same person comes first")
    ends = [row for row in rows if row not in urgent]
    speaking = {row.invoice for row in ends} if go.due.template not in URGENCY else {case.invoice for case in near}
    others = tuple(case for case in near if case.invoice in speaking) if alike else ()
    return Go(go.case, go.policy, go.due, others, tuple(row.key for row in ends))


def _belongs(app: App, case: RecoveryCase, go: Go) -> bool:
    """Whether a message about `go.case` may speak of this other case of the customer too."""
    policy, now = app.policies.of(case.account, case.livemode, case.policy), app.now()
    if case.amount.currency != go.case.amount.currency or not policy.sequence.merge:
        return False
    if case.state not in go.states:
        return False
    if go.due.template not in ASKING:
        return True
    promised = held_until(case, policy)
    silent = case.failed_at + policy.sequence.silent > now + MERGE_WITHIN
    return not (silent or case.under_way or case.in_flight or case.amount.minor <= 0 or (promised and promised > now))


def _waiting(db: Connection, owner: Owner, invoices: Sequence[str], until: datetime) -> list[Row[Any]]:
    if not invoices:
        return []
    wanted = select(action.c.key, action.c.invoice, action.c.detail, action.c.due_at, action.c.tries).where(
        owner.of(action), action.c.invoice.in_(invoices), action.c.kind == Kind.NOTICE.value
    )
    return list(db.execute(wanted.where(action.c.state.in_(("waiting", "claimed")), action.c.due_at <= until)))


def _template(row: Row[Any]) -> Step | None:
    named = str(row.detail.get("template", row.detail["step"]))
    return Step(named) if named in list(Step) else None


def _urgency(template: Step | None) -> int:
    return URGENCY.get(template, 0) if template else 0


def _same_way(row: Row[Any], due: Due) -> bool:
    return (row.detail.get("channel", Via.EMAIL), row.detail.get("to", "")) == (due.via, due.to)


def end_merged(db: Connection, claim: Claim, now: datetime) -> list[tuple[str, str]]:
    """End the messages that this one stood for; (invoice, label) of each that had not been sent by then."""
    detail = db.scalar(select(action.c.detail).where(action.c.id == claim.id)) or {}
    ended = []
    for key in detail.get(MERGES, ()):
        row = db.execute(
            update(action)
            .where(claim.owner.of(action), action.c.key == key, action.c.state.in_(("waiting", "claimed")))
            .values(state="done", outcome=f"merged into {claim.key}", finished_at=now, lease_until=None)
            .returning(action.c.invoice, action.c.detail)
        ).first()
        if row:
            ended.append((str(row.invoice), str(row.detail["step"])))
    return ended


# ---------------------------------------------------------------- how often


def too_often(db: Connection, claim: Claim, go: Go, recipient: str, now: datetime) -> Later | None:
    """Why this address of the customer must wait: another message is on its way to it, or it has had enough.

    Call it under the lock of the customer, in the transaction of the intent.
    """
    if claim.customer is None or go.policy.messages is None:
        return None
    sequence = go.policy.sequence
    mine = claim.owner.of(notice) & (notice.c.customer == claim.customer) & (notice.c.recipient_hash == recipient)
    rows = db.execute(
        select(notice.c.at, notice.c.state, notice.c.template)
        .where(mine, notice.c.at > now - max(sequence.per, HOUR), notice.c.state.in_(ASKED))
        .order_by(notice.c.at)
    ).all()
    # It may stand for this one too: then this one ends with it.
    if any(row.state == "handing_over" and row.at > now - HOUR for row in rows):
        return Later(now + WAIT, "another message to the same person is being handed over")
    if go.due.template not in ASKING or go.due.asked:
        return None
    asked = [row.at for row in rows if row.template in ASKING and row.at > now - sequence.per]
    if sequence.at_most and len(asked) >= sequence.at_most:
        days = sequence.per / timedelta(days=1)
        because = f"{len(asked)} messages reached this address within {days:g} days"
        return Later(asked[-sequence.at_most] + sequence.per, because)
    return None
