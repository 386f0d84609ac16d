"""What Stripe says for each decline: error code, advice, the networks' codes and the sentence for the customer.

Data only. Sources: Stripe's list of decline codes and its page on retrying; Visa's response codes; Mastercard's
merchant advice codes.
"""

from __future__ import annotations

# decline code -> error code, where it is not card_declined
ERROR_CODES = {
    "expired_card": "expired_card",
    "incorrect_cvc": "incorrect_cvc",
    "invalid_cvc": "invalid_cvc",
    "incorrect_number": "incorrect_number",
    "processing_error": "processing_error",
    "authentication_required": "authentication_required",
    "debit_insufficient_funds": "insufficient_funds",
    "bank_account_closed": "bank_account_closed",
    "debit_not_authorized": "debit_not_authorized",
}

TRY_LATER, STOP, CORRECT = "try_again_later", "do_not_try_again", "confirm_card_data"

ADVICE = {
    "insufficient_funds": TRY_LATER,
    "generic_decline": TRY_LATER,
    "do_not_honor": TRY_LATER,
    "processing_error": TRY_LATER,
    "issuer_not_available": TRY_LATER,
    "reenter_transaction": TRY_LATER,
    "card_velocity_exceeded": TRY_LATER,
    "withdrawal_count_limit_exceeded": TRY_LATER,
    "try_again_later": TRY_LATER,
    "call_issuer": TRY_LATER,
    "expired_card": CORRECT,
    "incorrect_cvc": CORRECT,
    "invalid_cvc": CORRECT,
    "incorrect_number": CORRECT,
    "incorrect_zip": CORRECT,
    "lost_card": STOP,
    "stolen_card": STOP,
    "pickup_card": STOP,
    "restricted_card": STOP,
    "fraudulent": STOP,
    "stop_payment_order": STOP,
    "revocation_of_authorization": STOP,
    "revocation_of_all_authorizations": STOP,
    "transaction_not_allowed": STOP,
    "invalid_account": STOP,
    "do_not_try_again": STOP,
}

VISA = {
    "insufficient_funds": "51",
    "generic_decline": "05",
    "do_not_honor": "05",
    "processing_error": "96",
    "issuer_not_available": "91",
    "reenter_transaction": "19",
    "card_velocity_exceeded": "65",
    "withdrawal_count_limit_exceeded": "65",
    "expired_card": "54",
    "incorrect_cvc": "N7",
    "invalid_cvc": "N7",
    "incorrect_number": "14",
    "lost_card": "41",
    "stolen_card": "43",
    "pickup_card": "04",
    "restricted_card": "62",
    "fraudulent": "59",
    "stop_payment_order": "R0",
    "revocation_of_authorization": "R1",
    "revocation_of_all_authorizations": "R3",
    "transaction_not_allowed": "57",
    "invalid_account": "46",
    "authentication_required": "1A",
}

MASTERCARD = {
    "insufficient_funds": "02",
    "generic_decline": "02",
    "do_not_honor": "02",
    "processing_error": "02",
    "issuer_not_available": "02",
    "expired_card": "01",
    "new_account_information_available": "01",
    "lost_card": "03",
    "stolen_card": "03",
    "pickup_card": "03",
    "fraudulent": "03",
    "invalid_account": "03",
    "do_not_try_again": "03",
    "stop_payment_order": "21",
    "revocation_of_authorization": "21",
    "revocation_of_all_authorizations": "21",
}

# Stripe keeps its schedule after these but creates no charge until there is another payment method.
HARD = frozenset(
    (
        "incorrect_number",
        "lost_card",
        "pickup_card",
        "stolen_card",
        "revocation_of_authorization",
        "revocation_of_all_authorizations",
        "authentication_required",
        "highest_risk_level",
        "transaction_not_allowed",
    )
)

MESSAGES = {
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "incorrect_number": "Your card number is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
    "card_velocity_exceeded": "Your card was declined for making repeated attempts too frequently.",
}


def message(decline_code: str) -> str:
    """The sentence that Stripe shows the cardholder; it never says lost, stolen or fraud."""
    return MESSAGES.get(decline_code, "Your card was declined.")
