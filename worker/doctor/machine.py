"""The ground under everything: Python, time zones, the database and Redis."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import redis as redis_client
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from worker import migrate
from worker.doctor.finding import Answer, Level, Patient

OLDEST_PYTHON = (3, 11)
OLDEST_POSTGRESQL = 130_000
REMOTE_DISKS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "glusterfs", "lustre", "afs"}


def python(_: Patient) -> Iterator[Answer]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        yield Level.FAIL, f"Python {version}", "use Python 3.11 or newer"
    else:
        yield Level.OK, f"Python {version}", ""


def time_zones(patient: Patient) -> Iterator[Answer]:
    zone = patient.settings.reporting_timezone
    try:
        ZoneInfo("America/New_York")
        ZoneInfo(zone)
        yield Level.OK, f"months begin in {zone}", ""
    except (ZoneInfoNotFoundError, ValueError):
        fix = "set REPRIEVE_REPORTING_TIMEZONE to a name such as Europe/Berlin; install the package tzdata"
        yield Level.FAIL, f"no time zone data for {zone}", fix


def database(patient: Patient) -> Iterator[Answer]:
    file = patient.db.url.database or ""
    if patient.db.sqlite and not Path(file).is_file():
        yield Level.FAIL, f"there is no file {file} yet", "run `reprieve migrate`"
        return
    try:
        with patient.db.read() as db:
            db.execute(text("SELECT 1"))
    except (DBAPIError, OSError) as error:
        yield Level.FAIL, f"cannot be reached ({type(error).__name__})", "check REPRIEVE_DATABASE_URL"
        return
    kind = "SQLite, for one machine" if patient.db.sqlite else "PostgreSQL"
    yield Level.OK, f"{kind}, reachable", ""


def schema(patient: Patient) -> Iterator[Answer]:
    found, head = migrate.current(patient.db), migrate.head()
    if found == head:
        yield Level.OK, f"at revision {head}", ""
    else:
        yield Level.FAIL, f"at revision {found}, this code needs {head}", "run `reprieve migrate`"


def durability(patient: Patient) -> Iterator[Answer]:
    """What is committed must survive a power cut, or a payment request could be forgotten."""
    if patient.db.sqlite:
        yield from _sqlite(patient)
        return
    with patient.db.read() as db:
        shown = {
            name: str(db.scalar(text(f"SHOW {name}")))
            for name in ("server_version_num", "server_version", "synchronous_commit", "fsync", "full_page_writes")
        }
    if int(shown["server_version_num"]) < OLDEST_POSTGRESQL:
        yield Level.FAIL, f"PostgreSQL {shown['server_version']}", "use PostgreSQL 13 or newer"
    off = [name for name in ("synchronous_commit", "fsync", "full_page_writes") if shown[name] in ("off", "local")]
    if off:
        yield Level.FAIL, f"{', '.join(off)} is off", "switch it on: a crash would lose what was promised"
    else:
        yield Level.OK, f"PostgreSQL {shown['server_version']} keeps what it commits", ""


def _sqlite(patient: Patient) -> Iterator[Answer]:
    with patient.db.read() as db:
        mode = db.scalar(text("PRAGMA journal_mode"))
    kind = _disk_of(Path(patient.db.url.database or ".").resolve())
    if kind in REMOTE_DISKS:
        yield Level.FAIL, f"the SQLite file is on a network disk ({kind})", "move it to a local disk, or use PostgreSQL"
    elif str(mode).lower() != "wal":
        yield Level.FAIL, f"journal_mode is {mode}", "the file must allow WAL: use a local disk"
    else:
        yield Level.OK, "SQLite with WAL on a local disk", ""


def _disk_of(path: Path) -> str:
    """The kind of file system, by the longest mount point that holds the path; empty where nothing tells."""
    try:
        rows = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    holding = [(row[1], row[2]) for row in rows if path.is_relative_to(row[1])]
    return max(holding, key=lambda each: len(each[0]), default=("", ""))[1]


def redis(patient: Patient) -> Iterator[Answer]:
    url = patient.settings.redis_url
    if url is None:
        every = f"every {patient.settings.sweep_seconds:g} s"
        yield Level.OK, f"not used: a sweep {every} finds the work", ""
        return
    try:
        with redis_client.Redis.from_url(url.get_secret_value(), socket_timeout=2, socket_connect_timeout=2) as client:
            policy = str(client.info("memory").get("maxmemory_policy", "unknown"))
    except (redis_client.RedisError, OSError, ValueError) as error:
        yield Level.FAIL, f"cannot be reached ({type(error).__name__})", "check REPRIEVE_REDIS_URL"
        return
    if policy.startswith("allkeys"):
        yield Level.FAIL, f"maxmemory-policy is {policy}: it throws bells away", "set maxmemory-policy noeviction"
    elif policy != "noeviction":
        yield Level.WARN, f"maxmemory-policy is {policy}", "set maxmemory-policy noeviction"
    else:
        yield Level.OK, "reachable, evicts nothing", ""
