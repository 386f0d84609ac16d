"""What the page needs of the rules: the right payment method, a promise that holds, and a cap that a new card lifts."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations

import pytest

from billing.actions import Kind
from billing.decide import plan
from billing.events.occurrences import Answer, CustomerSeen, Event, Promised
from billing.events.occurrences import InvoiceRead as Read
from billing.events.snapshots import Customer
from billing.events.stripe_payload import from_stripe
from billing.memory import kept
from billing.retry.method import method_to_name
from billing.retry.schedule import next_attempt
from tests.billing.stories import DAY, DAY0, FUNDS, HOUR, OWN, answered, case_after, event, failed, invoice, method

BROKE = failed(decline=FUNDS, attempt_count=1)
CHOSEN = Customer("cus_1", email="ann@example.com", name="Ann", default_payment_method="pm_2")


def chosen(day: float, changed: bool = True) -> Event:
    return event(CustomerSeen(CHOSEN, changed), day)


def promised(day: float, until: float) -> Event:
    return event(Promised("in_1", DAY0 + timedelta(days=until)), day, f"{until}")


# ---------------------------------------------------------------- which method


@pytest.mark.parametrize(
    ("own", "default", "named"),
    [
        (None, "pm_2", None),  # Stripe comes to the default by itself
        ("pm_2", "pm_2", None),  # the new one is the subscription's already
        ("pm_1", "pm_2", "pm_2"),  # the old one stands before it
        ("pm_1", "pm_1", None),  # the new one was only put on file
        ("pm_1", None, None),
    ],
)
def test_the_new_default_is_named_only_where_an_older_method_stands_before_it(
    own: str | None, default: str | None, named: str | None
) -> None:
    seen = Read(invoice(), own_method=own, customer_method=default)
    assert method_to_name(case_after(BROKE, method(1)), seen) == named
    assert method_to_name(case_after(BROKE), seen) is None  # nothing changed: Stripe's order is the company's wish
    assert method_to_name(case_after(BROKE, method(1), failed(2, decline=FUNDS)), seen) is None  # tried since


def test_another_default_among_the_cards_on_file_counts_as_a_new_card() -> None:
    assert case_after(BROKE, chosen(1)).fresh_method == "pm_2"
    assert case_after(BROKE, chosen(1, changed=False)).fresh_method is None
    assert not case_after(BROKE, chosen(-1)).card_changed


def test_a_changed_default_is_told_by_the_event_and_kept_without_the_person() -> None:
    body = {
        "id": "evt_1",
        "object": "event",
        "type": "customer.updated",
        "created": 1_772_000_000,
        "livemode": False,
        "data": {
            "object": {"id": "cus_1", "object": "customer", "invoice_settings": {"default_payment_method": "pm_2"}},
            "previous_attributes": {"invoice_settings": {"default_payment_method": "pm_1"}},
        },
    }
    told = from_stripe(body, None, account="self")
    assert isinstance(told, Event)
    assert isinstance(told.what, CustomerSeen)
    assert told.what.default_changed
    fact = kept(chosen(1))
    assert fact is not None
    assert fact.what == CustomerSeen(Customer("cus_1", default_payment_method="pm_2"), True)
    assert kept(chosen(1, changed=False)) is None


def test_a_card_that_is_new_is_tried_beyond_the_cap_and_once() -> None:
    policy = replace(OWN, max_attempts=1)
    tried = (BROKE, answered(2, 1, Answer.DECLINED, FUNDS))
    assert next_attempt(case_after(*tried, policy=policy), policy, DAY0 + 3 * DAY).until is None
    fresh = (*tried, method(3))
    assert next_attempt(case_after(*fresh, policy=policy), policy, DAY0 + 3 * DAY).until == DAY0 + 3 * DAY + HOUR / 12
    again = (*fresh, failed(3.1, decline=FUNDS), answered(3.1, 2, Answer.DECLINED, FUNDS))
    assert next_attempt(case_after(*again, policy=policy), policy, DAY0 + 4 * DAY).until is None


# ---------------------------------------------------------------- a promise


def due(events: tuple[Event, ...], now: datetime) -> dict[Kind, datetime]:
    return {action.kind: action.due_at for action in plan(case_after(*events), OWN, now)}


def test_messages_and_attempts_wait_for_the_day_and_the_grace() -> None:
    now = DAY0 + HOUR
    before, after = due((BROKE,), now), due((BROKE, promised(0.01, 9)), now)
    assert before[Kind.NOTICE] < DAY0 + 2 * DAY
    assert before[Kind.RETRY] < DAY0 + 5 * DAY
    assert after[Kind.NOTICE] == DAY0 + 10 * DAY + HOUR / 4  # behind the attempt of that moment
    assert after[Kind.RETRY] >= DAY0 + 10 * DAY
    assert after[Kind.DEADLINE] == before[Kind.DEADLINE]


def test_a_new_card_is_charged_at_once_whatever_was_promised() -> None:
    assert due((BROKE, promised(0.01, 9), method(1)), DAY0 + DAY)[Kind.RETRY] < DAY0 + DAY + HOUR


def test_a_promise_up_to_the_end_leaves_nothing_to_send_after_it() -> None:
    assert not {Kind.NOTICE, Kind.RETRY} & due((BROKE, promised(0.01, 28)), DAY0 + HOUR).keys()


def test_the_last_day_that_was_named_counts_in_any_order_of_telling() -> None:
    events = (promised(1, 9), promised(2, 5), promised(2, 5), promised(3, 7))
    for order in permutations(events):
        assert case_after(BROKE, *order).promised_until == DAY0 + 7 * DAY


def test_a_promise_is_broken_when_its_day_has_passed_without_the_money() -> None:
    case = case_after(BROKE, promised(1, 9))
    assert not case.promise_broken(DAY0 + 9 * DAY - HOUR)
    assert case.promise_broken(DAY0 + 9 * DAY)
    assert not case_after(BROKE).promise_broken(DAY0 + 20 * DAY)
