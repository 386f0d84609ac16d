"""What the repository promises about itself: its halves, its locks, its size, its README."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from billing.events import known_types
from worker import cli

ROOT = Path(__file__).parents[1]
PACKAGES = ["billing", "worker", "config", "sandbox", "migrations", "tests", "benchmarks"]
LOCKS = sorted(ROOT.glob("requirements*.lock")) + sorted(ROOT.glob("tests/**/*.lock"))
LONGEST_FILE = 400

# Modules with which code could read a clock, an environment, a disk or a network, or roll dice.
IMPURE = {
    *("asyncio", "builtins", "concurrent", "ctypes", "email", "ftplib", "glob", "http", "importlib", "io", "logging"),
    *("multiprocessing", "os", "pathlib", "platform", "queue", "random", "secrets", "selectors", "shelve", "shutil"),
    *("signal", "smtplib", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading"),
    *("time", "urllib", "uuid"),
}
PURE_PARTS = {"urllib.parse"}
CLOCKS = {"now", "utcnow", "today"}


def files_of_the_project() -> list[Path]:
    """Every file git tracks or would track; in an archive without git, every file that is not hidden."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True
    )
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        paths = [path for package in PACKAGES for path in ROOT.joinpath(package).rglob("*")] + list(ROOT.glob("*"))
    return [path for path in paths if path.is_file() and "__pycache__" not in path.parts]


def imported_modules(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module))
    return {name.split(".")[0] for name in found - PURE_PARTS}


def impurities(source: str) -> set[str]:
    """What a file of `billing` may not do: import more than the pure standard library, read the clock, open files."""
    tree = ast.parse(source)
    modules = imported_modules(tree) - {"billing"}
    found = {f"import {name}" for name in modules if name in IMPURE or name not in sys.stdlib_module_names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
                found.add(f".{node.func.attr}()")
            if isinstance(node.func, ast.Name) and node.func.id in {"open", "input", "print", "exec", "eval"}:
                found.add(f"{node.func.id}()")
    return found


def test_billing_thinks_and_does_nothing_else() -> None:
    found = {str(path.relative_to(ROOT)): impurities(path.read_text()) for path in ROOT.glob("billing/**/*.py")}
    assert {path: what for path, what in found.items() if what} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import os", {"import os"}),
        ("from sqlalchemy import text", {"import sqlalchemy"}),
        ("from worker.app import App", {"import worker"}),
        ("from datetime import datetime\ndatetime.now()", {".now()"}),
        ("open('x')", {"open()"}),
        ("import urllib.request", {"import urllib"}),
        ("from urllib.parse import urlsplit", set()),
        ("from billing.money import Amount\nfrom datetime import datetime", set()),
    ],
)
def test_an_impure_file_would_be_noticed(source: str, found: set[str]) -> None:
    assert impurities(source) == found


def test_the_sandbox_and_the_worker_do_not_know_each_other() -> None:
    """The sandbox is a Stripe: it may not share code with what is tested against it, the demo command excepted."""
    for path in ROOT.glob("sandbox/**/*.py"):
        assert not imported_modules(ast.parse(path.read_text())) & {"worker", "billing"}, path


def test_a_file_is_one_idea() -> None:
    sources = [path for path in files_of_the_project() if path.suffix == ".py"]
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources}
    assert {path: lines for path, lines in sizes.items() if lines > LONGEST_FILE} == {}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_lock_pins_every_package_by_hash_and_names_no_host(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index" not in text
    pins = re.split(r"\n(?=\S)", text.strip())
    assert pins
    for pin in pins:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,-]+\])?==\S+", pin), pin
        assert "--hash=sha256:" in pin, pin


def test_the_development_lock_holds_the_runtime_lock() -> None:
    names = ("requirements.lock", "requirements-dev.lock")
    runtime, dev = (set(re.findall(r"^(\S+==\S+)", ROOT.joinpath(name).read_text(), re.M)) for name in names)
    assert runtime <= dev


def test_no_file_names_a_registry_host_or_a_folder_of_somebodys_machine() -> None:
    # Written in parts, so that this file does not find itself.
    parts = [("py", r"pi\.org"), ("python", "hosted"), ("registry", r"\.npmjs"), ("/ro", "ot/"), ("/wo", "rk/")]
    forbidden = re.compile("|".join(map("".join, parts)))
    found = {}
    for path in files_of_the_project():
        text = path.read_bytes().decode("utf-8", "replace")
        if match := forbidden.search(text):
            found[str(path.relative_to(ROOT))] = match[0]
    assert found == {}


def test_every_command_in_the_documents_exists() -> None:
    known = set(vars(typer.main.get_command(cli.main))["commands"]) | {"test", "lint", "types", "install"}
    for document in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        used = re.findall(r"(?:\./|`|run --rm \S+ |exec \S+ )reprieve ([a-z][a-z-]*)", document.read_text())
        assert set(used) <= known, document.name
    assert {"demo", "test"} <= set(re.findall(r"\./reprieve ([a-z]+)", (ROOT / "README.md").read_text()))


def test_the_documents_list_exactly_the_events_that_are_read() -> None:
    (listed,) = re.findall(r"```\n((?:[a-z_]+\.[a-z_.]+\n)+)```", (ROOT / "docs/go-live.md").read_text())
    assert listed.split() == sorted(known_types())


def test_every_link_between_documents_leads_somewhere() -> None:
    for document in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", document.read_text()):
            assert document.parent.joinpath(target).exists(), f"{document.name}: {target}"
