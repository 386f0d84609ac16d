"""What the networks' rules answer, as tables: brand x code x advice x attempts -> answer, each with its source."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.declines import ANY, DeclineClass
from billing.events.snapshots import Decline
from billing.money import Amount
from billing.retry.rules import (
    SENTENCES,
    Allowed,
    Charging,
    Declined,
    Effect,
    NetworkRule,
    Never,
    NotBefore,
    budgets,
    in_force,
    remaining,
    ruled,
)
from config.network_rules import network_rules
from config.policies import declines

RULES = network_rules()
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
USD20 = Amount(2000, "usd")


def no(
    code: str | None = None,
    advice: str | None = None,
    network: str | None = None,
    mac: str | None = None,
    ago: timedelta = 3 * HOUR,
    amount: Amount = USD20,
    invoice: str = "in_1",
    unknown: tuple[str, ...] = (),
) -> Declined:
    return Declined(NOW - ago, amount, Decline("card_declined", code, advice, network, mac), invoice, unknown)


def ask(brand: str | None, *known: Declined, now: datetime = NOW, **more: object) -> str | float:
    """'yes', the name of the rule that says never, or the hours until it may be asked."""
    charging = replace(Charging(USD20, brand, invoice="in_1"), **more)  # type: ignore[arg-type]
    match ruled(RULES, charging, known, now):
        case Allowed():
            return "yes"
        case NotBefore(at=at):
            return round((at - now) / HOUR, 1)
        case Never(rule=rule):
            return rule.name


def many(number: int, every: timedelta, **more: object) -> list[Declined]:
    return [no(ago=every * (n + 1), **more) for n in range(number)]  # type: ignore[arg-type]


# ---------------------------------------------------------------- what one answer of the bank does

ANSWERS: list[tuple[str | None, Declined, str | float]] = [
    # Visa's categories by response code: payvision.com 2021, forte.net, getevolved.com, tabapay
    *[("visa", no(network=code), "visa-category-1") for code in "04 07 12 14 15 41 43 46 R0 R1 R3 r3".split()],
    ("visa", no(network="57"), "visa-category-1-not-permitted"),
    *[("visa", no("do_not_honor", network=code), "yes") for code in "03 05 51 59 61 65 75 83 86 91 96 N3 9G".split()],
    *[("visa", no(network=code), "yes") for code in "54 55 70 82 1A 6P N7".split()],
    # advice means opposite things to two networks: PayPal on Visa, braintree and tabapay on Mastercard
    ("visa", no(mac="02"), "visa-stop-advice"),
    ("visa", no(mac="03"), "visa-stop-advice"),
    ("mastercard", no(mac="02"), 69.0),
    ("mastercard", no(mac="03"), "mastercard-advice-stop"),
    ("mastercard", no(mac="21"), "mastercard-advice-stop"),
    ("mastercard", no(mac="22"), "mastercard-advice-closed"),
    ("mastercard", no(mac="99"), "mastercard-advice-closed"),
    ("mastercard", no(mac="01"), "yes"),
    ("mastercard", no(mac="40"), "mastercard-advice-used-up"),
    ("mastercard", no(mac="43"), "yes"),
    ("mastercard", no(network="46"), "yes"),
    # the delays of Mastercard's Authorization Optimizer: developer.paypal.com, braintree mastercard-f23
    ("mastercard", no(mac="24"), "yes"),
    ("mastercard", no(mac="24", ago=0.5 * HOUR), 0.5),
    ("mastercard", no(mac="25"), 21.0),
    ("mastercard", no(mac="26"), 45.0),
    ("mastercard", no(mac="27"), 93.0),
    ("mastercard", no(mac="28"), 141.0),
    ("mastercard", no(mac="29"), 189.0),
    ("mastercard", no(mac="30"), 237.0),
    # without its brand, advice says nothing; a brand without published numbers gets half a day between charges
    (None, no(mac="03"), 9.0),
    ("amex", no(mac="03"), 9.0),
    ("discover", no(), 9.0),
    ("jcb", no(ago=13 * HOUR), "yes"),
    # Stripe's own hard list: docs.stripe.com smart-retries
    *[
        (brand, no(code), "stripe-hard-decline")
        for brand in ("visa", "amex", None)
        for code in ("lost_card", "stolen_card", "pickup_card", "transaction_not_allowed")
    ],
    ("mastercard", no("incorrect_number"), "stripe-wrong-number"),
    ("mastercard", no("fraudulent"), "stripe-never-again"),
    ("visa", no("generic_decline", "do_not_try_again"), "stripe-never-again"),
    ("visa", no("generic_decline", "confirm_card_data"), "stripe-confirm-card-data"),
    ("visa", no("generic_decline", "try_again_later"), "yes"),
    ("visa", no("authentication_required"), "sca-authentication"),
    # bank debits: Nacha 2.12.4; lemonway on SEPA; accesspaysuite.com on Bacs
    ("us_bank_account", no(network="R01"), "yes"),
    ("us_bank_account", no(network="R09"), "yes"),
    ("us_bank_account", no(network="R08"), "ach-only-missing-funds"),
    ("us_bank_account", no("debit_not_authorized"), "debit-no-mandate"),
    ("sepa_debit", no(network="AM04"), "yes"),
    ("sepa_debit", no(network="MS03"), "yes"),
    ("sepa_debit", no(network="MD01"), "sepa-only-missing-funds"),
    ("bacs_debit", no("bank_account_closed"), "debit-account-closed"),
]


@pytest.mark.parametrize(("brand", "answer", "expected"), ANSWERS)
def test_one_answer_of_the_bank_decides_about_the_next_charge(
    brand: str | None, answer: Declined, expected: str | float
) -> None:
    assert ask(brand, answer) == expected


# ---------------------------------------------------------------- how often

COUNTS: list[tuple[str, list[Declined], str | float]] = [
    # Visa: 15 of one card and amount in 30 days, whoever caused them
    ("visa", many(14, 2 * DAY), "yes"),
    ("visa", many(15, 46 * HOUR), 30.0),
    ("visa", many(15, 46 * HOUR, invoice="in_other"), 30.0),
    ("visa", many(15, 49 * HOUR), "yes"),
    ("visa", many(16, DAY), 24.0 * 15),
    ("visa", many(30, DAY, amount=Amount(500, "usd")), "yes"),
    # Mastercard: 10 of one card in 24 hours, whatever the amount; 35 of one amount in 30 days
    ("mastercard", many(9, HOUR, amount=Amount(500, "usd")), "yes"),
    ("mastercard", many(10, HOUR, amount=Amount(500, "usd")), 14.0),
    ("mastercard", many(34, 20 * HOUR), "yes"),
    ("mastercard", many(35, 20 * HOUR), 20.0),
    # Amex and others: Visa's number, as none is published
    ("amex", many(14, 2 * DAY), "yes"),
    ("amex", many(15, 46 * HOUR), 30.0),
    ("amex", many(15, 46 * HOUR, amount=Amount(500, "usd")), "yes"),
    # a debit is presented at most twice more; ACH within 180 days, Bacs within a month of the first
    ("us_bank_account", many(2, 3 * DAY), "yes"),
    ("us_bank_account", many(3, 3 * DAY), "ach-2-more-in-180-days"),
    ("us_bank_account", [no(ago=180 * DAY)], "ach-2-more-in-180-days"),
    ("bacs_debit", [no(ago=29 * DAY)], "yes"),
    ("bacs_debit", [no(ago=30 * DAY)], "bacs-2-more-in-a-month"),
    ("sepa_debit", many(2, 5 * DAY, network="MS03"), "sepa-unspecified-once"),
    ("sepa_debit", many(5, 5 * DAY, network="AM04"), "yes"),
    ("sepa_debit", many(6, 4 * DAY, network="AM04"), "sepa-5-more-in-30-days"),
    ("sepa_debit", [no(ago=30 * DAY, network="AM04")], "sepa-5-more-in-30-days"),
    ("au_becs_debit", many(3, 5 * DAY), "becs-2-more"),
    # a code that nobody knows: two more tries
    ("visa", many(2, 2 * DAY, unknown=("decline code zzz",)), "yes"),
    ("visa", many(3, 2 * DAY, unknown=("decline code zzz",)), "unknown-code"),
    ("visa", many(3, 2 * DAY, unknown=("network advice visa 77",), invoice="in_other"), "yes"),
]


@pytest.mark.parametrize(("brand", "known", "expected"), COUNTS)
def test_a_budget_bears_only_so_many_declined_charges(brand: str, known: list[Declined], expected: str | float) -> None:
    assert ask(brand, *known) == expected


def test_newer_advice_takes_the_place_of_older_but_no_advice_does_not() -> None:
    """Mastercard speaks of the next try; an answer without advice takes nothing back."""
    assert ask("mastercard", no(mac="30", ago=2 * DAY), no(mac="24", ago=2 * HOUR)) == "yes"
    assert ask("mastercard", no(mac="30", ago=2 * DAY), no(ago=2 * HOUR)) == 8 * 24.0
    assert ask("mastercard", no(mac="03", ago=2 * DAY), no(mac="24", ago=2 * HOUR)) == "mastercard-advice-stop"


def test_another_number_lifts_what_was_said_of_the_old_one_and_new_details_only_what_was_not_final() -> None:
    changed = NOW - HOUR
    assert ask("visa", no(network="41"), changed_at=changed) == "yes"
    assert ask("visa", no(network="41"), updated_at=changed) == "visa-category-1"
    assert ask("visa", no(network="54"), updated_at=changed) == "yes"
    assert ask("mastercard", no(mac="30"), updated_at=changed) == "yes"
    assert ask("visa", *many(16, DAY), changed_at=changed) == 24.0 * 15  # the budget of the card goes on counting


def test_india_wants_the_cardholder_above_15000_rupees_and_a_day_of_notice_below() -> None:
    """Reserve Bank of India's e-mandate rules (docs.stripe.com/payments/upi/upi-autopay, razorpay.com)."""
    lakh, small = Amount(1500001, "inr"), Amount(1500000, "inr")
    old = no(ago=25 * HOUR, amount=small)
    assert ask("visa", country="IN", amount=lakh) == "india-above-15000"
    assert ask("visa", old, country="IN", amount=small) == "yes"
    assert ask("visa", replace(old, at=NOW - HOUR), country="IN", amount=small) == 23.0
    assert ask("visa", *many(4, 2 * DAY, amount=small), country="IN", amount=small) == "india-3-more"
    assert ask("visa", no(ago=HOUR), country="US") == "yes"


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2025, 9, 30), "visa-category-1-not-permitted"),
        (date(2025, 10, 1), "yes"),
        (date(2026, 10, 24), "yes"),
        (date(2026, 10, 25), "visa-category-1-not-permitted"),
    ],
)
def test_a_rule_holds_on_its_days_only(day: date, expected: str) -> None:
    """Visa 57: category 1, then answered as 05, then category 1 again (tabapay; checkout.com 2026-09-10)."""
    now = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    told = Declined(now - HOUR, USD20, Decline("card_declined", None, None, "57"), "in_1")
    assert ask("visa", told, now=now) == expected


