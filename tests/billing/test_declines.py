"""How the codes of one decline are weighed, on the table that ships."""

from __future__ import annotations

import copy
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.declines import (
    NEVER_TELL,
    RETRYABLE,
    SENTENCES,
    TELLS,
    USUAL_TELL,
    BadDeclineTable,
    DeclineClass,
    DeclineTable,
    Tell,
    classify,
)
from billing.events import Decline

DATA = tomllib.loads((Path(__file__).parents[2] / "config" / "declines.toml").read_text())
TABLE = DeclineTable.from_toml(DATA)
C, T = DeclineClass, Tell


def declined(
    decline_code: str | None = None,
    advice: str | None = None,
    mac: str | None = None,
    network: str | None = None,
    code: str | None = "card_declined",
    **more: str,
) -> Decline:
    return Decline(code, decline_code, advice, network, mac, **more)


# ---------------------------------------------------------------- weighing

WEIGHED: list[tuple[Decline | None, str | None, DeclineClass, Tell, int | None, int | None]] = [
    # decline, brand, class, tell, not before (h), tries
    (declined("insufficient_funds"), "visa", C.INSUFFICIENT_FUNDS, T.FUNDS, None, None),
    (declined("do_not_honor"), "visa", C.TEMPORARY, T.GENERIC, None, None),
    (declined("expired_card"), "visa", C.NEEDS_CUSTOMER, T.CARD_EXPIRED, None, None),
    (declined("authentication_required"), "visa", C.AUTHENTICATION, T.AUTHENTICATE, None, None),
    (declined("duplicate_transaction"), "visa", C.TEMPORARY, T.GENERIC, 72, 1),
    # advice outranks the code, both ways
    (declined("generic_decline", "do_not_try_again"), "visa", C.DEAD_CARD, T.OTHER_CARD, None, None),
    (declined("expired_card", "try_again_later"), "visa", C.TEMPORARY, T.GENERIC, None, None),
    (declined("generic_decline", "confirm_card_data"), "visa", C.NEEDS_CUSTOMER, T.CHECK_DETAILS, None, None),
    (declined("expired_card", "confirm_card_data"), "visa", C.NEEDS_CUSTOMER, T.CARD_EXPIRED, None, None),
    (declined("zzz", "try_again_later"), "visa", C.TEMPORARY, T.GENERIC, None, 2),
    # missing funds stay missing funds
    (declined("insufficient_funds", "try_again_later"), "visa", C.INSUFFICIENT_FUNDS, T.FUNDS, None, None),
    (declined("insufficient_funds", mac="25"), "mastercard", C.INSUFFICIENT_FUNDS, T.FUNDS, 24, None),
    # no advice revives a dead card, none replaces the customer's authentication
    (declined("stolen_card", "try_again_later"), "visa", C.DEAD_CARD, T.GENERIC, None, None),
    (declined("lost_card", "confirm_card_data"), "visa", C.DEAD_CARD, T.GENERIC, None, None),
    (declined("authentication_required", "try_again_later"), "visa", C.AUTHENTICATION, T.AUTHENTICATE, None, None),
    (declined("stop_payment_order", code="stolen_card"), "visa", C.DEAD_CARD, T.GENERIC, None, None),
    # the same advice number means different things to two networks
    (declined("do_not_honor", mac="02"), "mastercard", C.TEMPORARY, T.GENERIC, 72, None),
    (declined("do_not_honor", mac="02"), "visa", C.DEAD_CARD, T.OTHER_CARD, None, None),
    (declined("do_not_honor", mac="03"), "mastercard", C.DEAD_CARD, T.OTHER_CARD, None, None),
    (declined("do_not_honor", mac="03"), "amex", C.TEMPORARY, T.GENERIC, None, 2),
    (declined("do_not_honor", mac="03"), None, C.TEMPORARY, T.GENERIC, None, None),
    (declined("do_not_honor", mac="43"), "mastercard", C.TEMPORARY, T.GENERIC, None, None),
    (declined("do_not_honor", "try_again_later", mac="21"), "mastercard", C.DEAD_CARD, T.OTHER_CARD, None, None),
    (declined("do_not_honor", mac="40"), "mastercard", C.NEEDS_CUSTOMER, T.OTHER_CARD, None, None),
    (declined("do_not_honor", mac="04"), "mastercard", C.TEMPORARY, T.GENERIC, None, 1),
    # Visa's own answer stops; else it speaks only where nothing else does
    (declined("do_not_honor", network="46"), "visa", C.DEAD_CARD, T.OTHER_CARD, None, None),
    (declined("do_not_honor", network="r3"), "visa", C.DEAD_CARD, T.OTHER_CARD, None, None),
    (declined("do_not_honor", network="46"), "mastercard", C.TEMPORARY, T.GENERIC, None, None),
    (declined("insufficient_funds", network="05"), "visa", C.INSUFFICIENT_FUNDS, T.FUNDS, None, None),
    (declined(network="51"), "visa", C.INSUFFICIENT_FUNDS, T.FUNDS, None, None),
    (declined(network="05"), "visa", C.TEMPORARY, T.GENERIC, None, None),
    (declined(network="54"), "visa", C.NEEDS_CUSTOMER, T.CARD_EXPIRED, None, None),
    (declined("do_not_honor", network="1A"), "visa", C.AUTHENTICATION, T.AUTHENTICATE, None, None),
    # bank debits
    (declined(code="insufficient_funds", network="R01"), "us_bank_account", C.INSUFFICIENT_FUNDS, T.FUNDS, None, 2),
    (declined(code=None, network="R01"), "us_bank_account", C.INSUFFICIENT_FUNDS, T.FUNDS, None, 2),
    (declined(code=None, network="MS03"), "sepa_debit", C.TEMPORARY, T.GENERIC, None, 1),
    (declined(code=None, network="MD01"), "sepa_debit", C.NEEDS_CUSTOMER, T.NEW_MANDATE, None, None),
    # error codes, where there is no decline code
    (declined(code="expired_card"), "visa", C.NEEDS_CUSTOMER, T.CARD_EXPIRED, None, None),
    (declined(code="card_decline_rate_limit_exceeded"), "visa", C.TEMPORARY, T.GENERIC, 24, 2),
    (declined(code="invoice_payment_intent_requires_action"), None, C.AUTHENTICATION, T.AUTHENTICATE, None, None),
    (declined("do_not_honor", code="expired_card"), "visa", C.TEMPORARY, T.GENERIC, None, None),
    # blocked before the network
    (declined(outcome_type="blocked", reason="highest_risk_level"), "visa", C.DEAD_CARD, T.GENERIC, None, None),
    (declined(outcome_type="blocked", reason="rule"), "visa", C.NEEDS_CUSTOMER, T.GENERIC, None, None),
    # nobody knows
    (None, None, C.UNKNOWN, T.GENERIC, None, 2),
    (declined(), "visa", C.UNKNOWN, T.GENERIC, None, 2),
    (declined("zzz"), "visa", C.UNKNOWN, T.GENERIC, None, 2),
    (declined("zzz", network="05"), "visa", C.UNKNOWN, T.GENERIC, None, 2),
    (declined(code="lock_timeout"), "visa", C.UNKNOWN, T.GENERIC, None, 1),
]


