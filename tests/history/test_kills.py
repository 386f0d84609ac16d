"""A back-fill that is killed three times leaves the rows of one that nobody disturbed; in full size: benchmarks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.history import kills
from tests.history.account import account
from worker.books import BATCH

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.timeout(400)  # five processes one after the other, on a machine that may be busy
def test_killed_by_the_system_three_times_it_ends_as_if_it_had_not_been(database_url: str, second_url: str) -> None:
    with account(200, NOW, years=1) as sandbox:
        undisturbed = kills.load(database_url, sandbox, NOW)
        disturbed = kills.load(second_url, sandbox, NOW, kills.places(undisturbed, 3, seed=1))
        assert not sandbox.crashes
    assert len(disturbed.killed_at) == 3
    assert len(undisturbed.booking) == -(-200 // BATCH)
    once, again = kills.rows(database_url), kills.rows(second_url)
    assert {name for name in once if once[name] != again[name]} == set()
    assert all(once[name].total() for name in ("fact", "entry", "posting", "ledger_month", "backfill_cursor"))


def test_a_row_more_is_seen(database_url: str, second_url: str) -> None:
    with account(3, NOW, years=1) as sandbox:
        kills.load(database_url, sandbox, NOW)
    once, nothing = kills.rows(database_url), kills.rows(second_url)
    lacking = once["fact"] - nothing["fact"]
    assert lacking.total() == once["fact"].total() > 0
    assert kills.only_in(database_url, "fact", lacking, most=1)
