"""An operator's own network rules: added, or in the place of shipped ones, and never looser without saying so."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from billing.events.snapshots import Decline
from billing.money import Amount
from billing.retry.rules import Allowed, Charging, Declined, NetworkRule, in_force, ruled
from config.network_rules import BadNetworkRules, network_rules
from config.own_rules import joined, rules_with

HEAD = "as_of = 2026-11-22\n"
TODAY = date(2026, 11, 22)


def entry(name: str, body: str, since: str = "2026-01-01") -> str:
    return (
        f'\n[[rule]]\nname = "{name}"\n{body}\nbecause = "our acquirer says so"\nfrom = {since}\n'
        'source = "contract with our acquirer, 2025-12-01"\n'
    )


def own(*entries: str) -> tuple[NetworkRule, ...]:
    return joined(network_rules(), HEAD + "".join(entries), "own.toml")


def holding(rules: tuple[NetworkRule, ...], name: str, day: date = TODAY) -> list[NetworkRule]:
    return [each for each in rules if each.name == name and each.since <= day and (not each.until or day < each.until)]


VISA = 'effect = "at_most"\nbrands = ["visa"]\nscope = "amount"\n'


def test_without_a_file_the_shipped_rules_hold() -> None:
    assert rules_with(None) == network_rules()


def test_a_new_rule_is_added_and_names_its_source(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(HEAD + entry("acquirer-8-in-30-days", VISA + "most = 8\ndays = 30"))
    rules = rules_with(file)
    assert rules[:-1] == network_rules()
    assert (rules[-1].own, rules[-1].looser, rules[-1].source[:8]) == (True, "", "contract")
    # The ninth charge within thirty days is refused by it, long before the fifteenth
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    declined = [Declined(now - timedelta(days=n), Amount(900, "usd"), Decline()) for n in range(1, 9)]
    charging = Charging(Amount(900, "usd"), "visa")
    assert isinstance(ruled(network_rules(), charging, declined, now), Allowed)
    ruling = ruled(rules, charging, declined, now)
    assert not isinstance(ruling, Allowed)
    assert ruling.rule.name == "acquirer-8-in-30-days"


def test_a_stricter_rule_takes_the_place_of_the_shipped_one_on_its_days() -> None:
    until = VISA + "most = 10\ndays = 30\nuntil = 2026-07-01"
    rules = own(entry("visa-15-in-30-days", until, since="2026-06-01"))
    for day, most in ((date(2026, 5, 31), 15), (date(2026, 6, 1), 10), (date(2026, 6, 30), 10), (date(2026, 7, 1), 15)):
        assert [rule.most for rule in holding(rules, "visa-15-in-30-days", day)] == [most], day


LOOSER = [
    ("visa-15-in-30-days", VISA + "most = 20\ndays = 30", "line 8: rule 1, most: .*20 instead of 15"),
    ("visa-15-in-30-days", VISA + "most = 15\ndays = 20", "line 9: rule 1, days: .*days 20 instead of 30"),
    ("visa-15-in-30-days", VISA + "most = 15", "rule 1, days: .*days none instead of 30"),
    (
        "visa-15-in-30-days",
        'effect = "at_most"\nbrands = ["visa"]\nscope = "invoice"\nmost = 15\ndays = 30',
        "rule 1, scope: .*scope invoice instead of amount",
    ),
    (
        "visa-15-in-30-days",
        VISA + 'most = 15\ndays = 30\ncountries = ["DE"]',
        "rule 1, countries: .*without all others",
    ),
    (
        "visa-15-in-30-days",
        VISA + 'most = 15\ndays = 30\nnetwork_codes = ["51"]',
        "rule 1, codes: .*instead of every decline",
    ),
    (
        "visa-15-in-30-days",
        VISA + 'most = 15\ndays = 30\nabove = { minor = 100, currency = "usd" }',
        "rule 1, above: .*instead of any amount",
    ),
    (
        "visa-category-1",
        'effect = "never"\nbrands = ["visa"]\nnetwork_codes = ["04", "07", "12", "14", "15", "41", "43", "46", "R0"]',
        "rule 1, network_codes: .*without R1, R3",
    ),
    (
        "visa-category-1",
        'effect = "at_most"\nmost = 3\nbrands = ["visa"]\nnetwork_codes = ["*"]',
        "rule 1, effect: .*at_most instead of never",
    ),
    (
        "ach-only-missing-funds",
        'effect = "customer"\nbrands = ["us_bank_account"]\nnetwork_codes = ["*"]\nbut = ["R01", "R09", "R29"]',
        "rule 1, but: .*with R29 besides",
    ),
    (
        "mastercard-advice-02",
        'effect = "not_before"\nbrands = ["mastercard"]\nnetwork_advice = ["02"]\nhours = 24',
        "rule 1, hours: .*24 instead of 72",
    ),
]


@pytest.mark.parametrize(("name", "body", "said"), LOOSER)
def test_a_looser_rule_is_refused_unless_it_says_that_it_is(name: str, body: str, said: str) -> None:
    with pytest.raises(BadNetworkRules, match=f"own.toml, line .*{said.removeprefix('line ')}"):
        own(entry(name, body))
    rules = own(entry(name, f"{body}\nloosens = true"))
    (rule,) = holding(rules, name)
    assert rule.own
    assert rule.looser


STRICTER = [
    ("visa-15-in-30-days", VISA + "most = 15\ndays = 30"),
    ("visa-15-in-30-days", 'effect = "at_most"\nbrands = ["visa", "amex"]\nscope = "card"\nmost = 12\ndays = 40'),
    ("mastercard-advice-stop", 'effect = "never"\nbrands = ["mastercard"]\nnetwork_advice = ["03", "21", "01"]'),
    ("stripe-wrong-number", 'effect = "never"\ndecline_codes = ["incorrect_number", "invalid_number"]'),
    ("india-above-15000", 'effect = "customer"\ncountries = ["IN"]\nabove = { minor = 100000, currency = "inr" }'),
]


@pytest.mark.parametrize(("name", "body"), STRICTER)
def test_a_rule_as_strict_or_stricter_needs_no_excuse(name: str, body: str) -> None:
    (rule,) = holding(own(entry(name, body)), name)
    assert (rule.own, rule.looser) == (True, "")


def test_a_brand_that_only_an_own_rule_names_keeps_the_rules_for_all_others() -> None:
    rules = own(entry("jcb-3", 'effect = "at_most"\nbrands = ["jcb"]\nmost = 3\ndays = 30'))
    jcb = {rule.name for rule in in_force(rules, Charging(Amount(900, "usd"), "jcb"), TODAY)}
    assert jcb >= {"jcb-3", "other-brands-15-in-30-days", "other-brands-12-hours"}


def test_a_mistake_names_file_line_and_key(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(HEAD + entry("a-rule", 'effect = "not_before"\nhours = -1'))
    with pytest.raises(BadNetworkRules, match=r"own\.toml, line 6: rule 1, hours: "):
        rules_with(file)
    with pytest.raises(BadNetworkRules, match=r"missing\.toml"):
        rules_with(tmp_path / "missing.toml")