@pytest.mark.parametrize(("decline", "brand", "cls", "tell", "hours", "tries"), WEIGHED)
def test_a_decline_is_weighed(
    decline: Decline | None, brand: str | None, cls: DeclineClass, tell: Tell, hours: int | None, tries: int | None
) -> None:
    verdict = classify(decline, brand, TABLE)
    assert (verdict.cls, verdict.tell, verdict.not_before_hours, verdict.max_tries) == (cls, tell, hours, tries)


@pytest.mark.parametrize(
    "hours", [("24", 1), ("25", 24), ("26", 48), ("27", 96), ("28", 144), ("29", 192), ("30", 240)]
)
def test_mastercards_waiting_times_are_kept(hours: tuple[str, int]) -> None:
    verdict = classify(declined("insufficient_funds", "try_again_later", hours[0], "51"), "Mastercard", TABLE)
    assert verdict.not_before_hours == hours[1]


def test_because_names_the_winner_first_and_every_code_nobody_knows() -> None:
    verdict = classify(declined("zzz", "do_not_try_again", "77"), "mastercard", TABLE)
    assert verdict.because == (
        "advice code do_not_try_again (stop with this payment method); "
        "besides network advice mastercard 77 (not a code we know), decline code zzz (not a code we know)"
    )
    assert classify(None, None, TABLE).because == "no code says why"
    assert "network advice unknown brand 03" in classify(declined("do_not_honor", mac="03"), None, TABLE).because


