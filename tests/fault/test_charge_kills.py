"""SIGKILL at every point of the charge path, with real processes, on both engines."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from pathlib import Path

import pytest

from tests.fault import broken, invariants
from tests.fault.kills import BEHAVIOURS, POINTS, Counts, kill_run
from tests.fault.stage import staged

Report = Callable[[str, Counts], None]


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_here_neither_charges_twice_nor_loses_a_success(
    point: str, database_url: str, tmp_path: Path, report: Report
) -> None:
    with staged(database_url, tmp_path, 3, behaviours=BEHAVIOURS) as stage:
        counts = kill_run(stage, tmp_path / "worker.log", repeat(point), most=3)
        report(broken.REAL, counts)
        assert counts == Counts(kills=3, charges=2, doubles=0, lost=0)
        stage.hear_everything()
        invariants.check(stage)
