"""An operator's own network rules: what his acquirer or his lawyer asks for, beside or instead of the shipped rules.

A rule by a new name is added. A rule by a shipped name takes its place from its first day on, for as long as it holds;
where it is looser it must say so itself (`loosens = true`), and is then shown as looser wherever it is told of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from billing.retry.rules import ANY, OTHER, Effect, NetworkRule, Scope
from config.network_rules import BadNetworkRules, Entry, entries, line_of, network_rules, text_of

# Two of one rank forbid different things: neither may stand for the other unsaid.
RANK = {Effect.NEVER: 3, Effect.NEW_CARD: 2, Effect.CUSTOMER: 2, Effect.NOT_BEFORE: 1, Effect.AT_MOST: 1}


@cache
def rules_with(file: Path | None) -> tuple[NetworkRule, ...]:
    """The shipped rules and those of the operator's file. Raises BadNetworkRules with file, line and key."""
    return network_rules() if file is None else joined(network_rules(), text_of(file), str(file))


def joined(shipped: Sequence[NetworkRule], text: str, where: str) -> tuple[NetworkRule, ...]:
    """The rules in the text beside those of the shipped ones whose place they do not take."""
    own = tuple(_checked(shipped, entry, text, where, at) for at, entry in enumerate(entries(text, where)))
    kept: list[NetworkRule] = list(shipped)
    for rule in own:
        kept = [part for each in kept for part in (_besides(each, rule) if each.name == rule.name else (each,))]
    return (*_naming(kept, own), *own)


def _checked(shipped: Sequence[NetworkRule], entry: Entry, text: str, where: str, at: int) -> NetworkRule:
    rule = replace(entry.rule, own=True)
    replaced = [each for each in shipped if each.name == rule.name and _overlap(each, rule)]
    found = list(dict.fromkeys(way for each in replaced for way in looser(rule, each)))
    if found and not entry.loosens:
        key = found[0].split()[0]
        raise BadNetworkRules(
            f"{where}, line {line_of(text, at, key)}: rule {at + 1}, {key}: {rule.name!r} would be looser than the"
            f" shipped rule ({'; '.join(found)}); write loosens = true if your acquirer agreed to it"
        )
    return replace(rule, looser="; ".join(found))


def looser(own: NetworkRule, shipped: NetworkRule) -> Iterator[str]:
    """Each way in which `own` lets pass what `shipped` does not, its key first."""
    if own.effect is not shipped.effect and RANK[own.effect] <= RANK[shipped.effect]:
        yield f"effect {own.effect} instead of {shipped.effect}"
    if own.effect is shipped.effect is Effect.AT_MOST:
        if own.most > shipped.most:
            yield f"most {own.most} instead of {shipped.most}"
        # Without days an approval starts the count anew, with them it does not: neither stands for the other.
        if (own.days is None) is not (shipped.days is None) or (own.days or 0) < (shipped.days or 0):
            yield f"days {own.days or 'none'} instead of {shipped.days or 'none'}"
    if own.effect is shipped.effect is Effect.NOT_BEFORE and own.hours < shipped.hours:
        yield f"hours {own.hours} instead of {shipped.hours}"
    if own.scope is not shipped.scope and (own.scope, shipped.scope) != (Scope.CARD, Scope.AMOUNT):
        yield f"scope {own.scope} instead of {shipped.scope}"
    for key in ("brands", "countries"):
        if missing := _missing(getattr(own, key), getattr(shipped, key)):
            yield f"{key} without {missing}"
    yield from _fewer_codes(own, shipped)
    if own.above and not (shipped.above and _no_higher(own, shipped)):
        yield f"above {own.above} instead of {shipped.above or 'any amount'}"


def _no_higher(own: NetworkRule, shipped: NetworkRule) -> bool:
    mine, theirs = own.above, shipped.above
    return mine is not None and theirs is not None and mine.unit == theirs.unit and mine.minor <= theirs.minor


def _missing(own: frozenset[str], shipped: frozenset[str]) -> str:
    """What an own list leaves out; an empty list stands for everything."""
    if not own:
        return ""
    return ", ".join(sorted(shipped - own)) if shipped else "all others"


def _fewer_codes(own: NetworkRule, shipped: NetworkRule) -> Iterator[str]:
    if own.about_all:
        return
    if shipped.about_all:
        yield "codes only, instead of every decline"
        return
    for key in ("decline_codes", "advice_codes", "network_advice"):
        if missing := getattr(shipped, key) - getattr(own, key):
            yield f"{key} without {', '.join(sorted(missing))}"
    excepted = own.but if ANY in own.network_codes else frozenset()
    named = shipped.network_codes - own.network_codes if ANY not in own.network_codes else frozenset()
    if missing := named | (excepted & shipped.network_codes if ANY not in shipped.network_codes else frozenset()):
        yield f"network_codes without {', '.join(sorted(missing))}"
    if ANY in shipped.network_codes and (more := excepted - shipped.but):
        yield f"but with {', '.join(sorted(more))} besides"
    if shipped.unknown and not own.unknown:
        yield "unknown false instead of true"


# ---------------------------------------------------------------- in whose place


def _overlap(one: NetworkRule, other: NetworkRule) -> bool:
    return (one.until is None or other.since < one.until) and (other.until is None or one.since < other.until)


def _besides(shipped: NetworkRule, own: NetworkRule) -> Iterator[NetworkRule]:
    """The shipped rule on the days on which the own one does not hold."""
    if shipped.since < own.since:
        ends = min(filter(None, (shipped.until, own.since)))
        yield replace(shipped, until=ends)
    if own.until and (shipped.until is None or own.until < shipped.until):
        yield replace(shipped, since=max(shipped.since, own.until))


def _naming(shipped: Iterable[NetworkRule], own: Sequence[NetworkRule]) -> Iterator[NetworkRule]:
    """Rules for brands that no rule names go on holding for a brand that only an own rule names."""
    rules = list(shipped)
    new = {brand for rule in own for brand in rule.brands} - {brand for rule in rules for brand in rule.brands}
    for rule in rules:
        yield replace(rule, brands=rule.brands | new) if OTHER in rule.brands else rule
