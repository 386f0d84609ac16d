"""What opens a case, what each event teaches it, and what is planned in each mode."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.actions import Kind
from billing.case import State
from billing.decide import decide, plan
from billing.declines import DeclineClass
from billing.events.occurrences import (
    Answer,
    ChargeDisputed,
    Event,
    InvoiceFailed,
    PaymentMethodSeen,
    SubscriptionSeen,
    What,
)
from billing.events.snapshots import Decline, Discount, Item, PaymentMethod, Subscription
from billing.money import Amount
from billing.policy import Mode
from tests.billing.stories import (
    BUSY,
    DAY,
    DAY0,
    FUNDS,
    HOUR,
    LOST,
    OWN,
    STANDARD,
    VISA,
    answered,
    case_after,
    charge_failed,
    deadline_passed,
    deleted,
    disputed,
    event,
    failed,
    intent_processing,
    invoice,
    live,
    looked,
    method,
    notice,
    paid,
    payment_linked,
    seen,
    subscription,
    uncollectible,
    usd,
    voided,
)

# ---------------------------------------------------------------- which invoice is a case


def test_a_failed_renewal_opens_a_case() -> None:
    case = case_after(failed(0, attempt_count=1))
    assert (case.state, case.amount, case.customer, case.subscription) == (State.OPEN, usd(2000), "cus_1", "sub_1")
    assert (case.failed_at, case.deadline, case.policy) == (DAY0, DAY0 + 28 * DAY, "ladder@1")


@pytest.mark.parametrize(
    ("first", "because"),
    [
        (failed(0, billing_reason="subscription_create"), "a checkout"),
        (failed(0, remaining=0), None),  # read after it was paid: still a case, of what was due
        (paid(0), "no failed payment is known"),
        (voided(0), "no failed payment is known"),
        (seen(0), "no failed payment is known"),
        (disputed(0), "no failed payment is known"),
        (answered(0, 1, Answer.DECLINED), "no failed payment is known"),
    ],
)
def test_only_a_failed_payment_that_may_be_recovered_opens_a_case(first: Event, because: str | None) -> None:
    decision = decide(None, first, OWN, DAY0)
    assert (decision.case is None) is (because is not None)
    assert because is None or because in decision.because


def test_nothing_owed_is_no_case() -> None:
    nothing = event(InvoiceFailed(replace(invoice(), due=usd(0), remaining=usd(0))))
    assert decide(None, nothing, OWN, DAY0).because == "nothing is owed on this invoice"


def test_a_failure_that_is_read_after_the_payment_is_a_recovered_case() -> None:
    # A thin event names the invoice; what is fetched for it may be newer than the failure.
    assert case_after(failed(0, status="paid", remaining=0, paid_at=DAY0 + HOUR)).state is State.RECOVERED


@pytest.mark.parametrize(
    "other",
    [
        event(InvoiceFailed(replace(invoice(), id="in_2")), 1),
        event(PaymentMethodSeen(PaymentMethod("pm_2", "cus_2", "card"), "attached"), 1),
        event(ChargeDisputed("ch_0", None, "cus_2", "needs_response", True), 1),
        event(SubscriptionSeen(Subscription("sub_2", "cus_1", "unpaid", "usd"), "updated"), 1),
        charge_failed(1, LOST, basil=True, intent=""),
        method(1, "detached"),
        method(1, "expiring"),
    ],
)
def test_an_event_about_something_else_teaches_nothing(other: Event) -> None:
    assert case_after(failed(0), other) == case_after(failed(0))


# ---------------------------------------------------------------- whose decision the end was (metrics.md D19)

ENDS: list[tuple[str, dict[str, Any], State]] = [
    ("Stripe's dunning", {"cancel_reason": "payment_failed"}, State.LOST),
    ("Stripe's dunning, after feedback", {"cancel_reason": "payment_failed", "cancel_feedback": "unused"}, State.LOST),
    ("a dispute", {"cancel_reason": "payment_disputed"}, State.CANCELLED),
    (
        "the portal, with feedback",
        {"cancel_reason": "cancellation_requested", "cancel_feedback": "unused"},
        State.CANCELLED,
    ),
    ("at the period's end", {"cancel_reason": "cancellation_requested", "cancel_at_period_end": True}, State.CANCELLED),
    ("asked before the failure", {"cancel_reason": "cancellation_requested", "asked": -1}, State.CANCELLED),
    ("asked after it, by a mere call", {"cancel_reason": "cancellation_requested", "asked": 2}, State.LOST),
    ("no reason at all", {}, State.LOST),
]


@pytest.mark.parametrize(("details", "state"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
def test_an_end_is_the_customers_only_on_evidence(details: dict[str, Any], state: State) -> None:
    assert case_after(failed(0), deleted(3, **details)).state is state


# ---------------------------------------------------------------- what an event teaches


def test_the_newest_open_snapshot_says_what_is_owed_and_when_stripe_tries() -> None:
    soon = DAY0 + 3 * DAY
    case = case_after(failed(0, next_payment_attempt=soon), seen(1, remaining=1500, next_payment_attempt=soon + DAY))
    assert (case.amount, case.stripe_next_attempt) == (usd(1500), soon + DAY)
    assert case_after(failed(0), seen(1, remaining=1500), seen(2, "uncollectible")).amount == usd(1500)


def test_a_charge_counts_when_its_payment_turns_out_to_be_of_this_invoice() -> None:
    told = [failed(0), charge_failed(0, LOST, basil=True)]
    assert case_after(*told).decline is None
    assert case_after(*told, payment_linked(1)).decline_class is DeclineClass.DEAD_CARD
    assert case_after(*told, payment_linked(1, intent="pi_2")).decline is None


def test_a_no_without_words_leaves_what_is_known_and_asks_for_a_look() -> None:
    case, actions = live([failed(0), charge_failed(0, LOST), answered(4, 1, Answer.DECLINED, Decline())])
    assert case is not None
    assert case.decline == LOST
    assert Kind.LOOK in {action.kind for action in actions}


def test_the_newest_no_decides_and_says_how_long_to_wait() -> None:
    later = Decline(code="card_declined", decline_code="insufficient_funds", network_advice_code="26")
    case = case_after(
        failed(0), charge_failed(0, BUSY), charge_failed(3, later, card=replace(VISA, brand="mastercard"))
    )
    assert case.decline_class is DeclineClass.INSUFFICIENT_FUNDS
    assert case.retry_not_before == DAY0 + 5 * DAY


def test_a_pause_after_a_failed_payment_does_not_stop_recovery() -> None:
    paused = {"status": "paused", "pause_reason": "first_payment_failure"}
    assert case_after(failed(0), subscription(1, **paused)).state is State.OPEN
    assert case_after(failed(0), subscription(1, **{**paused, "pause_reason": "pause_requested"})).state is State.PAUSED


def test_recurring_revenue_is_that_of_the_newest_snapshot_that_tells() -> None:
    case = case_after(failed(0), subscription(1), subscription(2, items=()))
    assert case.mrr == Amount(2000, "usd/mo")


def test_unpaid_counts_from_its_first_day() -> None:
    case = case_after(failed(0), subscription(7, "unpaid"), voided(8), subscription(9, "unpaid"))
    assert (case.state, case.closed_at) == (State.LOST, DAY0 + 7 * DAY)
    for_an_older_invoice = subscription(-5, "unpaid")
    assert case_after(failed(0), for_an_older_invoice, subscription(7, "unpaid")).closed_at == DAY0 + 7 * DAY
    assert case_after(failed(0), for_an_older_invoice).live


# ---------------------------------------------------------------- what is planned


def kinds(events: list[Event], policy: Any = OWN, now: datetime | None = None) -> dict[Kind, datetime]:
    return {action.kind: action.due_at for action in live(events, policy, now)[1]}


MODES = [
    ("observe", set()),
    ("notify", {Kind.NOTICE}),
    ("weave", {Kind.NOTICE, Kind.RETRY}),
    ("own", {Kind.NOTICE, Kind.RETRY}),
]


@pytest.mark.parametrize(("mode", "acts"), MODES)
def test_the_mode_says_who_acts_and_every_mode_watches(mode: str, acts: set[Kind]) -> None:
    policy = replace(STANDARD, mode=Mode(mode))
    assert set(kinds([failed(0)], policy)) == acts | {Kind.LOOK, Kind.DEADLINE}


def test_beside_stripes_own_attempts_one_mode_weaves_and_the_other_keeps_still() -> None:
    ahead = failed(0, decline=FUNDS, next_payment_attempt=DAY0 + 2 * DAY)
    assert kinds([ahead], replace(STANDARD, mode=Mode.WEAVE))[Kind.RETRY] == DAY0 + 3 * DAY
    assert Kind.RETRY not in kinds([ahead], OWN)


@pytest.mark.parametrize(
    "end", [paid(1), voided(1), uncollectible(1), deleted(1), subscription(1, "unpaid"), deadline_passed(28)]
)
def test_nothing_waits_for_a_case_that_has_ended(end: Event) -> None:
    assert live([failed(0), end])[1] == ()


@pytest.mark.parametrize("stop", [disputed(1), subscription(1, pause_behavior="keep_as_draft")])
def test_a_dispute_or_a_pause_takes_back_what_was_planned(stop: Event) -> None:
    assert set(kinds([failed(0, decline=FUNDS), stop])) == {Kind.DEADLINE}


def test_a_dead_card_is_written_about_and_never_tried() -> None:
    assert set(kinds([failed(0), charge_failed(0, LOST)])) == {Kind.NOTICE, Kind.DEADLINE}
    assert Kind.RETRY in kinds([failed(0), charge_failed(0, LOST), method(1)])


@pytest.mark.parametrize("under_way", [answered(2, 1, Answer.PROCESSING), looked(2, processing=True)])
def test_a_payment_under_way_is_only_looked_at_each_day(under_way: Event) -> None:
    # T41: a debit takes days; no second attempt and no "it failed" meanwhile.
    first = [failed(0), under_way]
    assert kinds(first) == {Kind.DEADLINE: DAY0 + 28 * DAY, Kind.LOOK: DAY0 + 3 * DAY}
    still = [*first, looked(3, processing=True)]
    assert kinds(still) == {Kind.DEADLINE: DAY0 + 28 * DAY, Kind.LOOK: DAY0 + 4 * DAY}
    assert case_after(*still, paid(6)).state is State.RECOVERED
    assert Kind.RETRY in kinds([*still, failed(6)])


def test_a_debit_of_ours_that_a_reading_does_not_show_is_looked_for_again() -> None:
    case, actions = live([failed(0), answered(2, 1, Answer.PROCESSING), looked(3)])
    assert case is not None
    assert case.in_flight
    assert {action.kind: action.due_at for action in actions}[Kind.LOOK] == DAY0 + 4 * DAY


def test_a_reading_that_shows_the_no_ends_a_debit_of_ours() -> None:
    read = looked(5, decline=BUSY, declined_at=DAY0 + 4 * DAY)
    assert not case_after(failed(0), answered(2, 1, Answer.PROCESSING), read).in_flight


def test_an_old_word_of_a_payment_under_way_does_not_undo_a_newer_reading() -> None:
    case = case_after(failed(0), looked(2), intent_processing(1, basil=False))
    assert not case.under_way
    assert case.under_way is case_after(failed(0), intent_processing(1, basil=False), looked(2)).under_way


def test_the_answer_is_looked_up_once_per_failure() -> None:
    assert kinds([failed(0)])[Kind.LOOK] == DAY0
    assert Kind.LOOK not in kinds([failed(0), looked(0.01, decline=FUNDS, declined_at=DAY0)])
    assert Kind.LOOK not in kinds([failed(0, decline=FUNDS)])
    assert kinds([failed(0, decline=FUNDS), failed(3)])[Kind.LOOK] == DAY0 + 3 * DAY


def test_attempts_are_numbered_on() -> None:
    _, actions = live([failed(0, decline=FUNDS), answered(2, 1, Answer.DECLINED, FUNDS)])
    (retry,) = [action for action in actions if action.kind is Kind.RETRY]
    assert (retry.key, retry.detail, retry.due_at) == ("retry:in_1:2", {"n": 2}, DAY0 + 4 * DAY)


def test_the_thanks_follow_a_message_that_was_sent() -> None:
    assert set(kinds([failed(0), notice(1), paid(2)])) == {Kind.NOTICE}


# ---------------------------------------------------------------- total

STRINGS = st.sampled_from(["in_1", "cus_1", "sub_1", "pi_1", "open", "paid", "void", "canceled", "usd"])
SOME_DAYS = st.integers(0, 40 * 24).map(lambda hours: DAY0 + timedelta(hours=hours))
st.register_type_strategy(datetime, SOME_DAYS)
st.register_type_strategy(str, STRINGS)
st.register_type_strategy(Amount, st.builds(Amount, st.integers(0, 3000), st.just("usd")))
# Amounts and percentages arrive as decimal strings: the readers of payloads see to that.
NUMBERS = st.none() | st.sampled_from(["0", "2000", "12.5"])
INTERVALS = st.sampled_from([None, "day", "week", "month", "year"])
st.register_type_strategy(
    Item, st.builds(Item, st.just("si_1"), STRINGS, STRINGS, NUMBERS, st.integers(0, 3), INTERVALS)
)
st.register_type_strategy(
    Discount,
    st.builds(Discount, STRINGS, st.sampled_from(["forever", "once"]), NUMBERS, st.none() | st.integers(0, 900)),
)
EVENTS = st.one_of([st.from_type(what) for what in get_args(What)]).flatmap(
    lambda what: st.builds(event, st.just(what), st.integers(0, 40))
)


@settings(max_examples=25)
@given(st.lists(EVENTS, min_size=1, max_size=6), st.sampled_from(list(Mode)), SOME_DAYS)
def test_every_event_gives_a_decision_about_every_case(events: list[Event], mode: Mode, now: datetime) -> None:
    policy = replace(STANDARD, mode=mode)
    case = case_after(failed(0))
    for each in events:
        decision = decide(case, each, policy, now)
        assert decision.case is not None
        assert decision.because
        assert plan(decision.case, policy, now) == decision.actions
        assert decision.case == decide(decision.case, each, policy, now).case, "told twice"
        case = decision.case
