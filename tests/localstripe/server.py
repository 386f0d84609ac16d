"""Install and run localstripe: its environment is made on first use from its own hash-pinned lock."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

import httpx2

from tests.servers import free_port

HERE = Path(__file__).parent
VENV = HERE.parents[1] / ".venv-localstripe"
START_SECONDS = 30.0


class LocalstripeProblem(Exception):
    """localstripe cannot be installed or started; the message has the reason."""


def python() -> Path:
    """The interpreter that has localstripe, installed if need be; only the first use needs a package index."""
    locks = [HERE / "build.lock", HERE / "requirements.lock"]
    stamp = VENV / "reprieve.stamp"
    wanted = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    interpreter = VENV / "bin" / "python"
    with VENV.with_name(VENV.name + ".lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        if not (stamp.exists() and stamp.read_text() == wanted and interpreter.exists()):
            venv.create(VENV, clear=True, symlinks=True)
            # There is no wheel of localstripe, so pip builds one, with the pinned setuptools and nothing fetched aside.
            _pip(interpreter, "--only-binary", ":all:", "-r", locks[0])
            building = ["--only-binary", ":all:", "--no-binary", "localstripe", "--no-build-isolation"]
            _pip(interpreter, *building, "-r", locks[1])
            stamp.write_text(wanted)
    return interpreter


def _pip(interpreter: Path, *options: str | Path) -> None:
    base = getattr(sys, "_base_executable", sys.executable)  # our own environment has no pip
    command = [base, "-m", "pip", "--python", interpreter, "install", "--require-hashes", "--no-deps", "--quiet"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    if done.returncode:
        raise LocalstripeProblem(f"localstripe cannot be installed: {done.stdout}{done.stderr}")


class Localstripe:
    """One process with an empty store. `with Localstripe(folder) as stripe: StripeClient(..., stripe.url)`."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "localstripe.log"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def register_webhook(self, url: str, secret: str, events: list[str] | None = None) -> None:
        """Deliver events to `url` from now on, signed with `secret`: each once, about a second after it happens."""
        body = {"url": url, "secret": secret} | ({"events": events} if events else {})
        httpx2.post(f"{self.url}/_config/webhooks/w1", json=body).raise_for_status()

    def authenticate(self, payment_intent: str, success: bool) -> int:
        """Play the customer who passes or fails the bank's check; returns the HTTP status, 402 for a decline."""
        address = f"{self.url}/v1/payment_intents/{payment_intent}"
        secret = httpx2.get(address, headers={"Authorization": "Bearer sk_test_localstripe"}).json()["client_secret"]
        body = {"key": "pk_test_localstripe", "client_secret": secret, "success": success}
        return httpx2.post(f"{address}/_authenticate", json=body).status_code

    def __enter__(self) -> Localstripe:
        environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(HERE / "confined")}
        command = [str(python()), "-m", "localstripe", "--port", str(self.port), "--from-scratch"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise LocalstripeProblem(f"localstripe did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            httpx2.get(self.url)
        except httpx2.TransportError:
            return False
        return True
