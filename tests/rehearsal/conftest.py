"""A policy of fixed days, so that what is played here does not change with the shipped policies."""

from __future__ import annotations

from pathlib import Path

import pytest

LADDER = """\
name = "fixed"
version = 1
window_days = 28
max_attempts = 8
min_gap_hours = 24
stripe_distance_hours = 24
notice_delay_hours = 20
after_card_change_minutes = 5

[ladders]
insufficient_funds = [2, 4, 7, 10, 14, 18, 22, 26]
temporary = [1, 3, 5, 8, 12, 16, 21, 26]
unknown = [2, 7]
"""


@pytest.fixture
def fixed(tmp_path: Path) -> Path:
    file = tmp_path / "fixed.toml"
    file.write_text(LADDER)
    return file
