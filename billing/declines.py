"""Which kind of no the bank gave: the class decides the retry ladder and the tone of the message.

The codes are data (`config/declines.toml`, with their sources); what is here is only how several codes about one
decline are weighed. It could be replaced by Stripe's advice codes alone once every endpoint sends them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from billing.events.snapshots import Decline

UNKNOWN_TRIES = 2  # a code nobody knows gets the benefit of the doubt this often (stripe.md 4)
ANY = "*"  # in a network's table: every code of this network that is not listed


class DeclineClass(StrEnum):
    TEMPORARY = "temporary"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    NEEDS_CUSTOMER = "needs_customer"
    AUTHENTICATION = "authentication"
    DEAD_CARD = "dead_card"
    UNKNOWN = "unknown"


SENTENCES = {
    DeclineClass.TEMPORARY: "The bank could not or would not approve it now; a later retry may succeed.",
    DeclineClass.INSUFFICIENT_FUNDS: "The account did not hold enough money; a retry when money comes in may succeed.",
    DeclineClass.NEEDS_CUSTOMER: "Only the customer can mend this; a silent retry would fail the same way.",
    DeclineClass.AUTHENTICATION: "The bank wants the customer to confirm the payment; it is not retried silently.",
    DeclineClass.DEAD_CARD: "This payment method must never be tried again.",
    DeclineClass.UNKNOWN: "No known code says why; it is treated as temporary, for two tries at most.",
}

RETRYABLE = frozenset({DeclineClass.TEMPORARY, DeclineClass.INSUFFICIENT_FUNDS, DeclineClass.UNKNOWN})


class Tell(StrEnum):
    """What the customer may hear; a message has one text for each."""

    GENERIC = "generic"
    FUNDS = "funds"
    CARD_EXPIRED = "card_expired"
    CHECK_DETAILS = "check_details"
    CALL_BANK = "call_bank"
    OTHER_CARD = "other_card"
    AUTHENTICATE = "authenticate"
    NEW_MANDATE = "new_mandate"


TELLS = {
    Tell.GENERIC: "Your bank declined the payment.",
    Tell.FUNDS: "Your bank reports that there was not enough money on the account.",
    Tell.CARD_EXPIRED: "Your card has expired.",
    Tell.CHECK_DETAILS: "The details of your payment method need to be checked.",
    Tell.CALL_BANK: "Your bank declined the payment and can tell you why.",
    Tell.OTHER_CARD: "This payment method cannot be used for this payment; please choose another one.",
    Tell.AUTHENTICATE: "Your bank asks you to confirm the payment.",
    Tell.NEW_MANDATE: "Your permission for direct debits needs to be given again.",
}

USUAL_TELL = {
    DeclineClass.TEMPORARY: Tell.GENERIC,
    DeclineClass.INSUFFICIENT_FUNDS: Tell.FUNDS,
    DeclineClass.NEEDS_CUSTOMER: Tell.OTHER_CARD,
    DeclineClass.AUTHENTICATION: Tell.AUTHENTICATE,
    DeclineClass.DEAD_CARD: Tell.OTHER_CARD,
    DeclineClass.UNKNOWN: Tell.GENERIC,
}

# docs.stripe.com/declines/codes: to be presented as a generic decline
NEVER_TELL = frozenset({"fraudulent", "lost_card", "stolen_card", "merchant_blacklist"})


@dataclass(frozen=True, slots=True)
class Rule:
    """What one code means; `cls` is None for a code that decides nothing by itself."""

    cls: DeclineClass | None
    tell: Tell
    meaning: str
    not_before_hours: int | None = None
    max_tries: int | None = None


Rules = Mapping[str, Rule]


class BadDeclineTable(ValueError):
    """The table of decline codes cannot be used; one line for each mistake, beginning with its key."""


@dataclass(frozen=True, slots=True)
class DeclineTable:
    """The codes as data, as they were on one day. Networks are keyed by card brand or bank debit type."""

    as_of: date
    advice_code: Rules
    decline_code: Rules
    error_code: Rules
    reason: Rules
    network_advice: Mapping[str, Rules]
    network_code: Mapping[str, Rules]

    @classmethod
    def from_toml(cls, data: Mapping[str, Any]) -> DeclineTable:
        """The table in a parsed `declines.toml`; raises `BadDeclineTable` with all mistakes at once."""
        wrong: list[str] = [f"{key}: not a table of this file" for key in data if key not in cls.__slots__]
        as_of = data.get("as_of")
        if type(as_of) is not date:
            wrong.append("as_of: must be the day of these rules, as 2026-11-22")
        table = cls(
            as_of=as_of if isinstance(as_of, date) else date.min,
            advice_code=_rules("advice_code", data.get("advice_code"), wrong),
            decline_code=_rules("decline_code", data.get("decline_code"), wrong),
            error_code=_rules("error_code", data.get("error_code"), wrong),
            reason=_rules("reason", data.get("reason"), wrong),
            network_advice=_networks("network_advice", data.get("network_advice"), wrong),
            network_code=_networks("network_code", data.get("network_code"), wrong),
        )
        for code in sorted(NEVER_TELL & table.decline_code.keys()):
            if table.decline_code[code].tell is not Tell.GENERIC:
                wrong.append(f'decline_code.{code}.tell: must be "generic", the customer is never told of it')
        if wrong:
            raise BadDeclineTable("\n".join(wrong))
        return table


def _networks(path: str, tables: Any, wrong: list[str]) -> dict[str, Rules]:
    if not isinstance(tables, Mapping):
        wrong.append(f"{path}: is missing, one table for each network is wanted")
        return {}
    return {network: _rules(f"{path}.{network}", rules, wrong) for network, rules in tables.items()}


def _rules(path: str, table: Any, wrong: list[str]) -> dict[str, Rule]:
    if not isinstance(table, Mapping):
        wrong.append(f"{path}: is missing, a table of codes is wanted")
        return {}
    return {code: rule for code, row in table.items() if (rule := _rule(f"{path}.{code}", row, wrong))}


def _rule(path: str, row: Any, wrong: list[str]) -> Rule | None:
    before = len(wrong)
    if not isinstance(row, Mapping):
        wrong.append(f"{path}: must be a table with class, tell, not_before_hours, max_tries, meaning")
        return None
    wrong += [f"{path}.{key}: is not a key of a rule" for key in row if key not in ROW]
    for key, names in (("class", list(DeclineClass)), ("tell", list(Tell))):
        if key in row and row[key] not in names:
            wrong.append(f"{path}.{key}: {row[key]!r} is none of {', '.join(sorted(names))}")
    for key, most in (("not_before_hours", 24 * 60), ("max_tries", 20)):
        if key in row and (type(row[key]) is not int or not 0 <= row[key] <= most):
            wrong.append(f"{path}.{key}: must be a whole number from 0 to {most}")
    if not isinstance(row.get("meaning"), str) or not row["meaning"]:
        wrong.append(f"{path}.meaning: is missing, operators read it")
    if len(wrong) > before:
        return None
    kind = DeclineClass(row["class"]) if "class" in row else None
    tell = Tell(row["tell"]) if "tell" in row else USUAL_TELL[kind or DeclineClass.UNKNOWN]
    return Rule(kind, tell, row["meaning"], row.get("not_before_hours"), row.get("max_tries"))


ROW = frozenset({"class", "tell", "not_before_hours", "max_tries", "meaning"})


# ---------------------------------------------------------------- weighing


@dataclass(frozen=True, slots=True)
class Verdict:
    """The class of one decline and why. The limits are None where the policy's ladder alone decides."""

    cls: DeclineClass
    because: str
    not_before_hours: int | None = None
    tell: str = Tell.GENERIC
    max_tries: int | None = None  # silent retries of this payment method, at most


