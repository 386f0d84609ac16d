"""What the card networks, the bank debit schemes and Stripe allow: may this payment method be charged again, and when?

The rules are dated data (`config/network_rules.toml`, read by `config/network_rules.py`), each with its source; here is
only how they are applied to the declined charges that are known. Nothing is read or kept: the worker brings the
declines from its tables, a simulation from its memory. A payment processor that enforces the same rules itself could
replace this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from billing.events.snapshots import Decline
from billing.money import Amount
from billing.words import are

OTHER = "other"  # in a rule: every brand that no other rule names, and a brand that is not known
ANY = "*"
MARGIN = timedelta(minutes=1)  # a network counts by its own clock


class Effect(StrEnum):
    """What a rule does to the next charge."""

    NEVER = "never"
    NEW_CARD = "new_card"
    CUSTOMER = "customer"
    NOT_BEFORE = "not_before"
    AT_MOST = "at_most"


SENTENCES = {
    Effect.NEVER: "this payment method must not be charged again",
    Effect.NEW_CARD: "another payment method, or new details of this one, are needed first",
    Effect.CUSTOMER: "the customer has to act first",
    Effect.NOT_BEFORE: "not before the time that the rule names",
    Effect.AT_MOST: "only so many declined charges in a time",
}


class Scope(StrEnum):
    """Which declined charges a rule looks at."""

    CARD = "card"  # of this card, whatever the amount
    AMOUNT = "amount"  # of this card and this amount
    INVOICE = "invoice"  # for this one debt; a time limit then runs from its first decline


@dataclass(frozen=True, slots=True)
class Fee:
    """What one charge against the rule costs; `region`: domestic, cross_border, or None for everywhere."""

    cost: Amount
    region: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkRule:
    """One rule of `network_rules.toml`. The codes say which declines it is about; a rule without any is about all."""

    name: str
    effect: Effect
    because: str
    source: str
    since: date
    until: date | None = None  # the first day on which it holds no more
    brands: frozenset[str] = frozenset()  # card brands or types of bank debit; none: all
    countries: frozenset[str] = frozenset()  # of the issuer, upper case; none: all
    above: Amount | None = None  # only charges of more than this, in this currency
    scope: Scope = Scope.CARD
    decline_codes: frozenset[str] = frozenset()  # Stripe's decline code, error code or block reason
    advice_codes: frozenset[str] = frozenset()  # Stripe's advice
    network_codes: frozenset[str] = frozenset()  # ANY: every code, except those in `but`
    but: frozenset[str] = frozenset()
    network_advice: frozenset[str] = frozenset()
    unknown: bool = False  # declines with a code that no table knows
    hours: int = 0  # NOT_BEFORE: after the decline
    most: int = 0  # AT_MOST: declined charges, the first one included
    days: int | None = None  # AT_MOST: in so many days; None: for as long as the method does not change
    fees: tuple[Fee, ...] = ()
    own: bool = False  # of the operator's file, not of the shipped one
    looser: str = ""  # in which ways it is looser than the shipped rule whose place it takes

    @property
    def about_all(self) -> bool:
        """Whether every decline counts, whatever the bank said."""
        return not (
            self.unknown or self.decline_codes or self.advice_codes or self.network_codes or self.network_advice
        )


@dataclass(frozen=True, slots=True)
class Declined:
    """One charge that the bank declined, whoever made it: Stripe, we, for this invoice or another one.

    `unknown` are its codes that no table knows (`billing.declines.unknown_codes`).
    """

    at: datetime
    amount: Amount
    decline: Decline
    invoice: str | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Charging:
    """What is about to be charged: the method as far as it is known, and for what.

    `brand`: of the card, or the type of the bank debit (sepa_debit, us_bank_account ...). `country`: of the issuer.
    `home`: of the merchant. What the bank said before `changed_at` (another number, or an approval since) no longer
    forbids; what it said before `updated_at` (new details of the same number) only where it said never. Budgets that
    run for some days go on counting.
    """

    amount: Amount
    brand: str | None = None
    country: str | None = None
    home: str | None = None
    invoice: str | None = None
    changed_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Allowed:
    """No rule speaks against a charge now."""

    because: str = "no network rule speaks against it"


@dataclass(frozen=True, slots=True)
class NotBefore:
    """The first instant at which no rule speaks against it, and the rule that holds longest."""

    at: datetime
    rule: NetworkRule
    because: str


@dataclass(frozen=True, slots=True)
class Never:
    """No charge of this method, unless it changes or the customer acts."""

    rule: NetworkRule
    because: str


Ruling = Allowed | NotBefore | Never
ALLOWED = Allowed()


@dataclass(frozen=True, slots=True)
class Budget:
    """How many more declined charges a rule bears at `now`; `frees_at`: when the next one becomes possible again."""

    rule: NetworkRule
    used: int
    remaining: int
    frees_at: datetime | None  # None: there is some left, or it never comes back
    fee: Amount | None  # at stake with a charge beyond the budget


# ---------------------------------------------------------------- the question


def ruled(rules: Sequence[NetworkRule], charging: Charging, declined: Iterable[Declined], now: datetime) -> Ruling:
    """May this be charged at `now`? `declined`: every declined charge known of this card, in any order.

    A caller that asks often may pass what `in_force` gave for the day instead of all rules.
    """
    known = sorted((each for each in declined if each.at <= now), key=_order)
    late: list[NotBefore] = []
    for rule in in_force(rules, charging, now.date()):
        match _ruling(rule, charging, known, now):
            case Never() as never:
                return never
            case NotBefore() as wait:
                late.append(wait)
            case Allowed():
                pass
    return max(late, key=lambda wait: wait.at) if late else ALLOWED


def budgets(
    rules: Sequence[NetworkRule], charging: Charging, declined: Iterable[Declined], now: datetime
) -> tuple[Budget, ...]:
    """What is left of every budget that this charge would use, the smallest first."""
    known = sorted((each for each in declined if each.at <= now), key=_order)
    limits = [rule for rule in in_force(rules, charging, now.date()) if rule.effect is Effect.AT_MOST]
    found = [remaining(rule, charging, known, now) for rule in limits if rule.about_all]
    return tuple(sorted(found, key=lambda budget: (budget.remaining, budget.rule.name)))


def remaining(rule: NetworkRule, charging: Charging, declined: Iterable[Declined], now: datetime) -> Budget:
    """What is left of one AT_MOST rule's budget."""
    counted = _counted(rule, charging, sorted((each for each in declined if each.at <= now), key=_order), now)
    left = max(0, rule.most - len(counted))
    frees_at = None
    if not left and rule.days is not None and rule.scope is not Scope.INVOICE:
        frees_at = counted[len(counted) - rule.most].at + timedelta(days=rule.days) + MARGIN
    return Budget(rule, len(counted), left, frees_at, at_stake(rule, charging))