CODES = st.none() | st.sampled_from(
    [*TABLE.decline_code, *TABLE.advice_code, *TABLE.network_advice["mastercard"], *TABLE.network_code["visa"], "zzz"]
)
REASONS = st.none() | st.sampled_from([*TABLE.reason, "zzz"])
BRANDS = st.sampled_from(["visa", "mastercard", "amex", "sepa_debit", "us_bank_account", None])
DECLINES = st.builds(
    Decline, CODES, CODES, CODES, CODES, CODES, st.sampled_from([None, "issuer_declined", "blocked"]), REASONS
)


@settings(max_examples=50)
@given(DECLINES, BRANDS)
def test_any_mixture_of_codes_keeps_the_promises(decline: Decline, brand: str | None) -> None:
    verdict = classify(decline, brand, TABLE)
    told = TABLE.decline_code.get(decline.decline_code or "")
    if told and told.cls is C.DEAD_CARD:
        assert verdict.cls is C.DEAD_CARD
    if NEVER_TELL & {decline.decline_code, decline.code}:
        assert verdict.tell is T.GENERIC
    if verdict.cls is C.UNKNOWN:
        assert verdict.max_tries is not None
        assert verdict.max_tries <= 2
    if verdict.cls not in RETRYABLE:
        assert (verdict.not_before_hours, verdict.max_tries) == (None, None)
    assert verdict.because


# ---------------------------------------------------------------- the partition and its words


def test_every_class_and_every_tell_has_its_sentence() -> None:
    assert set(SENTENCES) == set(USUAL_TELL) == set(DeclineClass)
    assert set(TELLS) == set(Tell)
    assert {C.TEMPORARY, C.INSUFFICIENT_FUNDS, C.UNKNOWN} == RETRYABLE


def test_no_customer_reads_of_loss_theft_or_fraud() -> None:
    told = " ".join(TELLS.values()).lower()
    assert [word for word in ("lost", "stolen", "theft", "fraud", "risk", "block", "suspect") if word in told] == []


# ---------------------------------------------------------------- the table

S = """insufficient_funds try_again_later processing_error issuer_not_available reenter_transaction approve_with_id
card_velocity_exceeded withdrawal_count_limit_exceeded generic_decline do_not_honor no_action_taken call_issuer
duplicate_transaction"""
N = """authentication_required authentication_not_handled expired_card incorrect_cvc invalid_cvc incorrect_number
invalid_number incorrect_zip incorrect_address invalid_expiry_month invalid_expiry_year incorrect_pin invalid_pin
pin_try_exceeded offline_pin_required online_or_offline_pin_required mobile_device_authentication_required
card_not_supported currency_not_supported invalid_amount not_permitted service_not_allowed security_violation
new_account_information_available testmode_decline"""
X = """lost_card stolen_card pickup_card restricted_card fraudulent merchant_blacklist stop_payment_order
revocation_of_authorization revocation_of_all_authorizations invalid_account transaction_not_allowed do_not_try_again"""


@pytest.mark.parametrize(
    ("codes", "classes"),
    [(S, {C.TEMPORARY, C.INSUFFICIENT_FUNDS}), (N, {C.NEEDS_CUSTOMER, C.AUTHENTICATION}), (X, {C.DEAD_CARD})],
)
def test_stripes_complete_list_is_in_the_table_with_its_class(codes: str, classes: set[DeclineClass]) -> None:
    assert [code for code in codes.split() if TABLE.decline_code[code].cls not in classes] == []


