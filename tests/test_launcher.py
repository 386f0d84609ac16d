"""`./reprieve` on a fresh machine: a copy of the launcher, a lock of one tiny package, and the real pip, offline."""

from __future__ import annotations

import ast
import base64
import hashlib
import os
import runpy
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

LAUNCHER = Path(__file__).parents[1] / "reprieve"
BASE_PYTHON = getattr(sys, "_base_executable", sys.executable)  # has pip, which our environment has not
CLI = "import os, sys, tinypackage\nprint(sys.argv[1:], os.getcwd(), tinypackage.VERSION)\n"


def make_wheel(folder: Path, version: str) -> str:
    """A wheel of `tinypackage`; returns its line in a lock."""
    name = f"tinypackage-{version}"
    path = folder / f"{name}-py3-none-any.whl"
    files = {
        "tinypackage.py": f"VERSION = {version!r}\n",
        f"{name}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: tinypackage\nVersion: {version}\n",
        f"{name}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{name}.dist-info/RECORD"
    digests = {
        file: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        for file, text in files.items()
    }
    files[record] = "".join(f"{file},sha256={digest},\n" for file, digest in digests.items()) + f"{record},,\n"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
    return f"tinypackage=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Checkout:
    """A fresh checkout in a folder with a space in its name, and the shell of a user with strange habits."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "my check out"
        self.elsewhere = folder / "elsewhere"
        self.wheels = folder / "wheels"
        for path in (self.root / "worker", self.elsewhere, self.wheels):
            path.mkdir(parents=True)
        (self.root / "reprieve").write_bytes(LAUNCHER.read_bytes())
        (self.root / "worker/__init__.py").touch()
        (self.root / "worker/cli.py").write_text(CLI)
        (self.elsewhere / "tinypackage.py").write_text("raise SystemExit('the wrong tinypackage')")
        self.lock("requirements.lock", make_wheel(self.wheels, "1.0"))
        self.lock("requirements-dev.lock", make_wheel(self.wheels, "1.0"))

    def lock(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PIP_CONFIG_FILE": os.devnull}
        misleading = {"PYTHONPATH": str(self.elsewhere), "VIRTUAL_ENV": "/nowhere", "PIP_USER": "1", "PIP_TARGET": "x"}
        return kept | offline | misleading | {"HOME": "/nowhere"}

    def start(self, *arguments: str, python: str = BASE_PYTHON) -> subprocess.Popen[str]:
        command = [python, "-I", str(self.root / "reprieve"), *arguments]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "umask": 0o077}
        return subprocess.Popen(command, cwd=self.elsewhere, env=self.environment, **pipes)

    def run(self, *arguments: str, python: str = BASE_PYTHON) -> tuple[int, str, str]:
        """Exit code, output, errors."""
        with self.start(*arguments, python=python) as process:
            out, err = process.communicate(timeout=100)
        return process.returncode, out, err


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_the_first_use_installs_and_the_second_only_hands_over(checkout: Checkout) -> None:
    said = f"['report', 'a b'] {checkout.elsewhere} 1.0\n"
    code, out, err = checkout.run("report", "a b")
    assert (code, out) == (0, said), err
    assert "installing 1 packages" in err
    started = time.monotonic()
    assert checkout.run("report", "a b") == (0, said, "")
    assert time.monotonic() - started < 0.5


def test_a_changed_lock_is_installed_anew(checkout: Checkout) -> None:
    checkout.run()
    checkout.lock("requirements.lock", make_wheel(checkout.wheels, "2.0"))
    assert checkout.run()[1].endswith(" 2.0\n")


def test_two_at_once_install_once(checkout: Checkout) -> None:
    first, second = checkout.start(), checkout.start()
    answers = [first.communicate(timeout=100), second.communicate(timeout=100)]
    assert [first.returncode, second.returncode] == [0, 0], answers
    assert sum("installing" in err.replace("is installing", "") for _, err in answers) == 1


@pytest.mark.parametrize("damage", ["wrong hash", "package missing"])
def test_a_failed_install_says_so_and_is_not_taken_for_good(checkout: Checkout, damage: str) -> None:
    good = (checkout.root / "requirements.lock").read_text()
    checkout.lock(
        "requirements.lock", good[:-9] + "00000000\n" if damage == "wrong hash" else good.replace("1.0", "9.9")
    )
    code, out, err = checkout.run()
    assert (code, out) == (1, "")
    assert "the packages could not be installed" in err
    checkout.lock("requirements.lock", good)
    assert checkout.run()[0] == 0


def test_an_interrupted_install_is_started_over(checkout: Checkout) -> None:
    checkout.run()
    (checkout.root / ".venv/reprieve.stamp").unlink()
    (site,) = (checkout.root / ".venv/lib").glob("python*/site-packages")
    (site / "tinypackage.py").write_text("half a fi")
    code, out, err = checkout.run()
    assert (code, out) == (0, f"[] {checkout.elsewhere} 1.0\n"), err


def test_the_development_environment_serves_the_other_commands_too(checkout: Checkout) -> None:
    pytest_stand_in = "from tinypackage import VERSION\nprint('pytest', VERSION)\n"
    (checkout.root / "pytest.py").write_text(pytest_stand_in)
    code, out, _ = checkout.run("test")
    assert (code, out) == (0, "pytest 1.0\n")
    assert checkout.run("report")[2] == ""


def test_a_python_without_pip_is_told_what_to_install(checkout: Checkout) -> None:
    code, _, err = checkout.run(python=sys.executable)
    assert code == 1
    assert "has no pip: install it" in err


def test_an_old_python_can_read_the_launcher_and_is_refused_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ast.parse(LAUNCHER.read_text(), feature_version=(3, 7))
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    with pytest.raises(SystemExit, match=r"3\.11 or newer is needed, this is 3\.9"):
        runpy.run_path(str(LAUNCHER))