@dataclass(frozen=True, slots=True)
class _Finding:
    """One code of the decline, found in the table or not."""

    source: str
    code: str
    rule: Rule | None

    @property
    def unknown(self) -> bool:
        """Whether nobody knows the code; without its brand, advice of a network says nothing either way."""
        return self.rule is None and not self.code.startswith(NO_BRAND)

    @property
    def cls(self) -> DeclineClass | None:
        """The class it argues for; None when it is known to decide nothing."""
        return self.rule.cls if self.rule else DeclineClass.UNKNOWN

    def __str__(self) -> str:
        return f"{self.source} {self.code} ({self.rule.meaning if self.rule else 'not a code we know'})"


def classify(decline: Decline | None, brand: str | None, table: DeclineTable) -> Verdict:
    """The class of a decline.

    `brand` is the card's brand (visa, mastercard ...), or the payment method type of a bank debit; without it network
    codes say nothing, because the same number means opposite things to two networks. In this order:

    1. A stop from any source is final: no advice revives a dead card, and Stripe would not charge it anyway.
    2. A bank that wants authentication is not asked again silently.
    3. Advice outranks the codes: "confirm the data" makes it the customer's turn, "try later" allows a retry even
       where the code alone would not. Missing funds stay missing funds, since the better time differs.
    4. The decline code, else the error code, else the reason of a block, else the network's own answer.
    """
    findings = [] if decline is None else list(_findings(decline, (brand or "").lower(), table))
    advice = [f for f in findings if f.source in ADVICE and f.cls not in (None, DeclineClass.UNKNOWN)]
    codes = [f for f in findings if f.source not in ADVICE and f.cls is not None]
    winner = _winner([*advice, *codes], advice, codes)
    if winner is None:
        told = "no code says why" + (f": only {'; '.join(map(str, findings))}" if findings else "")
        return Verdict(DeclineClass.UNKNOWN, told, None, Tell.GENERIC, UNKNOWN_TRIES)
    cls = winner.cls or DeclineClass.UNKNOWN
    # The code knows best how to say it, as long as it argues for the same class.
    speaker = next((f for f in codes if f.rule and f.cls is cls), winner)
    hushed = any(f.code in NEVER_TELL for f in findings)
    # What a network limits holds even where its code was not the one to decide.
    limits = [*advice, *codes[:1], *(f for f in codes[1:] if f.source == NETWORK)]
    counted = [f.rule for f in limits if f.rule] if cls in RETRYABLE else []
    tries = [rule.max_tries for rule in counted if rule.max_tries is not None]
    if cls is DeclineClass.UNKNOWN or (cls in RETRYABLE and any(f.unknown for f in findings)):
        tries.append(UNKNOWN_TRIES)
    return Verdict(
        cls=cls,
        because=_because(winner, findings),
        not_before_hours=max((r.not_before_hours for r in counted if r.not_before_hours is not None), default=None),
        tell=Tell.GENERIC if hushed or speaker.rule is None else speaker.rule.tell,
        max_tries=min(tries, default=None),
    )