def at_stake(rule: NetworkRule, charging: Charging) -> Amount | None:
    """The fee of one charge against the rule; the highest published one where it is not known which region holds."""
    region = None
    if charging.country and charging.home:
        region = "domestic" if charging.country.upper() == charging.home.upper() else "cross_border"
    fitting = [fee.cost for fee in rule.fees if region is None or fee.region in (None, region)]
    return max(fitting, key=lambda cost: cost.minor, default=None)


def in_force(rules: Iterable[NetworkRule], charging: Charging, day: date) -> list[NetworkRule]:
    """The rules that hold on this day for this brand, issuer and amount."""
    valid = [rule for rule in rules if rule.since <= day and (rule.until is None or day < rule.until)]
    brand = (charging.brand or OTHER).lower()
    if not any(brand in rule.brands for rule in valid):
        brand = OTHER
    country = (charging.country or "").upper()
    return [
        rule
        for rule in valid
        if (not rule.brands or brand in rule.brands)
        and (not rule.countries or country in rule.countries)
        and (rule.above is None or _above(charging.amount, rule.above))
    ]


# ---------------------------------------------------------------- one rule


def _ruling(rule: NetworkRule, charging: Charging, known: Sequence[Declined], now: datetime) -> Ruling:
    match rule.effect:
        case Effect.NOT_BEFORE:
            return _after_delay(rule, charging, known, now)
        case Effect.AT_MOST:
            return _within_budget(rule, charging, known, now)
        case _ if rule.above and rule.about_all:
            return Never(rule, f"{rule.name}: {rule.because}")
        case _:
            told = _about(rule, _current(rule, charging, known))
            return Never(rule, f"{rule.name}: {rule.because} (declined {_minute(told[-1].at)})") if told else ALLOWED