ERRORS = """card_declined expired_card authentication_required card_decline_rate_limit_exceeded
payment_intent_rate_limit_exceeded payment_intent_authentication_failure payment_intent_mandate_invalid
billing_invalid_mandate india_recurring_payment_mandate_canceled payment_method_bank_account_blocked
bank_account_unusable debit_not_authorized refer_to_customer insufficient_funds payment_method_customer_decline
payment_method_provider_decline payment_method_provider_timeout expired_payment_method payment_method_restricted
invoice_payment_intent_requires_action payment_intent_action_required invoice_not_editable
payment_intent_unexpected_state resource_missing lock_timeout idempotency_key_in_use livemode_mismatch"""


def test_the_error_codes_worth_a_branch_are_in_the_table() -> None:
    assert [code for code in ERRORS.split() if code not in {**TABLE.error_code, **TABLE.decline_code}] == []


def test_the_networks_tables_are_complete() -> None:
    mac = "01 02 03 04 21 22 24 25 26 27 28 29 30 40 41 42 43 99"
    assert set(TABLE.network_advice["mastercard"]) == set(mac.split())
    assert {code for code, rule in TABLE.network_advice["visa"].items() if rule.cls is C.DEAD_CARD} == {
        "02",
        "03",
        "21",
    }
    visa = TABLE.network_code["visa"]
    stops = {code for code, rule in visa.items() if rule.cls is C.DEAD_CARD}
    never, data = "04 07 12 14 15 41 43 46 57 R0 R1 R3", "54 55 70 82 1A 6P N7"
    assert stops == set(never.split())
    later = "03 19 51 59 61 62 65 75 78 83 86 91 93 96 N3 N4 5C 9G"
    assert {code for code, rule in visa.items() if rule.meaning.startswith("Visa category 2")} == set(later.split())
    assert {c for c, r in visa.items() if r.meaning.startswith("Visa category 3")} == set(data.split())


def broken(*path: str, value: Any) -> dict[str, Any]:
    data = copy.deepcopy(DATA)
    node = data
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("as_of",), "soon", "as_of: must be the day"),
        (("decline_code",), None, "decline_code: is missing"),
        (("network_advice",), [], "network_advice: is missing"),
        (("network_code", "visa"), 3, "network_code.visa: is missing"),
        (("decline_codes",), {}, "decline_codes: not a table of this file"),
        (("decline_code", "do_not_honor", "class"), "tempory", "decline_code.do_not_honor.class: 'tempory' is none of"),
        (("decline_code", "do_not_honor", "class"), ["temporary"], "decline_code.do_not_honor.class: ['temporary']"),
        (("decline_code", "do_not_honor", "tell"), "joke", "decline_code.do_not_honor.tell: 'joke' is none of"),
        (("decline_code", "do_not_honor", "clas"), "x", "decline_code.do_not_honor.clas: is not a key"),
        (("decline_code", "do_not_honor", "meaning"), "", "decline_code.do_not_honor.meaning: is missing"),
        (("decline_code", "do_not_honor"), "temporary", "decline_code.do_not_honor: must be a table"),
        (
            ("network_advice", "mastercard", "02", "not_before_hours"),
            -1,
            "network_advice.mastercard.02.not_before_hours",
        ),
        (("network_advice", "mastercard", "04", "max_tries"), True, "network_advice.mastercard.04.max_tries: must be"),
        (("decline_code", "stolen_card", "tell"), "call_bank", "decline_code.stolen_card.tell: must be"),
    ],
)
def test_a_mistake_in_the_table_is_named_by_its_key(path: tuple[str, ...], value: Any, complaint: str) -> None:
    with pytest.raises(BadDeclineTable) as refusal:
        DeclineTable.from_toml(broken(*path, value=value))
    assert str(refusal.value).startswith(complaint)


def test_all_mistakes_are_told_at_once() -> None:
    data = broken("advice_code", "try_again_later", "class", value="soon")
    data["reason"]["rule"]["tell"] = "joke"
    with pytest.raises(BadDeclineTable) as refusal:
        DeclineTable.from_toml(data)
    assert [line.split(":")[0] for line in str(refusal.value).splitlines()] == [
        "advice_code.try_again_later.class",
        "reason.rule.tell",
    ]


def test_the_table_says_how_old_it_is() -> None:
    assert TABLE.as_of >= date(2026, 11, 22)
