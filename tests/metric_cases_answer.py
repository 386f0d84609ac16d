"""What the runner of worked cases answers with; see `tests.metric_cases`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from billing.report.bridge import percent

Json = Mapping[str, Any]  # decoded JSON
SHORT = {
    "recovered": "recovered_involuntary_churn",
    "involuntary_churn": "gross_involuntary_churn",
    "contraction": "downgrade",
    "churn": "voluntary_churn",
    "new": "new_business",
}


@dataclass(frozen=True)
class Answer:
    """What one period or row came to, beside what the case asks for: two mappings with the same keys."""

    name: str
    computed: dict[str, Any]
    expected: dict[str, Any]
    beside: dict[str, Any] = field(default_factory=dict)  # computed_activity, computed_segments ...
    beside_expected: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.computed == self.expected and self.beside == self.beside_expected

    @property
    def difference(self) -> str:
        pairs = [(self.computed, self.expected), (self.beside, self.beside_expected)]
        return "; ".join(
            f"{name} is {computed.get(name)!r}, expected {wanted!r}"
            for computed, expected in pairs
            for name, wanted in expected.items()
            if computed.get(name) != wanted
        )


def points(gap: Fraction | None) -> str | None:
    """Percentage points, without decimals when they are whole."""
    text = percent(gap)
    return text if text is None else text.rstrip("0").rstrip(".")
