"""The rules of an end as tables: when it is planned, what stops it, which price is moved down to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from billing.actions import Kind, end_idempotency_key, idempotency_key
from billing.case import RecoveryCase, State
from billing.decide import plan
from billing.ending import (
    OF_INVOICE,
    OF_SUBSCRIPTION,
    SENTENCES,
    Due,
    End,
    Ending,
    Others,
    Part,
    Price,
    Turn,
    already,
    due_ends,
    last_look,
    price_for,
    rescued_at,
)
from billing.events.asked import Held
from billing.events.occurrences import EndMade, Event, InvoiceRead, PaymentMethodSeen, Promised
from billing.events.snapshots import Item, PaymentMethod, Subscription
from billing.policy import Mode, Policy
from tests.billing import stories as s
from tests.billing.stories import DAY, DAY0, HOUR, OWN, event

CANCEL = Ending(End.CANCEL, End.UNCOLLECTIBLE, wait=2 * DAY)
POLICY = replace(OWN, end=CANCEL)
GRACE = POLICY.promise_grace
DEADLINE = DAY0 + 28 * DAY
MONTHLY = Item("si_1", "price_1", "prod_1", "2000", 1, "month")
BASIC = Price("price_basic", "usd", "month", 1, True, "500")


def lived(*events: Event, policy: Policy = POLICY) -> RecoveryCase:
    return s.case_after(s.failed(0), *events, policy=policy)


def lost(*events: Event) -> RecoveryCase:
    return lived(s.subscription(0), *events, s.deadline_passed())


def due_of(case: RecoveryCase, day: float = 30, ending: Ending = CANCEL) -> dict[Part, Due]:
    return {due.part: due for due in due_ends(case, ending, GRACE, DAY0 + day * DAY)}


# ---------------------------------------------------------------- when it is planned


def test_both_parts_are_planned_for_the_days_after_the_deadline() -> None:
    found = due_of(lost(), 28)
    assert {part: (due.end, due.at) for part, due in found.items()} == {
        Part.SUBSCRIPTION: (End.CANCEL, DEADLINE + 2 * DAY),
        Part.INVOICE: (End.UNCOLLECTIBLE, DEADLINE + 2 * DAY),
    }
    assert "the window passed without payment" in found[Part.SUBSCRIPTION].because


@pytest.mark.parametrize(
    ("what", "events"),
    [
        ("still open", ()),
        ("paid before", (s.paid(20), s.deadline_passed())),
        ("paid late", (s.deadline_passed(), s.paid(29))),
        ("cancelled by the customer", (s.deleted(10, cancel_feedback="too_expensive"), s.deadline_passed())),
        ("ended by Stripe", (s.deleted(14, cancel_reason="payment_failed"), s.deadline_passed())),
        ("marked unpaid by Stripe", (s.subscription(14, "unpaid"), s.deadline_passed())),
        ("voided before", (s.voided(10), s.deadline_passed())),
        ("voided after", (s.deadline_passed(), s.voided(29))),
        ("written off after", (s.deadline_passed(), s.uncollectible(29))),
        ("disputed", (s.deadline_passed(), s.disputed(29))),
        ("held by an operator", (s.deadline_passed(), event(Held("in_1", True), 29))),
    ],
)
def test_nothing_is_planned_for_a_case_that_is(what: str, events: tuple[Event, ...]) -> None:
    assert due_of(lived(s.subscription(0), *events)) == {}, what


@pytest.mark.parametrize(
    ("what", "events", "day"),
    [
        ("a dispute that was won", (s.disputed(20), s.disputed(40, open=False)), 40),
        ("a promise", (event(Promised("in_1", DAY0 + 34 * DAY), 27),), 35),
        ("a hold that was released", (event(Held("in_1", True), 20), event(Held("in_1", False), 33)), 33),
    ],
)
def test_an_end_waits_for(what: str, events: tuple[Event, ...], day: float) -> None:
    assert due_of(lost(*events))[Part.SUBSCRIPTION].at == DAY0 + day * DAY, what


def test_what_was_made_is_not_planned_again_and_what_came_to_nothing_neither() -> None:
    for outcome in ("cancel", "nothing", "stuck"):
        case = lost(event(EndMade("in_1", "subscription", outcome), 30))
        assert list(due_of(case)) == [Part.INVOICE]


def test_an_invoice_without_a_subscription_has_only_its_own_end() -> None:
    case = replace(lost(), subscription=None)
    assert list(due_of(case)) == [Part.INVOICE]


def test_an_end_that_is_a_month_late_is_left_to_people() -> None:
    assert due_of(lost(), 60)
    assert due_of(lost(), 60.5) == {}


@pytest.mark.parametrize(("mode", "planned"), [("observe", 0), ("notify", 0), ("weave", 2), ("own", 2)])
def test_only_who_drives_plans_an_end(mode: str, planned: int) -> None:
    found = plan(lost(), replace(POLICY, mode=Mode(mode)), DEADLINE)
    assert len([action for action in found if action.kind is Kind.END]) == planned


def test_a_policy_without_a_word_about_it_ends_nothing() -> None:
    assert [action.kind for action in plan(lost(), OWN, DEADLINE) if action.kind is Kind.END] == []


def test_a_customer_who_cancels_leaves_nothing_waiting() -> None:
    case = lived(s.subscription(0), s.deleted(5, cancel_feedback="too_expensive"))
    assert (case.state, plan(case, POLICY, DAY0 + 5 * DAY)) == (State.CANCELLED, ())


def test_one_key_for_each_part_and_none_of_a_payment() -> None:
    keys = {end_idempotency_key("a", False, "in_1", part) for part in Part}
    keys |= {end_idempotency_key("a", True, "in_1", part) for part in Part}
    keys |= {idempotency_key("a", False, "in_1", n) for n in range(4)}
    assert len(keys) == 8
    assert all(key.startswith("dn1_") and len(key) <= 255 for key in keys)


# ---------------------------------------------------------------- the last look


def read(status: str | None = "past_due", invoice: dict[str, Any] | None = None, **more: Any) -> InvoiceRead:
    looks = {name: more.pop(name) for name in ("processing", "disputed") if name in more}
    subscription = Subscription("sub_1", "cus_1", status, "usd", **{"items": (MONTHLY,), **more}) if status else None
    return InvoiceRead(s.invoice(**(invoice or {})), subscription, **looks)


def look(
    seen: InvoiceRead,
    end: End = End.CANCEL,
    *,
    case: RecoveryCase | None = None,
    others: tuple[RecoveryCase, ...] = (),
    prices: tuple[Price, ...] = (),
    waits: bool = False,
    ending: Ending = CANCEL,
    day: float = 30,
) -> tuple[Turn, str]:
    part = Part.INVOICE if end in (End.VOID, End.UNCOLLECTIBLE) else Part.SUBSCRIPTION
    due, now = Due(part, end, DEADLINE + 2 * DAY, ""), DAY0 + day * DAY
    verdict = last_look(due, case or lost(), s.usd(2000), seen, ending, others, prices, waits, now)
    return verdict.turn, verdict.because


@pytest.mark.parametrize(
    ("seen", "turn", "because"),
    [
        (read(), Turn.GO, "cancel"),
        (read("canceled"), Turn.HOLDS, "canceled already"),
        (read("unpaid"), Turn.HOLDS, "unpaid already"),
        (read("active"), Turn.NOTHING, "active by now"),
        (read("trialing"), Turn.NOTHING, "trialing by now"),
        (read(None), Turn.NOTHING, "no subscription"),
        (read(cancel_at_period_end=True), Turn.NOTHING, "asked for already"),
        (read(cancel_at=DEADLINE), Turn.NOTHING, "asked for already"),
        (read(pause_behavior="void"), Turn.NOTHING, "somebody paused"),
        (read(invoice={"status": "paid"}), Turn.NOTHING, "the invoice is paid"),
        (read(invoice={"status": "void"}), Turn.NOTHING, "the invoice is void"),
        (read(invoice={"status": "uncollectible"}), Turn.NOTHING, "uncollectible"),
        (read(invoice={"remaining": 900}), Turn.NOTHING, "a person should look"),
        (read(processing=True), Turn.LATER, "under way"),
        (read(invoice={"next_payment_attempt": DEADLINE + 5 * DAY}), Turn.LATER, "Stripe itself"),
    ],
)
def test_what_stripe_shows_decides(seen: InvoiceRead, turn: Turn, because: str) -> None:
    found, said = look(seen)
    assert (found, because in said) == (turn, True), said


def test_another_customers_invoice_is_left_alone() -> None:
    assert look(read(), case=replace(lost(), customer="cus_2"))[0] is Turn.NOTHING


def test_an_end_that_was_moved_is_not_made_before_its_time() -> None:
    assert look(read(), day=29.9)[0] is Turn.LATER


OPEN = lived(s.subscription(0))


@pytest.mark.parametrize(
    ("other", "others", "turn"),
    [
        (replace(OPEN, invoice="in_2", subscription="sub_2"), Others.KEEP, Turn.LATER),
        (replace(OPEN, invoice="in_2", subscription="sub_2"), Others.ACT, Turn.GO),
        (replace(OPEN, invoice="in_2", subscription="sub_2", state=State.LOST), Others.KEEP, Turn.GO),
        (replace(OPEN, invoice="in_2", subscription="sub_2", state=State.RECOVERED), Others.KEEP, Turn.GO),
        (replace(OPEN, invoice="in_2"), Others.KEEP, Turn.GO),  # the next invoice of the same subscription
        (OPEN, Others.KEEP, Turn.GO),
    ],
)
def test_another_open_case_keeps_the_customer_if_the_policy_says_so(
    other: RecoveryCase, others: Others, turn: Turn
) -> None:
    assert look(read(), others=(other,), ending=replace(CANCEL, others=others))[0] is turn


@pytest.mark.parametrize(
    ("outcome", "waits", "status", "turn"),
    [
        (None, True, "past_due", Turn.LATER),
        (None, False, "past_due", Turn.NOTHING),
        ("nothing", False, "active", Turn.NOTHING),
        ("stuck", False, "past_due", Turn.NOTHING),
        ("cancel", False, "canceled", Turn.GO),
    ],
)
def test_the_invoice_comes_after_the_subscription(outcome: str | None, waits: bool, status: str, turn: Turn) -> None:
    made = (event(EndMade("in_1", "subscription", outcome), 30),) if outcome else ()
    assert look(read(status), End.UNCOLLECTIBLE, case=lost(*made), waits=waits)[0] is turn


def test_an_invoice_alone_is_written_off_only_while_its_subscription_is_behind() -> None:
    alone = Ending(End.LEAVE, End.UNCOLLECTIBLE)
    assert look(read(), End.UNCOLLECTIBLE, ending=alone)[0] is Turn.GO
    assert look(read("canceled"), End.UNCOLLECTIBLE, ending=alone)[0] is Turn.GO
    assert look(read("active"), End.UNCOLLECTIBLE, ending=alone)[0] is Turn.NOTHING
    assert look(read(None), End.VOID, ending=Ending(End.LEAVE, End.VOID))[0] is Turn.GO


@pytest.mark.parametrize(
    ("prices", "items", "found"),
    [
        ((BASIC,), (MONTHLY,), "price_basic"),
        ((replace(BASIC, id="eur", currency="eur"), BASIC), (MONTHLY,), "price_basic"),
        ((replace(BASIC, unit_amount="0"),), (MONTHLY,), "price_basic"),
        ((replace(BASIC, unit_amount=None),), (MONTHLY,), "price_basic"),
        ((), (MONTHLY,), "none of the prices that the policy names is one in usd per 1 month"),
        ((replace(BASIC, currency="eur"),), (MONTHLY,), "none of the prices"),
        ((replace(BASIC, interval="year"),), (MONTHLY,), "none of the prices"),
        ((replace(BASIC, interval_count=3),), (MONTHLY,), "none of the prices"),
        ((replace(BASIC, active=False),), (MONTHLY,), "none of the prices"),
        ((replace(BASIC, licensed=False),), (MONTHLY,), "none of the prices"),
        ((replace(BASIC, unit_amount="2000.5"),), (MONTHLY,), "dearer"),
        ((BASIC,), (MONTHLY, MONTHLY), "2 items"),
    ],
)
def test_the_price_to_move_down_to(prices: tuple[Price, ...], items: tuple[Item, ...], found: str) -> None:
    subscription = Subscription("sub_1", "cus_1", "past_due", "usd", items=items)
    price = price_for(subscription, prices)
    assert found in (price if isinstance(price, str) else price.id)


@pytest.mark.parametrize(
    ("prices", "turn"),
    [((BASIC,), Turn.GO), ((), Turn.PERSON), ((replace(BASIC, id="price_1", unit_amount="2000"),), Turn.HOLDS)],
)
def test_a_downgrade_is_made_or_put_before_a_person(prices: tuple[Price, ...], turn: Turn) -> None:
    ending = Ending(End.DOWNGRADE, prices=("price_basic",))
    assert look(read(), End.DOWNGRADE, prices=prices, ending=ending)[0] is turn


@pytest.mark.parametrize(
    ("end", "seen", "so"),
    [
        (End.CANCEL, read("canceled"), True),
        (End.CANCEL, read(), False),
        (End.PAUSE, read(pause_behavior="void"), True),
        (End.PAUSE, read(pause_behavior="keep_as_draft"), False),
        (End.UNPAID, read(pause_behavior="keep_as_draft"), True),
        (End.DOWNGRADE, read(), True),
        (End.DOWNGRADE, read(items=(replace(MONTHLY, price="price_2"),)), False),
        (End.VOID, read(invoice={"status": "void"}), True),
        (End.UNCOLLECTIBLE, read(invoice={"status": "uncollectible"}), True),
        (End.UNCOLLECTIBLE, read(), False),
    ],
)
def test_reading_shows_whether_an_end_was_made(end: End, seen: InvoiceRead, so: bool) -> None:
    assert already(end, seen, "price_1") is so


# ---------------------------------------------------------------- after the end


def brought(day: float, change: str = "attached") -> Event:
    return event(PaymentMethodSeen(PaymentMethod("pm_9", "cus_1", "card"), change), day, change)


@pytest.mark.parametrize(
    ("events", "day"),
    [
        ((brought(30),), 30),
        ((brought(30, "set_up"),), 30),
        ((brought(30), brought(40)), 40),
        ((brought(20),), None),  # before the end
        ((brought(59),), None),  # too long after it
        ((brought(30, "automatically_updated"),), None),  # by the network
        ((brought(30, "updated"),), None),
        ((brought(30), s.paid(31)), None),
        ((brought(30), s.disputed(31)), None),
    ],
)
def test_a_method_brought_soon_after_the_end_is_a_late_rescue(events: tuple[Event, ...], day: float | None) -> None:
    found = rescued_at(lost(*events), CANCEL)
    assert found == (None if day is None else DAY0 + day * DAY)


def test_a_late_rescue_plans_no_attempt() -> None:
    case = lost(brought(29))
    assert Kind.RETRY not in {action.kind for action in plan(case, POLICY, DAY0 + 29 * DAY + HOUR)}


def test_every_end_has_its_sentence_and_belongs_to_a_part() -> None:
    assert SENTENCES.keys() == set(End) == OF_SUBSCRIPTION | OF_INVOICE
    assert {End.LEAVE} == OF_SUBSCRIPTION & OF_INVOICE
    assert timedelta(0) == Ending().wait