# ---------------------------------------------------------------- budgets and fees


def test_a_budget_says_what_is_left_when_more_comes_and_what_is_at_stake() -> None:
    charging = Charging(USD20, "visa", "US", home="US", invoice="in_1")
    (budget,) = budgets(RULES, charging, many(3, DAY), NOW)
    assert (budget.rule.name, budget.used, budget.remaining, budget.frees_at) == ("visa-15-in-30-days", 3, 12, None)
    assert budget.fee == Amount(10, "usd")
    full = remaining(budget.rule, charging, many(15, DAY), NOW)
    assert (full.remaining, full.frees_at) == (0, NOW + 15 * DAY + MINUTE)


@pytest.mark.parametrize(
    ("country", "home", "cents"), [("US", "US", 10), ("DE", "US", 15), (None, "US", 15), ("US", None, 15)]
)
def test_the_fee_at_stake_is_the_regions_or_the_highest(country: str | None, home: str | None, cents: int) -> None:
    charging = Charging(USD20, "visa", country, home=home)
    assert budgets(RULES, charging, [], NOW)[0].fee == Amount(cents, "usd")


def test_the_tightest_budget_comes_first() -> None:
    left = budgets(RULES, Charging(USD20, "mastercard"), many(5, HOUR), NOW)
    assert [(each.rule.name, each.remaining) for each in left] == [
        ("mastercard-10-in-a-day", 5),
        ("mastercard-35-in-30-days", 30),
    ]


