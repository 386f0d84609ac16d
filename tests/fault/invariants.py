"""What must be true after every fault: the money log, which is the truth, against our tables.

The names I1 to I10 are those of the fault catalogue in the notes of the project.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sqlalchemy import select

from billing.actions import KEY_PREFIX, idempotency_key
from sandbox import Movement
from tests.fault.stage import BEGUN, Stage
from worker import tables as t


@dataclass(frozen=True, slots=True)
class Broken:
    """One thing that is not as it must be."""

    invariant: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"


def check(stage: Stage) -> None:
    """Fail with every broken invariant. Call it when faults are over and everything was delivered and done."""
    broken = violations(stage)
    assert not broken, "\n".join(map(str, broken))


def violations(stage: Stage) -> list[Broken]:
    return [Broken(rule.__name__, what) for rule in RULES for what in rule(stage)]


def _ours(stage: Stage) -> list[Movement]:
    """What the bank was asked about the staged invoices, by whomever, since they failed."""
    wanted = set(stage.invoices)
    return [m for m in stage.world.sb.bank.movements if m.invoice in wanted]


def doubles(stage: Stage) -> int:
    """Charges beyond the first, over all invoices."""
    charged = Counter(m.invoice for m in _ours(stage) if m.outcome == "charged")
    return sum(times - 1 for times in charged.values())


def lost(stage: Stage) -> list[str]:
    """Invoices that were charged and whose success our tables do not know."""
    charged = {m.invoice for m in _ours(stage) if m.outcome == "charged"}
    known = {invoice for invoice, state in stage.world.cases().items() if state == "recovered"}
    return sorted(str(invoice) for invoice in charged - known)


# ---------------------------------------------------------------- the rules


def i1_one_charge(stage: Stage) -> Iterable[str]:
    """One charge per invoice, and nothing is asked after it or while a payment is under way."""
    over: dict[str, str] = {}
    for movement in _ours(stage):
        invoice, outcome = movement.invoice or "", movement.outcome
        if invoice in over and outcome in ("charged", "declined", "processing") and movement.source != "settlement":
            yield f"{invoice}: {outcome} (by {movement.source}) after {over[invoice]}"
        if outcome in ("charged", "processing"):
            over[invoice] = outcome
        elif movement.source == "settlement":
            over.pop(invoice, None)


def i2_one_key(stage: Stage) -> Iterable[str]:
    """One key and one body for each attempt, and no key is executed twice."""
    executed = [m for m in _ours(stage) if m.source == "api" and m.key]
    for key, times in Counter(m.key for m in executed).items():
        if times > 1:
            yield f"key {key} was executed {times} times"
    for row in stage.world.rows(t.attempt):
        wanted = idempotency_key(row.account, row.livemode, row.invoice, row.n)
        if row.idem_key != wanted:
            yield f"attempt {row.n} of {row.invoice} has key {row.idem_key}, not {wanted}"


def i3_intent_first(stage: Stage) -> Iterable[str]:
    """Whatever we asked the bank stands in our tables, and was not begun while a stop stood."""
    attempts = {row.idem_key: row for row in stage.world.rows(t.attempt)}
    for movement in _ours(stage):
        ours = movement.source == "api" and movement.key is not None
        if ours and not (movement.key or "").startswith(KEY_PREFIX):
            yield f"{movement.invoice}: asked with a key that is not ours to use: {movement.key}"
        elif ours and movement.key not in attempts:
            yield f"{movement.invoice}: asked without an intent"
    stopped = [(row.at, row.what) for row in stage.world.rows(t.audit)]
    for row in attempts.values():
        before = [what for at, what in stopped if at <= row.at]
        if before and before[-1] == "stop":
            yield f"attempt {row.n} of {row.invoice} was begun at {row.at}, while everything was stopped"


def i4_events_kept(stage: Stage) -> Iterable[str]:
    """Every event that we answered with 2xx is stored, and has come to an end."""
    answered = {posted.event for posted in stage.world.sb.delivery.log if 200 <= posted.status < 300}
    ends = {row.event_id: row.state for row in stage.world.rows(t.inbox)}
    for event in sorted(answered):
        if ends.get(event) not in ("done", "ignored"):
            yield f"event {event} is {ends.get(event, 'not stored')}"


def i6_same_successes(stage: Stage) -> Iterable[str]:
    """Paid at Stripe and recovered with us are the same invoices."""
    paid = {invoice for invoice in stage.invoices if stage.world.sb.get(invoice)["status"] == "paid"}
    known = {invoice for invoice, state in stage.world.cases().items() if state == "recovered"}
    for invoice in sorted(paid ^ known):
        yield f"{invoice} is {'paid at Stripe' if invoice in paid else 'recovered with us'} only"
    keys = {m.key for m in _ours(stage) if m.outcome == "charged" and m.key}
    for row in stage.world.rows(t.attempt):
        if row.state == "succeeded" and row.invoice not in paid:
            yield f"attempt {row.n} of {row.invoice} succeeded here and not at Stripe"
        if row.state in ("failed", "cancelled") and row.idem_key in keys:
            yield f"attempt {row.n} of {row.invoice} was charged, and is {row.state} here"


def i9_books(stage: Stage) -> Iterable[str]:
    """What the books say was collected is what the bank moved, invoice by invoice."""
    moved: Counter[str] = Counter()
    for movement in _ours(stage):
        if movement.outcome == "charged":
            moved[movement.invoice or ""] += movement.amount
    booked: Counter[str] = Counter()
    with stage.world.app.db.read() as db:
        joined = select(t.entry.c.invoice, t.posting.c.minor).join(t.posting, t.posting.c.entry == t.entry.c.id)
        for invoice, minor in db.execute(joined.where(t.posting.c.name == "cash_collected")):
            booked[invoice] += minor
    for invoice in sorted(set(moved) | set(booked)):
        if moved[invoice] != booked[invoice]:
            yield f"{invoice}: the bank moved {moved[invoice]}, the books say {booked[invoice]}"


def i10_nothing_left(stage: Stage) -> Iterable[str]:
    """Nothing is begun and not ended, and nothing due waits."""
    now = stage.world.app.now()
    for row in stage.world.rows(t.action):
        if row.state in (*BEGUN, "stuck") or (row.state == "waiting" and row.due_at <= now):
            yield f"action {row.key} is {row.state}, due {row.due_at}: {row.outcome or row.because}"
    for row in stage.world.rows(t.attempt):
        if row.state in ("sending", "unknown"):
            yield f"attempt {row.n} of {row.invoice} is still {row.state}"


RULES: tuple[Callable[[Stage], Iterable[str]], ...] = (
    i1_one_charge,
    i2_one_key,
    i3_intent_first,
    i4_events_kept,
    i6_same_successes,
    i9_books,
    i10_nothing_left,
)
