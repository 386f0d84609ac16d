"""Counts of the kill runs, for the report at the end of the session."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.fault.kills import Counts

PROPERTY = "kill counts"
COUNTS_FILE = "REPRIEVE_FAULT_COUNTS"  # where to write the counts as JSON, if anywhere


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Callable[[str, Counts], None]:
    """Add the counts of one run of one build to the sums that are printed at the end."""
    return lambda build, counts: record_property(PROPERTY, [build, asdict(counts)])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    sums: dict[str, Counts] = defaultdict(Counts)
    for outcome in ("passed", "failed"):
        for result in terminalreporter.getreports(outcome):
            for name, value in result.user_properties:
                if name == PROPERTY and result.when == "call":
                    build, counts = value
                    sums[build] += Counts(**counts)
    if not sums:
        return
    terminalreporter.section("kill runs")
    for build, counts in sums.items():
        said = ", ".join(f"{name} {number}" for name, number in asdict(counts).items())
        terminalreporter.write_line(f"{build}: {said}")
    if target := os.environ.get(COUNTS_FILE):
        Path(target).write_text(json.dumps({build: asdict(counts) for build, counts in sums.items()}, indent=2))