def unknown_codes(decline: Decline | None, brand: str | None, table: DeclineTable) -> tuple[str, ...]:
    """The codes of a decline that no table knows, each with what kind of code it is; operators see the list."""
    found = [] if decline is None else _findings(decline, (brand or "").lower(), table)
    return tuple(f"{each.source} {each.code}" for each in found if each.unknown)


NO_BRAND = "unknown brand"
ADVICE = ("advice code", "network advice")
NETWORK = "network code"


def _findings(decline: Decline, brand: str, table: DeclineTable) -> Iterator[_Finding]:
    """Every code of the decline, the weightiest first."""
    network_advice, network_code = table.network_advice.get(brand, {}), table.network_code.get(brand, {})
    errors = {**table.decline_code, **table.error_code}  # the same word may come as either
    blocked = decline.outcome_type not in (None, "issuer_declined")
    if decline.advice_code:
        yield _Finding("advice code", decline.advice_code, table.advice_code.get(decline.advice_code))
    if code := decline.network_advice_code:
        yield _Finding("network advice", f"{brand or NO_BRAND} {code}", network_advice.get(code))
    if decline.decline_code:
        yield _Finding("decline code", decline.decline_code, errors.get(decline.decline_code))
    if decline.code and decline.code != decline.decline_code:
        yield _Finding("error code", decline.code, errors.get(decline.code))
    if decline.reason and (blocked or decline.reason in table.reason):
        yield _Finding("block reason", decline.reason, table.reason.get(decline.reason) or errors.get(decline.reason))
    if (code := decline.network_decline_code) and network_code:
        yield _Finding(NETWORK, f"{brand} {code}", network_code.get(code.upper()) or network_code.get(ANY))


def _winner(by_weight: list[_Finding], advice: list[_Finding], codes: list[_Finding]) -> _Finding | None:
    for final in (DeclineClass.DEAD_CARD, DeclineClass.AUTHENTICATION):
        if found := next((f for f in by_weight if f.cls is final), None):
            return found
    code = codes[0] if codes else None
    if not advice:
        return code
    customers_turn = next((f for f in advice if f.cls is DeclineClass.NEEDS_CUSTOMER), None)
    if customers_turn:
        return customers_turn
    return code if code and code.cls in (DeclineClass.TEMPORARY, DeclineClass.INSUFFICIENT_FUNDS) else advice[0]


def _because(winner: _Finding, findings: list[_Finding]) -> str:
    also = [str(f) for f in findings if f is not winner and (f.cls is not None or f.source != "error code")]
    return str(winner) + (f"; besides {', '.join(also)}" if also else "")
