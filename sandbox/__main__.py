"""`python -m sandbox`: the sandbox as a process of its own; prints its address and runs until it is stopped."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from datetime import UTC, datetime, timedelta

from sandbox.sandbox import START, Sandbox
from sandbox.world import NO_RETRIES, SMART_RETRIES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A stand-in Stripe on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--start", default=START.isoformat(), help="the clock's first time, ISO 8601, or 'now'")
    parser.add_argument("--speed", type=float, default=0.0, help="sandbox seconds per second; 0 stands still")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--key-ttl", type=float, default=86_400.0, help="sandbox seconds an idempotency key lives")
    parser.add_argument("--hostile", action="store_true", help="without Stripe's protections against paying twice")
    parser.add_argument("--smart-retries", action="store_true", help="Stripe retries failed invoices by itself")
    parser.add_argument("--automatic", action="store_true", help="deliver webhooks at once")
    parser.add_argument("--money-log", help="file for every movement of money, JSON lines")
    parser.add_argument("--fsync", action="store_true", help="flush the money log to disk before answering")
    given = parser.parse_args()
    start = datetime.now(UTC) if given.start == "now" else datetime.fromisoformat(given.start)
    stopped = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopped.set())
    with Sandbox(
        start if start.tzinfo else start.replace(tzinfo=UTC),
        given.seed,
        hostile=given.hostile,
        money_log=given.money_log,
        fsync=given.fsync,
        port=given.port,
        automatic=given.automatic,
        speed=given.speed,
        key_ttl=timedelta(seconds=given.key_ttl),
        dunning=SMART_RETRIES if given.smart_retries else NO_RETRIES,
    ) as sandbox:
        sys.stdout.write(f"{sandbox.url}\n")
        sys.stdout.flush()
        stopped.wait()


if __name__ == "__main__":
    main()