def _after_delay(rule: NetworkRule, charging: Charging, known: Sequence[Declined], now: datetime) -> Ruling:
    told = _current(rule, charging, known)
    if rule.network_advice:  # newer advice takes the place of older advice
        told = [each for each in told if each.decline.network_advice_code][-1:]
    about = _about(rule, told)
    if not about:
        return ALLOWED
    at = about[-1].at + timedelta(hours=rule.hours) + (timedelta() if rule.about_all else MARGIN)
    if at <= now:
        return ALLOWED
    return NotBefore(at, rule, f"{rule.name}: {rule.because}; not before {_minute(at)}")


def _within_budget(rule: NetworkRule, charging: Charging, known: Sequence[Declined], now: datetime) -> Ruling:
    debt = _about(rule, _in_scope(rule, charging, known)) if rule.scope is Scope.INVOICE and rule.days else []
    if debt and rule.days:
        ends = debt[0].at + timedelta(days=rule.days)
        if now >= ends:
            return Never(rule, f"{rule.name}: {rule.because}; the time for it ended {_minute(ends)}")
    budget = remaining(rule, charging, known, now)
    if budget.remaining:
        return ALLOWED
    used = f"{rule.name}: {rule.because}; {budget.used} of {rule.most} {are(budget.used)} used"
    if budget.frees_at is None:
        return Never(rule, used)
    return NotBefore(budget.frees_at, rule, f"{used}, the next one is free {_minute(budget.frees_at)}")


def _counted(rule: NetworkRule, charging: Charging, known: Sequence[Declined], now: datetime) -> Sequence[Declined]:
    """The declines that use this budget up: those in the window, or since the method changed where there is none."""
    found = _about(rule, _in_scope(rule, charging, known))
    if rule.days is None:
        changed = charging.changed_at
        return [each for each in found if changed is None or each.at >= changed]
    if rule.scope is Scope.INVOICE:
        return found
    return [each for each in found if each.at + timedelta(days=rule.days) + MARGIN > now]


def _current(rule: NetworkRule, charging: Charging, known: Sequence[Declined]) -> Sequence[Declined]:
    """What the bank said of the method as it is now."""
    changed = [charging.changed_at, None if rule.effect is Effect.NEVER else charging.updated_at]
    since = max((at for at in changed if at), default=None)
    found = _in_scope(rule, charging, known)
    return found if since is None else [each for each in found if each.at >= since]


def _in_scope(rule: NetworkRule, charging: Charging, known: Sequence[Declined]) -> Sequence[Declined]:
    match rule.scope:
        case Scope.AMOUNT:
            return [each for each in known if each.amount == charging.amount]
        case Scope.INVOICE:
            return [each for each in known if each.invoice == charging.invoice]
        case Scope.CARD:
            return known


def _about(rule: NetworkRule, known: Sequence[Declined]) -> Sequence[Declined]:
    return known if rule.about_all else [each for each in known if _says(rule, each)]


def _says(rule: NetworkRule, each: Declined) -> bool:
    """Whether the bank said one of the things that the rule is about."""
    no, codes = each.decline, rule.decline_codes
    return (
        (rule.unknown and bool(each.unknown))
        or bool(codes and (no.decline_code in codes or no.code in codes or no.reason in codes))
        or no.advice_code in rule.advice_codes
        or bool(rule.network_codes and _network_code_fits(rule, (no.network_decline_code or "").upper()))
        or no.network_advice_code in rule.network_advice
    )


def _network_code_fits(rule: NetworkRule, code: str) -> bool:
    return code in rule.network_codes or bool(ANY in rule.network_codes and code and code not in rule.but)


def _above(amount: Amount, limit: Amount) -> bool:
    return amount.unit == limit.unit and amount.minor > limit.minor


def _order(each: Declined) -> tuple[datetime, str]:
    return each.at, each.decline.network_advice_code or ""


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
