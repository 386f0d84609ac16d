"""Why a payment failed, as far as the customer may hear it: each reason has its sentences in every language.

`Tell` says what a decline code allows; here stand the three cases that no single code names, and what follows from a
reason for the sequence. Codes that hint at a crime never come this far: they are told as `generic`.
"""

from __future__ import annotations

from enum import StrEnum

from billing.case import RecoveryCase
from billing.declines import NEVER_TELL, RETRYABLE, USUAL_TELL, DeclineClass, Tell


class Reason(StrEnum):
    GENERIC = "generic"
    FUNDS = "funds"
    CARD_EXPIRED = "card_expired"
    CHECK_DETAILS = "check_details"
    CALL_BANK = "call_bank"
    OTHER_CARD = "other_card"
    AUTHENTICATE = "authenticate"
    NEW_MANDATE = "new_mandate"
    OVERDUE = "overdue"
    TECHNICAL = "technical"
    UNKNOWN = "unknown"


SENTENCES = {
    Reason.GENERIC: "The bank declined, and nothing more may or can be said.",
    Reason.FUNDS: "There was not enough money on the account.",
    Reason.CARD_EXPIRED: "The card has expired, or was replaced by a new one.",
    Reason.CHECK_DETAILS: "The details of the payment method need to be entered once more.",
    Reason.CALL_BANK: "The bank declined and can tell the customer why.",
    Reason.OTHER_CARD: "This payment method cannot be used; another one can.",
    Reason.AUTHENTICATE: "The bank wants the customer to confirm the payment.",
    Reason.NEW_MANDATE: "The permission for direct debits needs to be given again.",
    Reason.OVERDUE: "An invoice that the customer pays by himself is not paid yet; nothing was declined.",
    Reason.TECHNICAL: "A fault between the banks, which nobody has to answer for.",
    Reason.UNKNOWN: "The payment failed and no known code says why.",
}

# A silent retry usually mends these: a sequence sends its first message late or not at all.
MENDS_ITSELF = frozenset({Reason.TECHNICAL})

# No bank said no: something on the way did not work (docs.stripe.com/declines/codes, docs.stripe.com/error-codes).
TECHNICAL_CODES = frozenset(
    {"processing_error", "issuer_not_available", "reenter_transaction", "payment_method_provider_timeout"}
    | {"card_decline_rate_limit_exceeded", "payment_intent_rate_limit_exceeded", "lock_timeout"}
)


def reason_of(case: RecoveryCase, tell: Tell | None = None) -> Reason:
    """The reason to give; `tell` is what the decline table allows, without it the usual word of the class."""
    if case.collection_method == "send_invoice":
        return Reason.OVERDUE
    told = tell or USUAL_TELL[case.decline_class]
    if told is not Tell.GENERIC or case.decline_class not in RETRYABLE:
        return Reason(told.value)
    codes = {case.decline.decline_code, case.decline.code} if case.decline else set()
    if codes & NEVER_TELL:
        return Reason.GENERIC
    if codes & TECHNICAL_CODES:
        return Reason.TECHNICAL
    return Reason.UNKNOWN if case.decline_class is DeclineClass.UNKNOWN else Reason.GENERIC
