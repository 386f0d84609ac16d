"""How fast a signed webhook becomes a durable row: our web process next to its peers, all in one run on one machine.

    python -m benchmarks.intake [--rounds 3] [--seconds 4] [--shared ../shared] [--json]

PostgreSQL runs from a folder on a disk, with fsync and synchronous_commit on. Each round measures every contender
once, so that a busy minute of the machine hits all of them; ratios are taken within a round, and their median counts.
Peers: `pgbench` doing the same insert with 32 clients; an empty handler on the same server; dj-stripe 2.11 storing
the same events under gunicorn with 2 workers of 8 threads, from PyPI into a folder of its own, when the project in
`--shared` is present. Exit code 1 when a target of ours is missed or an acknowledged event is not in the database.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psycopg
import uvicorn
from sqlalchemy import create_engine, text

from benchmarks import webhook_load
from tests import servers
from tests.server_programs import find_postgres
from tests.web.process import started

ROOT = Path(__file__).resolve().parents[1]
SECRET = "whsec_bench"  # noqa: S105 - signs nothing but the events of this run; the peer's project has the same
DJ_STRIPE = ("dj-stripe==2.11.*", "gunicorn", "psycopg[binary]")
DJ_STRIPE_PATH = "/stripe/webhook/11111111-1111-4111-8111-111111111111/"


@dataclass(frozen=True, slots=True)
class Target:
    """One promise: the figure it is about, and what it must be."""

    name: str
    limit: float
    at_least: bool = True

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


TARGETS = (
    Target("64 connections / dj-stripe", 30.0),
    Target("64 connections / pgbench", 0.8),
    Target("64 connections, p99 ms", 60.0, at_least=False),
    Target("SQLite, 16 connections", 1_000.0),
    Target("web process, peak MB", 120.0, at_least=False),
    Target("lost events", 0.0, at_least=False),
)


@dataclass
class Found:
    """Every figure of every round, and which peers were left out and why."""

    figures: dict[str, list[float]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def add(self, name: str, value: float) -> None:
        self.figures.setdefault(name, []).append(value)

    def median(self, name: str) -> float:
        return statistics.median(self.figures[name])

    def ratio(self, name: str, above: str, below: str) -> None:
        for high, low in zip(self.figures.get(above, ()), self.figures.get(below, ()), strict=False):
            self.add(name, high / low)


class Durable(servers.Postgres):
    """The test server's cluster with the durability that a production server has, and on a disk."""

    def _launch(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        data = self.folder / "data"
        if not data.exists():
            self._init(data)
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "shared_buffers": "256MB",
            "max_wal_size": "4GB",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return self._popen([self.program.path, "-D", data, *options], log)


@contextmanager
def postgres() -> Iterator[Durable]:
    with tempfile.TemporaryDirectory(prefix="reprieve-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as made:  # noqa: S108
        folder = Path(made)
        folder.chmod(0o711)
        with Durable(find_postgres(), folder) as server:
            yield server


def libpq(url: str) -> str:
    return url.replace("+psycopg", "")


def rows(url: str, table: str) -> int:
    engine = create_engine(url)
    with engine.connect() as db:
        count = db.execute(text(f"select count(*) from {table}")).scalar_one()  # noqa: S608 - a name of ours
    engine.dispose()
    return int(count)


def load(url: str, connections: int, seconds: float) -> dict[str, Any]:
    """One run of the load generator, in a process of its own."""
    sys.stderr.write(f"sending to {url} for {seconds:g} s over {connections} connections\n")
    command = [sys.executable, "-m", "benchmarks.webhook_load", "--url", url, "--secret", SECRET]
    command += [
        "--connections",
        str(connections),
        "--seconds",
        str(seconds),
        "--most",
        str(round(seconds * 9_000)),
        "--warm-up",
        "0",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise RuntimeError(done.stderr[-2_000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measured(found: Found, name: str, url: str, table: str, database: str, connections: int, seconds: float) -> None:
    """Send for some seconds; note rate and p99, and how many acknowledged events have no row afterwards."""
    before = rows(database, table)
    result = load(url, connections, seconds)
    if strange := {code: n for code, n in result["answers"].items() if code not in ("200", "201")}:
        found.left_out.append(f"{name}: some answers were {strange}")
    found.add(name, result["per_second"])
    found.add(f"{name}, p99 ms", result["p99_ms"])
    found.add(f"{name}, lost", result["acknowledged"] - (rows(database, table) - before))


def pgbench(server: Durable, folder: Path, seconds: float) -> float | None:
    """Inserts a second of the same row with 32 clients; None without the program."""
    program = shutil.which("pgbench") or shutil.which(str(server.program.path.with_name("pgbench")))
    if program is None:
        return None
    body = webhook_load.body("evt_" + "0" * 24).decode()
    script = folder / "insert.sql"
    script.write_text(
        "\\set n random(1, 9000000000000000000)\n"
        "INSERT INTO inbox (account, livemode, event_id, type, api_version, created_at, received_at, body, state,"
        " because, tries, due_at) VALUES ('self', false, 'evt_' || :n::bigint, 'invoice.payment_failed',"
        f" '2026-10-28.endive', now(), now(), convert_to('{body}', 'UTF8'), 'received', null, 0, now())"
        " ON CONFLICT DO NOTHING;\n"
    )
    command = [program, "-n", "-M", "prepared", "-c", "32", "-j", "2", "-T", str(round(seconds)), "-f", str(script)]
    done = subprocess.run([*command, libpq(server.url)], capture_output=True, text=True, check=True)
    tps = re.search(r"tps = ([\d.]+)", done.stdout)
    return float(tps[1]) if tps else None


async def empty(scope: Any, receive: Any, send: Any) -> None:
    """The least a server can do with a delivery: read it and say 200."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def program(command: list[str], port: int, environment: dict[str, str], folder: Path) -> Iterator[str]:
    """A server on loopback that we started, from its first answer on; ended with everything it started."""
    log = folder / f"{port}.log"
    with log.open("wb") as out, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out) as process:
        try:
            deadline = time.monotonic() + 60
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[:4]} did not start: {log.read_text()[-2_000:]}")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@contextmanager
def dj_stripe(
    server: Durable, project: Path, folder: Path, python: str | None, mode: str = "event", stripe: str | None = None
) -> Iterator[str]:
    """dj-stripe under gunicorn, with a database of its own on the same server.

    `mode` is the project's: `event` stores the event, `full` also reads the object again from `stripe`, an address.
    """
    sys.stderr.write("preparing dj-stripe\n")
    if python is None:
        python = str(folder / "venv" / "bin" / "python")
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *DJ_STRIPE], check=True)
    with psycopg.connect(libpq(server.url), autocommit=True) as db:
        db.execute(f"CREATE ROLE bench LOGIN PASSWORD '{server.password}'")
        db.execute("CREATE DATABASE djs OWNER bench")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(project), str(project.parent))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "BENCH_PGPORT": str(server.port),
        "PGPASSWORD": server.password,
        "DJS_MODE": mode,
        **({"STRIPE_API_HOST": stripe} if stripe else {}),
    }
    hasty = {**environment, "PGOPTIONS": "-c synchronous_commit=off"}  # for its many migrations only
    subprocess.run([python, str(project / "setup_db.py")], env=hasty, check=True, stdout=subprocess.DEVNULL)
    port = servers.free_port()
    command = [python, "-m", "gunicorn", "-w", "2", "--threads", "8", "--keep-alive", "60"]
    command += ["-b", f"127.0.0.1:{port}", "djsbench.wsgi"]
    with program(command, port, environment, folder) as url:
        yield url + DJ_STRIPE_PATH


def peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(match[1]) / 1024 if match else float("nan")


def measure(options: argparse.Namespace) -> Found:
    found, seconds = Found(), options.seconds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reprieve-bench-")))
        server = stack.enter_context(postgres())
        small = f"sqlite:///{folder / 'reprieve.db'}"
        web, process = stack.enter_context(started(server.url, SECRET))
        little, little_process = stack.enter_context(started(small, SECRET))
        port = servers.free_port()
        nothing = [sys.executable, "-m", "benchmarks.intake", "--serve-empty", str(port)]
        limit = stack.enter_context(program(nothing, port, dict(os.environ), folder))
        peer, project = None, Path(options.shared) / "bench" / "djs_project"
        if (project / "setup_db.py").exists():
            try:
                peer = stack.enter_context(dj_stripe(server, project.resolve(), folder, options.peer_python))
            except (RuntimeError, subprocess.CalledProcessError) as error:
                found.left_out.append(f"dj-stripe: {error}")
        else:
            found.left_out.append(f"dj-stripe: no {project}; name the folder with --shared")
        peer_database = server.url.removesuffix("/postgres") + "/djs"
        web, little, limit = (f"{address}/webhooks/stripe" for address in (web, little, limit))
        for address in (web, little):
            load(address, 8, 0.5)  # warm
        for _ in range(options.rounds):
            measured(found, "64 connections", web, "inbox", server.url, 64, seconds)
            measured(found, "1 connection", web, "inbox", server.url, 1, seconds)
            measured(found, "SQLite, 16 connections", little, "inbox", small, 16, seconds)
            if (tps := pgbench(server, folder, seconds)) is not None:
                found.add("pgbench, 32 clients", tps)
            found.add("empty handler", load(limit, 64, seconds)["per_second"])
            if peer:
                measured(found, "dj-stripe", peer, "djstripe_event", peer_database, 64, seconds)
        found.add("web process, peak MB", peak_megabytes(process.pid))
        found.add("web process on SQLite, peak MB", peak_megabytes(little_process.pid))
    if "pgbench, 32 clients" not in found.figures:
        found.left_out.append("pgbench: not on this machine")
    found.ratio("64 connections / pgbench", "64 connections", "pgbench, 32 clients")
    found.ratio("64 connections / empty handler", "64 connections", "empty handler")
    found.ratio("64 connections / dj-stripe", "64 connections", "dj-stripe")
    lost = [value for name, values in found.figures.items() if name.endswith(", lost") for value in values]
    found.add("lost events", sum(lost))
    return found


def report(found: Found, targets: Sequence[Target] = TARGETS) -> Iterator[str]:
    for name, values in found.figures.items():
        if not name.endswith(", lost"):
            spread = f"{min(values):>10,.1f} to {max(values):,.1f}" if len(values) > 1 else ""
            yield f"{name:<34}{found.median(name):>10,.1f}{spread}"
    for target in targets:
        sign = "at least" if target.at_least else "at most"
        known = target.name in found.figures
        verdict = "not measured" if not known else "met" if target.met(found.median(target.name)) else "MISSED"
        yield f"target: {target.name} {sign} {target.limit:,g}: {verdict}"
    for reason in found.left_out:
        yield f"left out: {reason}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--shared", default="../shared", help="folder with bench/djs_project, the peer's project")
    parser.add_argument("--peer-python", help="a Python that has dj-stripe 2.11 already; else one is made from PyPI")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve-empty", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_empty:
        uvicorn.run(empty, port=options.serve_empty, log_config=None, access_log=False, lifespan="off", loop="uvloop")
        return 0
    found = measure(options)
    if options.json:
        sys.stdout.write(json.dumps({"figures": found.figures, "left_out": found.left_out}) + "\n")
    else:
        sys.stdout.write("\n".join(report(found)) + "\n")
    return 0 if all(t.met(found.median(t.name)) for t in TARGETS if t.name in found.figures) else 1


if __name__ == "__main__":
    sys.exit(main())
