"""Stripe's own command line tool against the sandbox, when the tool can be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.stripe_cli_conformance import EVENTS, CliUnavailable, conform, find_cli


def test_the_official_tool_triggers_every_event(tmp_path: Path) -> None:
    try:
        cli = find_cli(tmp_path)
    except CliUnavailable as reason:
        pytest.skip(f"the Stripe CLI cannot be had: {reason}")
    results = list(conform(cli, tmp_path))
    assert {result.event: result.because for result in results if not result.passed} == {}
    assert len(results) == len(EVENTS) == 10
