"""The file of network rules: what it may say, and that a mistake in it is named with line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.network_rules import FILE, BadNetworkRules, network_rules, parse

TEXT = FILE.read_text(encoding="utf-8")
RULE = """as_of = 2026-11-22

[[rule]]
name = "a-rule"
effect = "not_before"
hours = 24
because = "a reason"
from = 2026-01-01
source = "a source"
"""


def test_every_rule_names_its_source_and_its_first_day() -> None:
    rules = network_rules()
    assert len(rules) > 30
    assert all(rule.source and rule.because and rule.since.year > 2020 for rule in rules)


BROKEN = [
    ("hours = 24", "hours = -1", "line 6: rule 1, hours: "),
    ('effect = "not_before"', 'effect = "perhaps"', "line 5: rule 1, effect: "),
    ("hours = 24", "hourz = 24", "line 6: rule 1, hourz: "),
    ("hours = 24\n", "", "line 3: rule 1, hours: belongs to not_before"),
    ("hours = 24", "hours = 24\nmost = 3", "line 7: rule 1, most: belongs to at_most"),
    ("hours = 24", "hours = 24\ndays = 3", "line 7: rule 1, days: belongs to at_most"),
    ("hours = 24", 'hours = 24\nnetwork_advice = ["02"]', "line 3: rule 1, brands: "),
    ("hours = 24", 'hours = 24\ncountries = ["in"]', "line 7: rule 1, countries: "),
    ("hours = 24", 'hours = 24\nbut = ["R01"]', "line 7: rule 1, but: "),
    ("hours = 24", "hours = 24\nuntil = 2025-01-01", "line 7: rule 1, until: must be after from"),
    ('effect = "not_before"\nhours = 24', 'effect = "never"', "line 5: rule 1, effect: "),
    ("from = 2026-01-01", "from = 2026-01-0x", "line 8"),
    ("from = 2026-01-01", 'from = "tomorrow"', "line 8: rule 1, from: "),
    ('source = "a source"', "", "line 3: rule 1, source: "),
    ("as_of = 2026-11-22", 'as_of = "now"', "line 1: as_of: "),
    ("hours = 24", 'hours = 24\nfees = [{ minor = -1, currency = "usd" }]', "line 7: rule 1, fees: "),
]


@pytest.mark.parametrize(("good", "bad", "said"), BROKEN)
def test_a_mistake_is_named_with_its_line_and_key(good: str, bad: str, said: str) -> None:
    assert good in RULE
    with pytest.raises(BadNetworkRules) as caught:
        parse(RULE.replace(good, bad), "rules.toml")
    assert "rules.toml" in str(caught.value)
    assert said in str(caught.value)


def test_a_rule_may_stand_again_for_other_days_but_not_for_the_same() -> None:
    again = RULE.removeprefix("as_of = 2026-11-22\n")
    ended = RULE.replace("from = 2026-01-01", "from = 2026-01-01\nuntil = 2026-06-01")
    assert len(parse(ended + again.replace("2026-01-01", "2026-06-01"), "rules.toml")) == 2
    with pytest.raises(BadNetworkRules, match=r"line 13: name: 'a-rule' holds twice on 2026-05-31"):
        parse(ended + again.replace("2026-01-01", "2026-05-31"), "rules.toml")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadNetworkRules, match=r"missing\.toml"):
        network_rules(tmp_path / "missing.toml")
