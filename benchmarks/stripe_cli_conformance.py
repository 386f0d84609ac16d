"""Stripe's own scripted call sequences, run by Stripe's own command line tool against the sandbox.

    python -m benchmarks.stripe_cli_conformance [--cli PATH]

The tool (`@stripe/cli`, from npm when it is not on the machine) plays the calls of `stripe trigger E` offline; it
fails when an answer has not the shape or the error that Stripe's would have. A trigger passes here when the tool is
content and the sandbox really emitted the event. Exit code 1 when one fails, 2 when the tool cannot be had.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox import Sandbox

EVENTS = (
    "invoice.payment_failed",
    "invoice.paid",
    "invoice.payment_action_required",
    "invoice.voided",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "payment_intent.payment_failed",
    "payment_method.attached",
    "charge.failed",
)
PACKAGE = "@stripe/cli@1.52.0"
QUIET = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0", "--fetch-timeout=20000")


class CliUnavailable(RuntimeError):
    """The Stripe command line tool is neither on this machine nor obtainable from npm."""


@dataclass(frozen=True, slots=True)
class Result:
    event: str
    passed: bool
    because: str


def find_cli(folder: Path, given: str | None = None) -> Path:
    """The tool's binary: as given, from STRIPE_CLI or the PATH, else installed from npm into `folder`."""
    for known in (given, os.environ.get("STRIPE_CLI"), shutil.which("stripe")):
        if known:
            return Path(known)
    npm = shutil.which("npm")
    if npm is None:
        raise CliUnavailable("no stripe on the PATH and no npm to install it with")
    try:
        done = subprocess.run(
            [npm, "install", *QUIET, "--prefix", str(folder), PACKAGE],
            capture_output=True,
            text=True,
            timeout=60,
        )
    except subprocess.TimeoutExpired:
        raise CliUnavailable("npm took longer than a minute") from None
    found = sorted(folder.glob("node_modules/@stripe/cli-*/bin/stripe"))
    if done.returncode or not found:
        raise CliUnavailable(f"npm could not install {PACKAGE}: {done.stderr.strip()[-200:]}")
    return found[0]


def conform(cli: Path, home: Path, events: tuple[str, ...] = EVENTS) -> Iterator[Result]:
    """Run each trigger against a fresh sandbox."""
    environment = {"HOME": str(home), "PATH": os.environ.get("PATH", ""), "STRIPE_CLI_TELEMETRY_OPTOUT": "1"}
    for event in events:
        with Sandbox() as sandbox:
            command = [str(cli), "trigger", event, "--api-base", sandbox.url, "--api-key", "sk_test_sandbox"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
            said = (done.stderr or done.stdout).strip()
            if done.returncode:
                yield Result(event, False, said[-300:])
            elif sandbox.crashes:
                yield Result(event, False, sandbox.crashes[0])
            elif event not in sandbox.world.events.types():
                yield Result(event, False, "the tool was content, but the event was not emitted")
            else:
                yield Result(event, True, "")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stripe_cli_conformance")
    parser.add_argument("--cli", help="the stripe binary, instead of STRIPE_CLI, the PATH or npm")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stripe-cli-") as folder:
        try:
            cli = find_cli(Path(folder), given.cli)
        except CliUnavailable as reason:
            sys.stderr.write(f"{reason}\n")
            return 2
        results = []
        for result in conform(cli, Path(folder)):
            results.append(result)
            sys.stdout.write(f"{result.event} {'ok' if result.passed else 'failed: ' + result.because}\n")
    passed = sum(result.passed for result in results)
    sys.stdout.write(f"{passed} passed, {len(results) - passed} failed\n")
    return 0 if passed == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