# ---------------------------------------------------------------- properties

NETWORKS = ["visa", "mastercard", "amex", "us_bank_account", "sepa_debit", None]
DECLINED = st.builds(
    no,
    code=st.sampled_from([None, "insufficient_funds", "lost_card", "expired_card"]),
    network=st.sampled_from([None, "05", "41", "R01", "AM04"]),
    mac=st.sampled_from([None, "02", "03", "24", "30"]),
    ago=st.integers(1, 40 * 24).map(lambda hours: hours * HOUR),
    invoice=st.sampled_from(["in_1", "in_2"]),
)


@given(st.sampled_from(NETWORKS), st.lists(DECLINED, max_size=40), st.randoms())
def test_the_order_in_which_declines_are_known_changes_nothing(
    brand: str | None, known: list[Declined], dice: random.Random
) -> None:
    shuffled = list(known)
    dice.shuffle(shuffled)
    assert ask(brand, *known) == ask(brand, *shuffled)


@given(st.sampled_from(NETWORKS), st.lists(DECLINED, max_size=40))
def test_at_the_time_a_rule_names_it_no_longer_forbids(brand: str | None, known: list[Declined]) -> None:
    charging = Charging(USD20, brand, invoice="in_1")
    ruling = ruled(RULES, charging, known, NOW)
    if isinstance(ruling, NotBefore):
        assert ruling.at > NOW
        later = ruled(RULES, charging, known, ruling.at)
        assert not isinstance(later, NotBefore) or later.rule is not ruling.rule
        assert not isinstance(ruled(RULES, charging, known, ruling.at - MINUTE), Allowed)


