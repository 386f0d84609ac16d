"""How the digest's figures are set: parted between currencies, never between a figure and its unit."""

from __future__ import annotations

import pytest

from worker.rendering import unbroken


@pytest.mark.parametrize(
    ("figures", "set_as"),
    [
        ("28,068.29 USD, 0.00 EUR", "28,068.29~USD, 0.00~EUR"),
        ("-298.00 USD (2 customers), 0.00 EUR (0 customers)", "-298.00~USD (2~customers), 0.00~EUR (0~customers)"),
        ("76.01 % (USD), 5.59 points (EUR)", "76.01~%~(USD), 5.59~points~(EUR)"),
        ("10.00 USD (closed with 9.00 USD)", "10.00~USD (closed~with~9.00~USD)"),
        ("nothing yet", "nothing~yet"),
    ],
)
def test_a_narrow_screen_never_parts_a_figure_from_its_unit(figures: str, set_as: str) -> None:
    assert unbroken(figures) == set_as.replace("~", "\u00a0")
