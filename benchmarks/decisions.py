"""How fast a stored event becomes a saved decision: one worker process next to dj-stripe's full processing.

    python -m benchmarks.decisions [--rounds 3] [--events 2000] [--cases 100000] [--shared ../shared] [--json]

Each event is a 4 KB `invoice.payment_failed` of a customer, subscription and invoice of its own, so each opens a case,
plans its actions and keeps a fact. The same number is handled on few stored cases and on many. dj-stripe's full
processing of such an event (recorded, object read again from a local stub, synced) is measured in the same round.
Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import orjson
from pydantic import SecretStr
from sqlalchemy import func, select

from benchmarks import intake, webhook_load
from benchmarks.intake import Found, Target
from config.settings import Settings
from tests import servers
from worker import flow, migrate, store
from worker import tables as t
from worker.app import App, build
from worker.broker import NoBell
from worker.db import Database

FEW, MANY = "decisions a second, few cases", "decisions a second, many cases"
PEER = "dj-stripe, full processing"
TARGETS = (
    Target(f"{FEW} / {PEER}", 10.0),
    Target("few / many stored cases", 1.3, at_least=False),
    Target("worker process, MB", 120.0, at_least=False),
    Target("events without a decision", 0.0, at_least=False),
)


def store_events(database: Database, run: str, number: int) -> None:
    """Put events into the inbox as the webhook does."""
    now = datetime.now(UTC)
    rows = []
    for i in range(number):
        mark = f"{run}{i:08d}".encode()
        body = webhook_load.body(f"evt_{mark.decode()}")
        body = body.replace(b"cus_bench", b"cus_" + mark).replace(b"sub_bench", b"sub_" + mark)
        head = orjson.loads(body)
        rows.append(
            {
                "account": "self",
                "livemode": head["livemode"],
                "event_id": head["id"],
                "type": head["type"],
                "api_version": head["api_version"],
                "created_at": now,
                "received_at": now,
                "body": body,
                "state": "received",
                "tries": 0,
                "due_at": now,
            }
        )
    for start in range(0, number, 1000):
        with database.begin() as db:
            db.execute(store.insert(db, t.inbox), rows[start : start + 1000])


def decide(app: App, run: str, number: int) -> float:
    """Decisions a second over so many new events."""
    store_events(app.db, run, number)
    began = time.perf_counter()
    handled = flow.handle_inbox(app)
    return handled / (time.perf_counter() - began)


def resident_megabytes() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def measure(options: argparse.Namespace) -> Found:
    found = Found()
    with ExitStack() as stack:
        server = stack.enter_context(intake.postgres())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reprieve-bench-")))
        settings = Settings(database_url=server.url, mode="own", stripe_webhook_secrets=(SecretStr(intake.SECRET),))
        app = build(settings, NoBell())
        stack.callback(app.close)
        migrate.upgrade(app.db)
        app.policies.load()
        peer, project = None, Path(options.shared) / "bench" / "djs_project"
        if (project / "setup_db.py").exists():
            stub = servers.free_port()
            command = [sys.executable, str(project / "stub_stripe.py"), str(stub)]
            process = subprocess.Popen(command, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
            stack.callback(process.terminate)
            peer = stack.enter_context(
                intake.dj_stripe(
                    server, project.resolve(), folder, options.peer_python, "full", f"http://127.0.0.1:{stub}"
                )
            )
        else:
            found.left_out.append(f"dj-stripe: no {project}; name the folder with --shared")
        decide(app, "warm", 200)
        for number in range(options.rounds):
            found.add(FEW, decide(app, f"few{number}", options.events))
            if peer:
                found.add(PEER, intake.load(peer, 16, 4.0)["per_second"])
        found.add("worker process, MB", resident_megabytes())
        with app.db.read() as db:
            stored = db.scalar(select(func.count()).select_from(t.recovery_case)) or 0
        for start in range(stored, options.cases, 5000):
            decide(app, f"fill{start}", min(5000, options.cases - start))
        with app.db.begin() as db:
            db.exec_driver_sql("ANALYZE")
        for number in range(options.rounds):
            found.add(MANY, decide(app, f"many{number}", options.events))
        with app.db.read() as db:
            done = db.scalar(select(func.count()).where(t.inbox.c.state == "done")) or 0
            everything = db.scalar(select(func.count()).select_from(t.inbox)) or 0
            found.add("stored cases at the end", db.scalar(select(func.count()).select_from(t.recovery_case)) or 0)
        found.add("events without a decision", everything - done)
    found.ratio(f"{FEW} / {PEER}", FEW, PEER)
    found.add("few / many stored cases", found.median(FEW) / found.median(MANY))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--shared", default="../shared", help="folder with bench/djs_project, the peer's project")
    parser.add_argument("--peer-python", help="a Python that has dj-stripe 2.11 already; else one is made from PyPI")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options)
    if options.json:
        sys.stdout.write(json.dumps({"figures": found.figures, "left_out": found.left_out}) + "\n")
    else:
        sys.stdout.write("\n".join(intake.report(found, TARGETS)) + "\n")
    return 0 if all(target.met(found.median(target.name)) for target in TARGETS if target.name in found.figures) else 1


if __name__ == "__main__":
    sys.exit(main())