@given(st.sampled_from(NETWORKS), st.lists(DECLINED, max_size=20))
def test_rules_of_the_day_answer_like_all_rules(brand: str | None, known: list[Declined]) -> None:
    charging = Charging(USD20, brand, invoice="in_1")
    narrowed = in_force(RULES, charging, NOW.date())
    assert ruled(narrowed, charging, known, NOW) == ruled(RULES, charging, known, NOW)


# ---------------------------------------------------------------- the data


def test_every_effect_has_its_sentence_and_is_used() -> None:
    assert set(SENTENCES) == set(Effect) == {rule.effect for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name} {rule.since}")
def test_a_final_rule_and_the_table_of_declines_say_the_same(rule: NetworkRule) -> None:
    """Two files know the same codes: what a rule forbids for good may be no temporary decline in the other."""
    table = declines()
    asked = {DeclineClass.NEEDS_CUSTOMER, DeclineClass.AUTHENTICATION, DeclineClass.DEAD_CARD}
    if rule.effect not in (Effect.NEVER, Effect.NEW_CARD, Effect.CUSTOMER):
        return
    known = {**table.decline_code, **table.error_code, **table.reason}
    found = [known[code].cls for code in rule.decline_codes if code in known]
    found += [table.advice_code[code].cls for code in rule.advice_codes]
    for brand in rule.brands:
        found += [table.network_advice[brand][code].cls for code in rule.network_advice]
        found += [table.network_code[brand][code].cls for code in rule.network_codes if code != ANY]
    assert set(found) <= ({DeclineClass.DEAD_CARD} if rule.effect is Effect.NEVER else asked)


def test_the_delays_of_both_files_are_the_same() -> None:
    delays = {
        code: rule.hours
        for rule in RULES
        if rule.effect is Effect.NOT_BEFORE and "mastercard" in rule.brands
        for code in rule.network_advice
    }
    table = declines().network_advice["mastercard"]
    assert delays == {code: rule.not_before_hours for code, rule in table.items() if rule.not_before_hours}
