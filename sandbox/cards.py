"""Stripe's test cards: tokens and numbers, with the brand and the behaviour each one stands for.

Numbers and names are those of Stripe's testing page; any other number that passes the Luhn check is a good Visa.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from sandbox.issuer import FINE, Behaviour, authenticates, declines


@dataclass(frozen=True, slots=True)
class TestCard:
    """`kind` is the payment method type; `attach_code` declines the attaching itself."""

    number: str
    behaviour: Behaviour = FINE
    brand: str = "visa"
    country: str = "US"
    funding: str = "credit"
    kind: str = "card"
    attach_code: str | None = None
    dispute: str | None = None
    dispute_status: str = "needs_response"


def _declining(number: str, code: str, brand: str = "visa") -> TestCard:
    return TestCard(number, declines(code), brand, attach_code=code)


VISA = TestCard("4242424242424242")
CHARGE_FAILS = TestCard("4000000000000341", declines("generic_decline"))
DECLINED = _declining("4000000000000002", "generic_decline")
THREE_D_SECURE = TestCard("4000000000003220", authenticates("always"))

CARDS = {
    "visa": VISA,
    "visa_debit": TestCard("4000056655665556", funding="debit"),
    "mastercard": TestCard("5555555555554444", brand="mastercard"),
    "mastercard_debit": TestCard("5200828282828210", brand="mastercard", funding="debit"),
    "mastercard_prepaid": TestCard("5105105105105100", brand="mastercard", funding="prepaid"),
    "amex": TestCard("378282246310005", brand="amex"),
    "discover": TestCard("6011111111111117", brand="discover"),
    "diners": TestCard("3056930009020004", brand="diners"),
    "jcb": TestCard("3566002020360505", brand="jcb"),
    "unionpay": TestCard("6200000000000005", brand="unionpay"),
    "de": TestCard("4000002760000016", country="DE"),
    "fr": TestCard("4000002500000003", country="FR"),
    "gb": TestCard("4000008260000000", country="GB"),
    "chargeCustomerFail": CHARGE_FAILS,
    "chargeDeclined": DECLINED,
    "visa_chargeDeclined": DECLINED,
    "mastercard_chargeDeclined": TestCard(
        "5105105105105108", declines("generic_decline"), "mastercard", attach_code="generic_decline"
    ),
    "chargeDeclinedInsufficientFunds": _declining("4000000000009995", "insufficient_funds"),
    "visa_chargeDeclinedInsufficientFunds": _declining("4000000000009995", "insufficient_funds"),
    "chargeDeclinedLostCard": _declining("4000000000009987", "lost_card"),
    "visa_chargeDeclinedLostCard": _declining("4000000000009987", "lost_card"),
    "chargeDeclinedStolenCard": _declining("4000000000009979", "stolen_card"),
    "visa_chargeDeclinedStolenCard": _declining("4000000000009979", "stolen_card"),
    "chargeDeclinedExpiredCard": _declining("4000000000000069", "expired_card"),
    "chargeDeclinedIncorrectCvc": _declining("4000000000000127", "incorrect_cvc"),
    "chargeDeclinedProcessingError": _declining("4000000000000119", "processing_error"),
    "chargeDeclinedFraudulent": _declining("4100000000000019", "fraudulent"),
    "visa_chargeDeclinedVelocityLimitExceeded": _declining("4000000000006975", "card_velocity_exceeded"),
    "chargeDeclinedVelocityLimitExceeded": _declining("4000000000006975", "card_velocity_exceeded"),
    "threeDSecureRequired": THREE_D_SECURE,
    "threeDSecure2Required": THREE_D_SECURE,
    "threeDSecureOptional": TestCard("4000000000003055"),
    "authenticationRequired": TestCard("4000002760003184", authenticates("always"), country="DE"),
    "authenticationRequiredOnSetup": TestCard("4000002500003155", authenticates("off_session"), country="FR"),
    "authenticationRequiredChargeDeclinedInsufficientFunds": TestCard(
        "4000008260003178",
        Behaviour(declines("insufficient_funds").spells, challenge="always"),
        country="GB",
    ),
    "createDispute": TestCard("4000000000000259", dispute="fraudulent"),
    "createDisputeInquiry": TestCard("4000000000001976", dispute="fraudulent", dispute_status="warning_needs_response"),
    "createDisputeProductNotReceived": TestCard("4000000000002685", dispute="product_not_received"),
}

DEBITS = {
    "pm_usBankAccount_success": TestCard(
        "000123456789", Behaviour(settles_after=timedelta(days=4)), "bank", kind="us_bank_account"
    ),
    "pm_usBankAccount_insufficientFunds": TestCard(
        "000222222227",
        Behaviour(declines("debit_insufficient_funds").spells, settles_after=timedelta(days=4)),
        "bank",
        kind="us_bank_account",
    ),
    "pm_sepaDebit_success": TestCard(
        "DE89370400440532013000", Behaviour(settles_after=timedelta(days=7)), "bank", "DE", kind="sepa_debit"
    ),
    "pm_sepaDebit_insufficientFunds": TestCard(
        "DE62370400440532013001",
        Behaviour(declines("debit_insufficient_funds").spells, settles_after=timedelta(days=7)),
        "bank",
        "DE",
        kind="sepa_debit",
    ),
}

BY_TOKEN = {
    **{f"pm_card_{name}": card for name, card in CARDS.items()},
    **{f"tok_{name}": card for name, card in CARDS.items()},
    **DEBITS,
}
BY_NUMBER = {card.number: card for card in [*CARDS.values(), *DEBITS.values()]}


def by_number(number: str) -> TestCard | None:
    """The test card of a number; None when it is no card number at all."""
    digits = number.replace(" ", "").replace("-", "")
    if digits in BY_NUMBER:
        return BY_NUMBER[digits]
    return TestCard(digits) if digits.isdigit() and len(digits) >= 12 and _luhn(digits) else None


def by_account(kind: str, number: str) -> TestCard:
    """The test bank account of a number or IBAN; an unknown one pays after its usual time."""
    good = DEBITS["pm_sepaDebit_success" if kind == "sepa_debit" else "pm_usBankAccount_success"]
    return BY_NUMBER.get(number) or replace(good, number=number)


def _luhn(digits: str) -> bool:
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
